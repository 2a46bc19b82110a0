"""Elide masks: choose what lanes outside of the extents hold, so that reductions need not mask them.

Before: `tl.sum(tl.where(n_mask, x * x, 0))`; after: `tl.sum(x * x)`, because a masked load of `x` reads zero there. A
load that feeds a maximum and the exponentials below it reads minus infinity instead, which suits both.
Relies on every load being masked along its own axes with the fill chosen here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import inf, isfinite

from fusec.ir.bottom_up import BottomUp
from fusec.ir.expressions import Cast, Choose, Const, Elementwise, NodeId, Reduce
from fusec.ir.flow import Flow, Load, Lookup, flow_operands, flow_reachable
from fusec.ir.types import Axis


@dataclass(frozen=True, slots=True)
class Padding:
    """What loads read outside of the extents: minus infinity for those in `low`, zero for all others."""

    flow: Flow
    low: frozenset[NodeId] = frozenset()

    def fill(self, load: NodeId) -> float:
        """What a load reads outside."""
        return -inf if load in self.low else 0.0

    def suits(self, reduce: Reduce) -> bool:
        """Whether lanes outside leave a reduction over at least one element alone."""
        zero = self.is_zero(reduce.arg, reduce.axes)
        match reduce.op:
            case "sum":
                return zero
            case "amax":
                return self.is_lowest(reduce.arg, reduce.axes) or (zero and is_size(self.flow, reduce.arg))
            case _:
                return False

    def suits_empty(self, reduce: Reduce) -> bool:
        """The same for a reduction over no element, where lanes outside are all there is: whether they are neutral."""
        within = flow_reachable(self.flow.nodes, (reduce.arg,))
        if reduce.op == "sum":
            return self.low.isdisjoint(within)
        waits = any(isinstance(self.flow.nodes[n].expr, Reduce) for n in within)
        return self.is_lowest(reduce.arg, reduce.axes) and not waits

    def is_zero(self, number: NodeId, axes: tuple[Axis, ...]) -> bool:
        """Whether node `number` is proved zero in every lane outside of the extents of any of `axes`.

        It may also be NaN there, where it is NaN in some lane inside.
        """
        lowest = self._lowest_along(axes)
        known: BottomUp[NodeId, bool] = BottomUp(self._arithmetic, lambda n: self._zero(n, axes, known, lowest))
        return known(number)

    def _zero(
        self,
        number: NodeId,
        axes: tuple[Axis, ...],
        known: Callable[[NodeId], bool],
        lowest: Callable[[NodeId], bool],
    ) -> bool:
        node = self.flow.nodes[number]
        match node.expr:
            case Load(positions=positions):
                looked = any(isinstance(position, Lookup) for position in positions)
                return number not in self.low and not looked and all(axis in node.type.axes for axis in axes)
            case Const(value):
                return value == 0
            case Elementwise(op="mul", args=(a, b)):
                zero_a, zero_b = known(a), known(b)
                return (zero_a and zero_b) or (zero_a and self._is_finite(b)) or (zero_b and self._is_finite(a))
            case Elementwise(op="div", args=(a, b)):
                return known(a) and self._is_finite(b)
            case Elementwise(op="abs" | "neg" | "sqrt" | "add" | "sub" | "maximum" | "minimum", args=args):
                return all(map(known, args))
            case Elementwise(op="exp" | "exp2", args=(arg,)):
                return lowest(arg)
            case Cast(arg=arg):
                return known(arg)
            case Choose(cases=cases):
                return all(known(case) for _, case in cases)
            case _:
                return False

    def is_lowest(self, number: NodeId, axes: tuple[Axis, ...]) -> bool:
        """The same for minus infinity."""
        return self._lowest_along(axes)(number)

    def _lowest_along(self, axes: tuple[Axis, ...]) -> Callable[[NodeId], bool]:
        known: BottomUp[NodeId, bool] = BottomUp(self._arithmetic, lambda n: self._lowest(n, axes, known))
        return known

    def _lowest(self, number: NodeId, axes: tuple[Axis, ...], known: Callable[[NodeId], bool]) -> bool:
        node = self.flow.nodes[number]
        match node.expr:
            case Load():
                return number in self.low and all(axis in node.type.axes for axis in axes)
            case Const(value):
                return value == -inf
            case Elementwise(op="sub", args=(a, b)):
                return known(a) and self._is_maximum(b, a, axes)
            case Elementwise(op="where", args=(_, a, b)):
                return known(a) and known(b)
            case Cast(arg=arg):
                return known(arg)
            case Choose(cases=cases):
                return all(known(case) for _, case in cases)
            case _:
                return False

    def _arithmetic(self, number: NodeId) -> tuple[NodeId, ...]:
        """The operands that tell what a value is outside."""
        expr = self.flow.nodes[number].expr
        return flow_operands(expr) if isinstance(expr, Elementwise | Cast | Choose) else ()

    def _is_maximum(self, number: NodeId, of: NodeId, axes: tuple[Axis, ...]) -> bool:
        """Whether a node is the maximum of another over `axes`.

        Minus infinity less that maximum stays what it is, or is NaN; then every lane inside less the maximum is NaN.
        """
        expr = self.flow.nodes[number].expr
        return isinstance(expr, Reduce) and expr.op == "amax" and expr.arg == of and set(expr.axes) == set(axes)

    def _is_finite(self, number: NodeId) -> bool:
        """Whether a node is a literal that is neither zero nor infinite: zero times or over it is zero."""
        expr = self.flow.nodes[number].expr
        return isinstance(expr, Const) and isfinite(expr.value) and expr.value != 0


def choose_padding(flow: Flow, live: Iterable[NodeId], may_be_low: Callable[[str], bool]) -> Padding:
    """The padding that suits most reductions. `may_be_low` says which tensors have a type with an infinity."""
    numbers = sorted(live)
    reductions = [expr for n in numbers if isinstance(expr := flow.nodes[n].expr, Reduce)]
    best = Padding(flow)
    for access, loads in _accesses(flow, numbers).items():
        if may_be_low(access.param) and not any(isinstance(p, Lookup) for p in access.positions):
            other = Padding(flow, best.low | loads)
            if sum(map(other.suits, reductions)) > sum(map(best.suits, reductions)):
                best = other
    return best


def _accesses(flow: Flow, numbers: list[NodeId]) -> dict[Load, frozenset[NodeId]]:
    """The loads by the access that makes them. One makes both neighbours of a pair, which it fills alike."""
    found: dict[Load, frozenset[NodeId]] = {}
    for number in numbers:
        expr = flow.nodes[number].expr
        if isinstance(expr, Load):
            access = replace(expr, pair=expr.pair and replace(expr.pair, index=0))
            found[access] = found.get(access, frozenset()) | {number}
    return found


def is_size(flow: Flow, number: NodeId) -> bool:
    """Whether a node is proved to be at least zero wherever it is not NaN."""

    def needs(n: NodeId) -> tuple[NodeId, ...]:
        expr = flow.nodes[n].expr
        return expr.args if isinstance(expr, Elementwise) else ()

    def rule(n: NodeId) -> bool:
        match flow.nodes[n].expr:
            case Const(value):
                return value >= 0
            case Elementwise(op="abs" | "sqrt" | "exp" | "exp2"):
                return True
            case Elementwise(op="mul", args=(a, b)):
                return a == b or (known(a) and known(b))
            case Elementwise(op="add" | "div" | "minimum", args=args):
                return all(map(known, args))
            case Elementwise(op="maximum", args=args):
                return any(map(known, args))
            case _:
                return False

    known = BottomUp(needs, rule)
    return known(number)
