"""Whether an op, or a function that stands for one, does what its spec means: `fusec.testing.check(function, op)`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusec.testing.checking import check as check

__all__ = ["check"]


def __getattr__(name: str) -> object:
    # Most modules of this package run without the compiler's driver, in processes that are to start fast.
    if name == "check":
        value = import_module("fusec.testing.checking").check
        globals()[name] = value
        return value
    raise AttributeError(f"module 'fusec.testing' has no attribute {name!r}")
