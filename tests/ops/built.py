"""Shipped specs, built now: the committed files are what a fault of the compiler does not reach."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from compiled import compiled

from fusec.runtime import Op

SPECS = Path(__file__).parents[2] / "specs"

_FOLDER = tempfile.TemporaryDirectory()
"""Where the files are for as long as the tests run: Triton reads kernels when it needs them."""


@cache
def _module(spec: str) -> ModuleType:
    return compiled((SPECS / f"{spec}.fuse").read_text(), Path(_FOLDER.name))[0].module


def built(name: str, spec: str = "") -> tuple[Op, str]:
    """An op, as plans are made of it, and the docstring of its file, which has the name of the op if no other."""
    module = _module(spec or name)
    (op,) = (each for each in vars(module).values() if isinstance(each, Op) and each.name == name)
    return op, module.__doc__ or ""
