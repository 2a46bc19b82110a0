"""A flow as text: what `show` is for graphs, with addresses in the place of views."""

from __future__ import annotations

import sympy

from fusec.ir.expressions import (
    BOTH,
    Affine,
    FlowExpr,
    Load,
    Lookup,
    Neighbours,
    NodeId,
    Pair,
    Partial,
    Position,
    Size,
)
from fusec.ir.flow import Flow, FlowNode, Store
from fusec.ir.graph import reachable
from fusec.ir.show import show_expr
from fusec.ir.sizes import size_text
from fusec.ir.types import Axis


def show_flow(flow: Flow) -> str:
    """The whole flow, a line per store and per node that some store needs.

    `load x[S, i(H)*D + i(D/2) + D // 2]` reads by position: a plain axis stands for its index, `i(D/2)` is the index
    along an axis in a sum, `%4 < P` an index read from memory, which has to be below `P`.
    """
    return "\n".join(["flow", *(f"  {line}" for line in flow_lines(flow))])


def flow_lines(flow: Flow, roots: tuple[NodeId, ...] = ()) -> list[str]:
    """The lines of a flow, of which `roots` are needed beside what its stores read."""
    live = sorted(reachable(flow.nodes, (*flow.roots, *roots)))
    return [*(_node(number, flow.nodes[number]) for number in live), *map(_store, flow.stores)]


def _node(number: NodeId, node: FlowNode) -> str:
    name = f" {node.name}" if node.name else ""
    return f"%{number}{name} = {_expr(node.expr)} : {node.type}"


def _store(store: Store) -> str:
    return f"store {store.target}{show_access(store.positions, store.pair)} as {store.element} = %{store.value}"


def _expr(expr: FlowExpr) -> str:
    match expr:
        case Load(param, positions, pair):
            return f"load {param}{show_access(positions, pair)}"
        case Partial(workspace, op, axes):
            return f"{op} of {workspace}[{', '.join(map(str, axes))}]"
        case Neighbours(args, axis):
            return f"{', '.join(f'%{arg}' for arg in args)} by turns along {axis}"
        case Size(value):
            return f"size {size_text(value)}"
        case _:
            return show_expr(expr)


def show_access(positions: tuple[Position, ...], pair: Pair | None = None) -> str:
    """Where an access reads or writes, as `show_flow` has it."""
    text = f"[{', '.join(map(_position, positions))}]"
    if pair is None:
        return text
    return f"{text} {'both neighbours' if pair.index == BOTH else f'neighbour {pair.index}'} of dim {pair.dim}"


def _position(position: Position) -> str:
    match position:
        case Lookup(index, size):
            return f"%{index} < {size_text(size)}"
        case Affine(((axis, coefficient),), offset) if coefficient == 1 and offset == 0:
            return str(axis)
        case Affine(terms, offset):
            texts = [_term(axis, coefficient) for axis, coefficient in terms]
            return " + ".join([*texts, *([size_text(offset)] if offset != 0 else [])]) or "0"


def _term(axis: Axis, coefficient: sympy.Expr) -> str:
    text = size_text(coefficient)
    return f"i({axis})" if coefficient == 1 else f"i({axis})*{f'({text})' if ' ' in text else text}"
