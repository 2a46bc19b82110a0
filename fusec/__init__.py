"""fusec compiles specs of a few lines to readable, verified Triton ops.

`fusec.load(path_or_text)` builds a spec and returns its op; the command `fusec` does the same for folders. Generated
code imports `fusec.runtime` alone, so the compiler is not loaded until it is asked for. What calls of ops may be told
(`frozen_weights`, `weights_changed`) is of the runtime too, and needs no compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusec.driver.load import load as load
    from fusec.runtime import frozen_weights as frozen_weights
    from fusec.runtime import weights_changed as weights_changed

__all__ = ["__version__", "frozen_weights", "load", "weights_changed"]

__version__ = "0.1.0"

_HOMES = {"load": "fusec.driver.load", "frozen_weights": "fusec.runtime", "weights_changed": "fusec.runtime"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fusec' has no attribute {name!r}")
