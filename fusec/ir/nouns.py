"""Nouns: what the values of a flow are called, by their names in the spec or by what they are.

Values of one name that belong to two halves of an axis are told apart as `low` and `high`, those of several outputs by
these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import sympy

from fusec.ir.expressions import (
    Affine,
    Cast,
    Choose,
    Dot,
    Elementwise,
    Load,
    Neighbours,
    NodeId,
    Partial,
    Position,
    Reduce,
    operands,
)
from fusec.ir.flow import Flow, FlowNode, Store
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS

_HALVES = ("low", "high")
_NEIGHBOURS = ("even", "odd")


def nouns(flow: Flow) -> tuple[str, ...]:
    """What each node of a flow might be called."""
    words = [_word(flow.nodes, number) for number in range(len(flow.nodes))]
    live = flow.live or list(range(len(flow.nodes)))  # partial results are of flows without stores
    targets = _targets(flow, live)
    halves = _halves(flow, live, targets)
    found = list(words)
    alike: dict[str, list[NodeId]] = {}
    for number in live:
        alike.setdefault(words[number], []).append(number)
    for word, numbers in alike.items():
        by_target = len({targets[n] for n in numbers if len(targets[n]) == 1}) > 1
        by_half = len({halves[n] for n in numbers}) > 1
        for n in numbers:
            parts = [word]
            if by_target and len(targets[n]) == 1 and word not in targets[n]:
                parts += targets[n]
            if by_half and (half := halves[n]) is not None:
                parts.append(half)
            found[n] = "_".join(parts)
    return tuple(found)


def result_nouns(stores: Sequence[Store]) -> tuple[str, ...]:
    """What the values of stores are called: by their targets, and where these are several of one, by where they go."""
    alike: dict[str, list[Store]] = {}
    for store in stores:
        alike.setdefault(store.target, []).append(store)
    halves = {target: low_and_high([total_offset(store.positions) for store in same]) for target, same in alike.items()}
    return tuple(_result_noun(store, halves[store.target][alike[store.target].index(store)]) for store in stores)


def _result_noun(store: Store, half: str | None) -> str:
    word = _NEIGHBOURS[store.pair.index] if store.pair is not None else half
    return f"{store.target}_{word}" if word else store.target


def _word(nodes: tuple[FlowNode, ...], number: NodeId) -> str:
    """What a node is called, whatever else is called so."""
    node = nodes[number]
    if node.name:
        return node.name
    match node.expr:
        case Load(param=param):
            return param
        case Neighbours(args=args):
            return _word(nodes, args[0])
        case Partial(noun=noun):
            return noun
        case Dot() | Reduce():
            return reduction_noun(nodes, node.expr)
        case Elementwise(op=op, args=args):
            return _made(nodes, op, args)
        case Cast():
            return "rounded"
        case Choose(selector=selector):
            return f"by_{selector}"
        case _:
            return "value"


def reduction_noun(nodes: tuple[FlowNode, ...], expr: Dot | Reduce) -> str:
    """What a reduction makes, whatever the spec calls it: none of these words, with another one behind it, is one."""
    if isinstance(expr, Dot):
        return "product"
    return _summed(nodes, expr.arg) if _adds(expr.op) else REDUCTIONS[expr.op].noun


def _adds(op: str) -> bool:
    return ELEMENTWISE[REDUCTIONS[op].combine].linear == (1, 1)


def _summed(nodes: tuple[FlowNode, ...], arg: NodeId) -> str:
    """What a sum is of."""
    expr = nodes[arg].expr
    if isinstance(expr, Elementwise) and ELEMENTWISE[expr.op].multiplies:
        return "sum_of_squares" if len(set(expr.args)) == 1 else "product"
    return "total"


def _made(nodes: tuple[FlowNode, ...], op: str, args: tuple[NodeId, ...]) -> str:
    """What an operation makes of its operands."""
    own = ELEMENTWISE[op]
    if own.selects:
        return _word(nodes, args[-1])
    if ELEMENTWISE[op].multiplies:
        first = nodes[args[0]].expr
        while isinstance(first, Elementwise) and ELEMENTWISE[first.op].multiplies:
            first = nodes[first.args[0]].expr
        return f"scaled_{first.param}" if isinstance(first, Load) else "scaled"
    return own.noun or op


def _targets(flow: Flow, live: list[NodeId]) -> dict[NodeId, tuple[str, ...]]:
    """The tensors that a node is needed for."""
    found: dict[NodeId, dict[str, None]] = {number: {} for number in live}
    for store in flow.stores:
        found[store.value][store.target] = None
    for number in reversed(live):
        for operand in operands(flow.nodes[number].expr):
            found[operand] |= found[number]
    return {number: tuple(sorted(targets)) for number, targets in found.items()}


def _halves(flow: Flow, live: list[NodeId], targets: dict[NodeId, tuple[str, ...]]) -> dict[NodeId, str | None]:
    """Which half of an axis a node is computed of, where it is of one."""
    loads: dict[tuple[object, ...], list[NodeId]] = {}
    for number in live:
        expr = flow.nodes[number].expr
        if isinstance(expr, Load) and expr.pair is None:
            loads.setdefault((expr.param, targets[number], _without_offsets(expr)), []).append(number)
    found: dict[NodeId, str | None] = dict.fromkeys(live)
    for pair in loads.values():
        found |= dict(zip(pair, low_and_high([_offset(flow.nodes[number]) for number in pair]), strict=True))
    for number in live:
        expr = flow.nodes[number].expr
        if isinstance(expr, Partial):
            found[number] = next((half for half in _HALVES if expr.noun.endswith(f"_{half}")), None)
        elif not isinstance(expr, Load):
            found[number] = _only(found[operand] for operand in operands(expr))
    return found


def _without_offsets(load: Load) -> tuple[object, ...]:
    return tuple(position.terms if isinstance(position, Affine) else position for position in load.positions)


def low_and_high(offsets: Sequence[sympy.Expr]) -> tuple[str | None, ...]:
    """Words for two offsets that differ, the smaller one `low`; none for any other number of them."""
    if len(offsets) == 2:
        ahead = offsets[1] - offsets[0]
        if ahead.is_nonnegative:
            return _HALVES
        if (-ahead).is_nonnegative:
            return _HALVES[::-1]
    return (None,) * len(offsets)


def _offset(node: FlowNode) -> sympy.Expr:
    assert isinstance(node.expr, Load)
    return total_offset(node.expr.positions)


def total_offset(positions: tuple[Position, ...]) -> sympy.Expr:
    """How far from the first element an access begins, if all strides were 1."""
    return sum((p.offset for p in positions if isinstance(p, Affine)), sympy.S.Zero)


def _only(halves: Iterable[str | None]) -> str | None:
    """The one half that some values are of."""
    counts = Counter(half for half in halves if half is not None)
    return next(iter(counts)) if len(counts) == 1 else None
