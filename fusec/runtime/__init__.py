"""Everything that generated code imports, see `exports`; needs torch and triton only.

They are loaded when something of it is asked for: figures of chips and tuned tables need neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusec.runtime.exports import *  # noqa: F403


def __getattr__(name: str) -> object:
    # Modules of this package, and what Python looks for in any, are no exports; one that is being loaded has none yet.
    if not name.startswith("__"):
        exports = import_module("fusec.runtime.exports")
        if name in exports.__all__ and hasattr(exports, name):
            return getattr(exports, name)
    raise AttributeError(f"module 'fusec.runtime' has no attribute {name!r}")
