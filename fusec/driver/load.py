"""`fusec.load`: a spec to a callable op, through a folder of generated files."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from os import PathLike
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from fusec.diagnostics import Source, SpecWarning
from fusec.driver.compile import compile_file
from fusec.driver.find import text_of
from fusec.driver.record import FileRecord
from fusec.driver.specs import Compile, compile_one, read_spec, shown
from fusec.driver.store import Store, default_folder, digest, write_whole


def load(spec: str | PathLike[str]) -> Any:
    """The op of a spec, given as the path of a `.fuse` file or as the text of one.

    A spec with several ops, or with modules, gives a namespace of them. The generated file is kept in the user's cache
    folder and reused while the spec and the compiler stay the same. What the spec is warned of is a Python warning, a
    `fusec.diagnostics.SpecWarning`. Raises `fusec.diagnostics.SpecError` with every
    mistake of the spec, `FileNotFoundError` for a path that leads nowhere.
    """
    return load_from(spec, compile_file, default_folder())


def load_from(spec: str | PathLike[str], compile: Compile, cache: Path) -> Any:
    """`load` with its compiler and its cache folder."""
    source, folder = _source(spec)
    record = compile_one(source, folder, compile, Store(cache))
    for warning in record.warnings:
        warnings.warn(warning.render(), SpecWarning, stacklevel=3)
    module = _module(record, cache / "loaded")
    if len(record.exports) == 1:
        return getattr(module, record.exports[0])
    return SimpleNamespace(**{name: getattr(module, name) for name in record.exports})


def load_module(source: Source, folder: Path | None, compile: Compile, cache: Path) -> ModuleType:
    """The whole generated file of a spec, its reference included."""
    return _module(compile_one(source, folder, compile, Store(cache)), cache / "loaded")


def _source(spec: str | PathLike[str]) -> tuple[Source, Path | None]:
    """The text of a spec and the folder of the files it may use; a text stands in none."""
    text = text_of(spec)
    if text is not None:
        return text, None
    path = Path(spec)
    if not path.is_file():
        raise FileNotFoundError(f"no spec {shown(path)!r}; give the path of a .fuse file or the text of a spec")
    return read_spec(path), path.parent


def _module(record: FileRecord, folder: Path) -> ModuleType:
    """The generated file as a module; the same text is imported once per process."""
    name = f"fusec_loaded_{record.module}_{digest(record.text)[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    path = folder / f"{name}.py"
    if not path.is_file() or path.read_text(encoding="utf-8") != record.text:
        write_whole(path, record.text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
