"""Batch invariance: a row of a result has the same bits whatever rows come with it, and however many.

The rules of plans and tiles look at the number of rows: few rows are shared by several programs, or left to the library
of the vendor. Each way adds in an order of its own. While a call is invariant the rules look at one number of rows,
`ROWS`, and never at the library, so that all that is left to choose follows from the row itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

ROWS = 1024
"""As many rows as the rules think there are: enough to fill a chip."""

_within: ContextVar[bool | None] = ContextVar("batch_invariant", default=None)
_everywhere = False
_asked = False
"""Whether anybody ever asked for it: calls of all others look no further."""


@contextmanager
def batch_invariant(on: bool = True) -> Iterator[None]:
    """Within, on this thread, a row of a result depends on that row alone, to the last bit; or again not, with False.

    It costs time where there are few rows, which no longer have kernels of their own, and where the vendor's library
    would be faster. Rows are what leading axes count, of tensors that lie alike, each a multiple of 16 bytes long and
    at such an address. What a CUDA graph captured stays as it was captured.
    """
    global _asked
    _asked = True
    token = _within.set(on)
    try:
        yield
    finally:
        _within.reset(token)


def set_batch_invariant(on: bool) -> None:
    """Make all calls of the process `batch_invariant`, or none but those within one."""
    global _asked, _everywhere
    _asked, _everywhere = True, on


def is_invariant() -> bool:
    """Whether calls are batch invariant right now."""
    if not _asked:
        return False
    within = _within.get()
    return _everywhere if within is None else within


def counted(rows: int) -> int:
    """The number of rows as the rules are to see it."""
    return ROWS if is_invariant() else rows
