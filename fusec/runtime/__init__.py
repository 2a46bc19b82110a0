"""Everything that generated code imports, see `exports`; needs torch and triton only.

They are loaded when something of it is asked for: figures of chips and tuned tables need neither.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusec.runtime.exports import *  # noqa: F403


def __getattr__(name: str) -> object:
    # Python asks for a module of this package here before it loads it: no reason to load all that is exported.
    if not name.startswith("__") and find_spec(f"{__name__}.{name}") is None:
        exports = import_module(".exports", __name__)
        if name in exports.__all__ and hasattr(exports, name):
            return getattr(exports, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
