"""fusec compiles specs of a few lines to readable, verified Triton ops.

`fusec.load(path_or_text)` builds a spec and returns its op; the command `fusec` does the same for folders. Generated
code imports `fusec.runtime` alone, so the compiler is not loaded until it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusec.driver.load import load as load

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "load":
        return import_module("fusec.driver.load").load
    raise AttributeError(f"module 'fusec' has no attribute {name!r}")
