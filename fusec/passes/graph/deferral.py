"""Deferral: which factors of the operands of a dot leave it, which join a weight, and what keeps others.

`defer` writes down what is decided here, and says why; `justify` tells the reasons.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from fusec.ir.expressions import Cast, Dot
from fusec.ir.types import DType, Kind, without
from fusec.ir.value_ranges import peaks_at
from fusec.passes.graph.factor import (
    Factor,
    Nodes,
    Product,
    axes_of,
    follows_from,
    in_f64,
    product,
    reads,
    rounded_as,
    spans,
    stored_as,
)
from fusec.passes.graph.obstacles import why_nothing_leaves, words

Operands: TypeAlias = tuple[Product, Product]

_LEAVE = ((True, True), (True, False), (False, True), (False, False))
"""From which of its operands factors leave a dot, the most first."""

_EXPONENT_BITS_F32 = 8
_BITS_OF_QUANTISED = 8


@dataclass(frozen=True, slots=True)
class Moves:
    """What becomes of a dot: its operands, the factors that `left` it, those `folded` into operand `onto`.

    `kept` is the first condition that keeps a factor from leaving, None where all that have none of the contracted axes
    did; `unfolded` the first that keeps factors from joining a weight, None where they did.
    """

    operands: Operands
    left: Product
    folded: tuple[Factor, ...] = ()
    onto: int | None = None
    kept: str | None = None
    unfolded: str | None = None


def moves(nodes: Nodes, dot: Dot, weights: frozenset[str]) -> Moves:
    """The most that may move: into a weight first, since what then stays may be a stored tensor, and out of the dot."""
    return _Mover(nodes, dot, weights).best()


@dataclass(frozen=True, slots=True)
class _Mover:
    """A dot, the tensors known before the call, and what may become of the two."""

    nodes: Nodes
    dot: Dot
    weights: frozenset[str]

    def best(self) -> Moves:
        """The first of all moves that no condition speaks against, with the conditions against the rest."""
        tried = ((leave, source) for source in (0, 1, None) for leave in _LEAVE)
        leave, source = next((leave, source) for leave, source in tried if self._fault(leave, source) is None)
        found = self._moved(leave, source)
        return replace(found, kept=self._kept(found, source), unfolded=self._unfolded(leave, source))

    @property
    def _before(self) -> Operands:
        a, b = (product(self.nodes, operand, self.dot.axes) for operand in (self.dot.a, self.dot.b))
        return a, b

    def _moved(self, leave: tuple[bool, bool], source: int | None) -> Moves:
        """What stays where the factors of some operands leave, and those of operand `source` go to the other one."""
        kept, left, negative = list(self._before), list[Factor](), False
        for place, operand in enumerate(self._before):
            if leave[place]:
                kept[place] = Product(self._along(operand))
                left += [factor for factor in operand.factors if not self._varies(factor)]
                negative = negative != operand.negative
        moves = Moves((kept[0], kept[1]), Product(tuple(left), negative))
        if source is None:
            return moves
        folded = self._weights_along(kept[source])
        rest = tuple(factor for factor in kept[source].factors if factor not in folded)
        kept[source] = replace(kept[source], factors=rest)
        kept[1 - source] = replace(kept[1 - source], factors=(*kept[1 - source].factors, *folded))
        return replace(moves, operands=(kept[0], kept[1]), folded=folded, onto=1 - source)

    def _fault(self, leave: tuple[bool, bool], source: int | None) -> str | None:
        """The first condition that a move fails."""
        if source is not None and (fault := self._fold_fault(self._moved(leave, None).operands, source)):
            return fault
        return self._leave_fault(self._moved(leave, source))

    def _leave_fault(self, moves: Moves) -> str | None:
        before, left = self._before, moves.left.factors
        stays = tuple(factor for operand in moves.operands for factor in operand.factors)
        if left and self.dot.accum == "f16":
            return "the sum is kept in f16, which has no room for what stays"
        if self._whole(moves.operands) and not self._whole(before):
            return "what stays is a dot of integers, whose sum may not fit 32 bits"
        if in_f64(self.nodes, left) - in_f64(self.nodes, stays):
            return f"{said(self.nodes, left)} is f64, and the dot of what stays is not"
        for place, operand in enumerate(moves.operands):
            rounded = rounded_as(self.nodes, operand, self.dot)
            if rounded is None:
                continue
            narrow = [dtype for dtype in rounded.options if _exponent_bits(dtype) < _EXPONENT_BITS_F32]
            lighter = len(operand.factors) < len(before[place].factors) and place != moves.onto
            if narrow and left and lighter and not self._peaks_at_one(operand):
                return (
                    f"{self._said(operand)} would be rounded to {narrow[0]} without it, which has less range than f32"
                )
        return None

    def _fold_fault(self, operands: Operands, source: int) -> str | None:
        own, weight = operands[source], operands[1 - source]
        folded = self._weights_along(own)
        rest = Product(tuple(factor for factor in own.factors if factor not in folded), own.negative)
        if not folded:
            return self._no_weight(own)
        if not rest.factors:
            return f"{self._said(own)} is all that stays of its operand"
        if not all(follows_from(self.nodes, factor.value, self.weights) for factor in weight.factors):
            return f"{self._said(weight)} does not depend on weights alone"
        storage = stored_as(self.nodes, rest)
        if storage is None or storage.kind is not Kind.REAL:
            return f"what stays, {self._said(rest)}, is no stored tensor of reals"
        if missing := without(self.dot.axes, axes_of(self.nodes, rest.factors)):
            return f"what stays, {self._said(rest)}, has no axis {missing[0]}"
        if extra := without(axes_of(self.nodes, folded), axes_of(self.nodes, weight.factors)):
            return f"{self._said(Product(folded))} has the axis {extra[0]}, which {self._said(weight)} has not"
        if any(dtype.bits <= _BITS_OF_QUANTISED for dtype in storage.options):
            return f"numbers of {storage} fill the range of their type, and a product may leave it"
        return None

    def _no_weight(self, operand: Product) -> str:
        for factor in operand.factors:
            expr = self.nodes[factor.value].expr
            if isinstance(expr, Cast) and reads(self.nodes, expr.arg, self.weights):
                return f"the declared cast to {expr.dtype} stands in between"
        return f"no factor along {self._axes} depends on weights alone"

    def _kept(self, found: Moves, source: int | None) -> str | None:
        constant = [factor for operand in self._before for factor in operand.factors if not self._varies(factor)]
        if not constant:
            return why_nothing_leaves(self.nodes, self.dot)
        return self._fault(_LEAVE[0], source) if len(found.left.factors) < len(constant) else None

    def _unfolded(self, leave: tuple[bool, bool], source: int | None) -> str | None:
        if source is not None:
            return None
        mixed = [place for place, operand in enumerate(self._before) if self._some_weights(operand)]
        return self._fault(leave, mixed[0] if mixed else 0)

    # What stands in an operand

    def _varies(self, factor: Factor) -> bool:
        return spans(self.nodes, factor.value, self.dot.axes)

    def _along(self, operand: Product) -> tuple[Factor, ...]:
        return tuple(factor for factor in operand.factors if self._varies(factor))

    def _weights_along(self, operand: Product) -> tuple[Factor, ...]:
        return tuple(f for f in self._along(operand) if follows_from(self.nodes, f.value, self.weights))

    def _some_weights(self, operand: Product) -> bool:
        """Whether there is something to take to a weight, and something that is none."""
        return 0 < len(self._weights_along(operand)) < len(self._along(operand))

    def _whole(self, operands: Operands) -> bool:
        """Whether a dot of these is one of integers."""
        alone = (operand.alone for operand in operands)
        return all(value is not None and self.nodes[value].type.kind is Kind.INT for value in alone)

    def _peaks_at_one(self, operand: Product) -> bool:
        return operand.alone is not None and peaks_at(self.nodes, operand.alone, self.dot.axes) == 1

    # Words

    @property
    def _axes(self) -> str:
        return ", ".join(map(str, self.dot.axes))

    def _said(self, operand: Product) -> str:
        return said(self.nodes, operand.factors)


def said(nodes: Nodes, factors: Iterable[Factor]) -> str:
    """The words of a product."""
    text = ""
    for factor in factors:
        sign = " / " if factor.divides else " * " if text else ""
        text += sign + words(nodes[factor.value])
    return text


def _exponent_bits(dtype: DType) -> int:
    return dtype.bits - dtype.mantissa - 1
