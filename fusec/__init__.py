"""fusec compiles specs of a few lines to readable, verified Triton ops.

`fusec.load(path_or_text)` builds a spec and returns its op; the command `fusec` does the same for folders. Generated
code imports `fusec.runtime` alone, so the compiler is not loaded until it is asked for. What calls of ops may be told
(`batch_invariant`, `weights_changed`) is of the runtime too, and needs no compiler; nor do `fusec.patch(model)`, which
lets the shipped ops compute a model of Hugging Face, and `convert`, which turns linear layers into modules of an op.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fusec.extra import compiler_needed

if TYPE_CHECKING:
    from fusec.conversion import convert as convert
    from fusec.driver.load import load as load
    from fusec.models import patch as patch
    from fusec.models import unpatch as unpatch
    from fusec.runtime import batch_invariant as batch_invariant
    from fusec.runtime import frozen_weights as frozen_weights
    from fusec.runtime import set_batch_invariant as set_batch_invariant
    from fusec.runtime import weights_changed as weights_changed

__all__ = [
    "__version__",
    "batch_invariant",
    "convert",
    "frozen_weights",
    "load",
    "patch",
    "set_batch_invariant",
    "unpatch",
    "weights_changed",
]

__version__ = "0.1.0"

_HOMES = {
    "convert": "fusec.conversion",
    "load": "fusec.driver.load",
    **dict.fromkeys(("patch", "unpatch"), "fusec.models"),
    **dict.fromkeys(("batch_invariant", "frozen_weights", "set_batch_invariant", "weights_changed"), "fusec.runtime"),
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        with compiler_needed():
            return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fusec' has no attribute {name!r}")
