"""Scaled gemm: the schedule of products whose operands are digits times scales of groups, for chips that multiply both.

Before: `sum(dot(a, b, over=L) * s * t, over=G)`, whose operands are read in 8 bits, or decoded of bytes, and whose
factors are decoded of bytes as well. After: the same as one product of digits and scales as they lie in memory, several
groups in a step.

What is decoded is told by the value for every byte (`ir/digits.py`). Relies on numbers of a group that lie one behind
the other, and on groups that do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isnan

import sympy

from fusec.ir.digits import HIGH, LOW, NUMBERS_OF_FOUR_BITS, POWERS_OF_TWO, Values, of_a_byte
from fusec.ir.expressions import BOTH, Affine, Dot, Elementwise, Load, Neighbours, NodeId, Position, Reduce
from fusec.ir.fixed_extents import known_extent, known_size
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.scaled import NUMBERS, Digits, ScaledOperand, ScaledProduct, Scales
from fusec.ir.schedule import GemmScaled, GemmTile
from fusec.ir.types import DTYPES, Axis
from fusec.passes.schedule.gemm import contractions
from fusec.passes.schedule.known import Known
from fusec.passes.schedule.survey import Survey

_EIGHT_BITS = {DTYPES["f8e4m3"]: "e4m3", DTYPES["f8e5m2"]: "e5m2"}


class _RefusedError(Exception):
    """Why there is no such schedule."""


def gemm_scaled(facts: Survey, known: Known, label: str) -> GemmScaled | str:
    """The schedule, or why there is none."""
    found = contractions(facts, label)
    if isinstance(found, str):
        return found
    tile = found[-1].tile
    if not tile.takes_groups or len(tile.k) > 2:
        return "what is contracted has no groups with scales"
    try:
        products = tuple(_Scaled(facts, known, tile).products())
    except _RefusedError as error:
        return str(error)
    if len({product.scales.format for product in products}) > 1:
        return "its products have groups of different sizes"
    about = (tile.flow, tile.order, tile.rows, tile.m, tile.n, tile.k)
    return GemmScaled(f"scaled{label}", *about, products)


class _Scaled:
    def __init__(self, facts: Survey, known: Known, tile: GemmTile) -> None:
        self._flow = facts.flow
        self._nodes = facts.flow.nodes
        self._known = known.extents
        self._tile = tile
        self._groups, self._inner = tile.k

    def products(self) -> Iterator[ScaledProduct]:
        """The sums over groups, each as one product."""
        for number in self._flow.live:
            expr = self._nodes[number].expr
            if isinstance(expr, Reduce):
                yield self._product(number, expr)

    def _product(self, number: NodeId, reduce: Reduce) -> ScaledProduct:
        dots, factors = list[Dot](), list[NodeId]()
        for factor in self._factors(reduce.arg):
            expr = self._nodes[factor].expr
            if isinstance(expr, Dot):
                dots.append(expr)
            else:
                factors.append(factor)
        if len(dots) != 1 or len(factors) not in (1, 2):
            raise _RefusedError("what is summed over groups is not a dot times scales")
        (dot,), m, n = dots, self._tile.m, self._tile.n
        a, b = (dot.b, dot.a) if n in self._nodes[dot.a].type.axes else (dot.a, dot.b)
        by_axis = {self._axis_of(factor): factor for factor in factors}
        if len(by_axis) < len(factors):
            raise _RefusedError("an operand has two scales for each of its groups")
        first, second = (self._scales(by_axis[axis]) if axis in by_axis else None for axis in (m, n))
        product = ScaledProduct(number, ScaledOperand(self._digits(a), first), ScaledOperand(self._digits(b), second))
        if len({scales and scales.format for scales in (first, second)} - {None}) > 1:
            raise _RefusedError("its operands have scales of different formats")
        is_packed = product.a.digits.format == product.b.digits.format == "e2m1"
        if product.scales.format == "e4m3" and not (is_packed and first and second):
            raise _RefusedError("scales of f8e4m3 are for numbers of f4e2m1, of both operands")
        return product

    def _factors(self, number: NodeId) -> Iterator[NodeId]:
        """What is multiplied to a value."""
        stack = [number]
        while stack:
            current = stack.pop()
            expr = self._nodes[current].expr
            op = ELEMENTWISE[expr.op] if isinstance(expr, Elementwise) else None
            if isinstance(expr, Elementwise) and op and op.arity == 2 and op.is_product and not op.is_quotient:
                stack += reversed(expr.args)
            else:
                yield current

    def _axis_of(self, factor: NodeId) -> Axis:
        """The axis of the tile along which every group has such a factor."""
        axes = set(self._nodes[factor].type.axes)
        found = [axis for axis in (self._tile.m, self._tile.n) if axis in axes]
        if len(found) != 1 or self._groups not in axes:
            raise _RefusedError("a factor is no scale of the groups of one operand")
        return found[0]

    def _digits(self, number: NodeId) -> Digits:
        node = self._nodes[number]
        match node.expr:
            case Load(param, positions, pair) if node.type.element in _EIGHT_BITS:
                if pair is not None and (pair.index != BOTH or pair.step != 1):
                    raise _RefusedError("the numbers of a group do not lie one behind the other")
                format = _EIGHT_BITS[node.type.element]
                return Digits(param, self._side_by_side(positions, 1 if pair is None else 2), self._inner, format)
            case Neighbours(args=args):
                found = [of_a_byte(self._nodes, arg) for arg in args]
                byte = next((each[0] for each in found if each is not None), None)
                load = None if byte is None else self._nodes[byte].expr
                if isinstance(load, Load) and load.pair is None and found == [(byte, each) for each in (LOW, HIGH)]:
                    return Digits(load.param, self._side_by_side(load.positions), self._inner, "e2m1")
        raise _RefusedError("an operand is not stored in f8e4m3, f8e5m2 or f4e2m1")

    def _side_by_side(self, positions: tuple[Position, ...], each: int = 1) -> tuple[Position, ...]:
        """Positions that count along all groups, where these lie one behind the other.

        The axis within a group has `each` elements at every position.
        """
        size, found = known_extent(self._inner, self._known), list[Position]()
        for at in positions:
            if not isinstance(at, Affine):
                raise _RefusedError("an operand is looked up")
            terms = dict(at.terms)
            if self._inner in terms or self._groups in terms:
                within, around = terms.get(self._inner), known_size(terms.get(self._groups, sympy.S.Zero), self._known)
                if within != each or size is None or around != each * size or at.offset != 0:
                    raise _RefusedError("the groups of an operand do not lie one behind the other")
                kept = ((axis, factor) for axis, factor in at.terms if axis != self._groups)
                terms = {axis: sympy.S.One if axis == self._inner else factor for axis, factor in kept}
            found.append(replace(at, terms=tuple(terms.items())))
        return tuple(found)

    def _scales(self, number: NodeId) -> Scales:
        load, format, signed = self._stored_scale(number)
        if load.pair is not None or not all(isinstance(at, Affine) for at in load.positions):
            raise _RefusedError("a scale is looked up")
        numbers = self._numbers
        times, rest = divmod(numbers, NUMBERS[format])
        if rest or not times or times & (times - 1):
            raise _RefusedError(f"a scale of {format} is for {NUMBERS[format]} numbers, and groups have {numbers}")
        return Scales(load.param, load.positions, format, times, signed)

    def _stored_scale(self, number: NodeId) -> tuple[Load, str, bool]:
        """Where a scale is stored, in which format, and whether it may be below 0."""
        decoded = of_a_byte(self._nodes, number)
        if decoded is not None and _is_same(decoded[1], POWERS_OF_TWO):
            load = self._nodes[decoded[0]].expr
            assert isinstance(load, Load)
            return load, "e8m0", False
        node = self._nodes[number]
        is_size = isinstance(node.expr, Elementwise) and _is_size(node.expr)
        if is_size and isinstance(node.expr, Elementwise):
            node = self._nodes[node.expr.args[0]]
        if isinstance(node.expr, Load) and node.type.element == DTYPES["f8e4m3"]:
            return node.expr, "e4m3", not is_size
        raise _RefusedError("a scale is not stored in f8e8m0 or f8e4m3")

    @property
    def _numbers(self) -> int:
        """How many numbers a group has."""
        size = known_extent(self._inner, self._known)
        if size is None:
            raise _RefusedError("it is not known how many numbers a group has")
        expr = next(iter(self._flow.dots.values()))
        both = any(isinstance(self._nodes[n].expr, Neighbours) for n in (expr.a, expr.b))
        return size * (2 if both else 1)


def _is_same(values: Values, others: Values) -> bool:
    return all(a == b or (isnan(a) and isnan(b)) for a, b in zip(values, others, strict=True))


def _is_size(expr: Elementwise) -> bool:
    """Whether an operation makes the size of a number."""
    at = ELEMENTWISE[expr.op].at
    return len(expr.args) == 1 and at is not None and all(at(x) == abs(x) for x in NUMBERS_OF_FOUR_BITS)
