"""What the schedules of an op are made for, beside what it computes."""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.types import Axis


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an op: the extents that constraints fix, the axes of the `matrices` it multiplies.

    An op that is `wide` computes in f64, which tensor cores do not.
    """

    extents: dict[str, int]
    matrices: frozenset[Axis] = frozenset()
    wide: bool = False
