"""Ops of a spec that is compiled within a test."""

from __future__ import annotations

import importlib.util
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from catalogue import Op

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source


def compiled(text: str, folder: Path) -> tuple[Op, ...]:
    """Every op of the spec `text`, from a generated file that is written to `folder`."""
    ops = compile_source(Source("written.fuse", text), None)
    module = imported(ops[0].text, folder)
    return tuple(Op(op.program, module) for op in ops)


def imported(source: str, folder: Path) -> ModuleType:
    """The module `source`, from a file in `folder`: Triton reads the text of its kernels again."""
    path = folder / f"written_{sha256(source.encode()).hexdigest()[:16]}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
