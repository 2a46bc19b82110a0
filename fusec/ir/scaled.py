"""Scaled products: digits as they lie in memory, and the scales of their groups, as `tl.dot_scaled` takes them.

OCP Microscaling Formats (MX) Specification 1.0: a scale in E8M0 for 32 numbers of 8 or of 4 bits. NVFP4: one in E4M3
for 16 numbers of E2M1.
"""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.expressions import NodeId, Position
from fusec.ir.types import Axis

ONE = 127
"""The digits of 1 in E8M0."""

NUMBERS = {"e8m0": 32, "e4m3": 16}
"""How many numbers have a scale, by the format of that."""

PACKED = {"e4m3": 1, "e5m2": 1, "e2m1": 2}
"""How many numbers are in a byte, by their format."""


@dataclass(frozen=True, slots=True)
class Digits:
    """Numbers of a format in `tensor`, those of all groups one behind the other along `axis`, counted in bytes."""

    tensor: str
    positions: tuple[Position, ...]
    axis: Axis
    format: str


@dataclass(frozen=True, slots=True)
class Scales:
    """The scales of groups in `tensor`. One of the spec may stand for several `times` as many numbers as one of MX.

    A tensor core takes no scale below 0: of a `signed` format the digits say which these are.
    """

    tensor: str
    positions: tuple[Position, ...]
    format: str
    times: int = 1
    signed: bool = False


@dataclass(frozen=True, slots=True)
class ScaledOperand:
    """One side of a product, whose groups may have no scales."""

    digits: Digits
    scales: Scales | None


@dataclass(frozen=True, slots=True)
class ScaledProduct:
    """The sum over all groups (node `value`) of products of `a`, with the rows of a tile, and `b`, with its columns."""

    value: NodeId
    a: ScaledOperand
    b: ScaledOperand

    @property
    def scales(self) -> Scales:
        """Those of one side; others have the same format, for as many numbers."""
        found = self.a.scales or self.b.scales
        assert found is not None
        return found

    @property
    def formats(self) -> str:
        """Those of both operands and of their scales, as chips tell what they multiply."""
        return f"{self.a.digits.format} {self.b.digits.format} {self.scales.format}"
