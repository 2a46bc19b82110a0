"""Draws that follow from their strategies alone.

Hypothesis mixes in constants that stand in the text of the modules it finds loaded, but for installed packages: in a
checkout of fusec that is the whole compiler. To read it takes seconds, and with any change of it other calls are drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

_PROVIDERS = "hypothesis.internal.conjecture.providers"
"""Where versions that look for constants do so."""


@contextmanager
def from_strategies_alone() -> Iterator[None]:
    """Within, no module has constants that Hypothesis would draw."""
    providers = sys.modules.get(_PROVIDERS)
    with ExitStack() as stack:
        if hasattr(providers, "is_local_module_file"):
            stack.enter_context(mock.patch.object(providers, "is_local_module_file", return_value=False))
        yield
