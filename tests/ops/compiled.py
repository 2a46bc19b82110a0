"""Ops of a spec that is compiled within a test."""

from __future__ import annotations

from pathlib import Path

from catalogue import Op

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.testing.random_run import imported

__all__ = ["compiled", "imported"]


def compiled(text: str, folder: Path) -> tuple[Op, ...]:
    """Every op of the spec `text`, from a generated file that is written to `folder`."""
    ops = compile_source(Source("written.fuse", text), None)
    module = imported(ops[0].text, folder)
    return tuple(Op(op.program, module) for op in ops)
