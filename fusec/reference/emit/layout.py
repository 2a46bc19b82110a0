"""Where the axes of a value stand in the torch tensor that holds it.

A layout names the axis of each tensor dimension, right-aligned as torch broadcasts; None is a dimension of size 1.
`...` is one entry, always the first, and stands for any number of dimensions: positions are counted from the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fusec.ir.graph import Graph
from fusec.ir.types import Axis, Dim, Lead, Quotient, Sum

Layout: TypeAlias = tuple[Axis | None, ...]


def root(axis: Axis) -> Axis:
    """The axis that `D/2` is a part of, and any other axis itself."""
    return axis.of if isinstance(axis, Quotient) else axis


def axis_ranks(graph: Graph) -> dict[Axis, int]:
    """One order of all axes of an op, in agreement with its signature as far as that agrees with itself."""
    order: list[Axis] = []
    signatures = [output.dims for output in graph.outputs] + [param.dims for param in graph.tensors]
    for dims in signatures:
        for row in _rows(dims):
            _insert(order, row)
    _insert(order, [root(axis) for node in graph.nodes for axis in node.type.axes])
    order.sort(key=lambda axis: not isinstance(axis, Lead))
    return {axis: rank for rank, axis in enumerate(order)}


def _rows(dims: tuple[Dim, ...]) -> list[list[Axis]]:
    """The axes of a signature in order; once more for every part of an axis of parts, in its place."""
    flat = [axis for dim in dims for axis in dim]
    rows = [[root(axis) for axis in flat]]
    for place, axis in enumerate(flat):
        if isinstance(axis, Sum):
            rows += [[root(a) for a in (*flat[:place], *part, *flat[place + 1 :])] for part in axis.parts]
    return rows


def _insert(order: list[Axis], row: list[Axis]) -> None:
    for place, axis in enumerate(row):
        if axis in order:
            continue
        if place:
            order.insert(order.index(row[place - 1]) + 1, axis)
        else:
            following = [order.index(later) for later in row[1:] if later in order]
            order.insert(min(following, default=len(order)), axis)


def merged(layouts: list[Layout]) -> Layout | None:
    """The layout of values broadcast as they stand, or None where their axes do not stand under one another."""
    length = max(map(len, layouts), default=0)
    result: list[Axis | None] = []
    for place in range(length):
        entries = {layout[place - length] for layout in layouts if len(layout) >= length - place} - {None}
        if len(entries) > 1:
            return None
        result.append(entries.pop() if entries else None)
    axes = [axis for axis in result if axis is not None]
    leads = [place for place, axis in enumerate(result) if isinstance(axis, Lead)]
    # `...` takes up an unknown number of dimensions: nothing may be broadcast against what stands before its end.
    hidden = bool(leads) and any(len(layout) >= length and layout[0] is None for layout in layouts)
    return None if len(set(axes)) < len(axes) or leads not in ([], [0]) or hidden else tuple(result)


def moved(layout: Layout, target: tuple[Axis, ...]) -> tuple[str, Layout]:
    """What to append to a tensor so that it broadcasts against one of the axes `target`, and its layout then."""
    own = [axis for axis in layout if axis is not None]
    suffix = ""
    wanted_order = [axis for axis in target if axis in own]
    if own != wanted_order:
        squeeze, layout = _reindexed(layout, tuple(own))
        suffix = squeeze + _permutation(own, wanted_order)
        layout = tuple(wanted_order)
    first = next((place for place, axis in enumerate(target) if axis in own), len(target))
    goal = tuple(axis if axis in own else None for axis in target[first:])
    if merged([layout, target]) == target and len(layout) <= len(target):
        return suffix, layout
    index, layout = _reindexed(layout, goal)
    return suffix + index, layout


def _reindexed(layout: Layout, goal: Layout) -> tuple[str, Layout]:
    """Insert and remove dimensions of size 1; the axes and their order are those of `layout`."""
    if layout == goal:
        return "", goal
    tokens: list[str] = []
    rest = list(layout)
    for axis in goal:
        if axis is None:
            if rest and rest[0] is None:
                rest.pop(0)
                tokens.append(":")
            else:
                tokens.append("None")
            continue
        while rest[0] is None:
            rest.pop(0)
            tokens.append("0")
        rest.pop(0)
        tokens.append(":")
    tokens += ["0"] * len(rest)
    if "None" not in tokens:
        places = [place - len(tokens) for place, token in enumerate(tokens) if token == "0"]
        return f".squeeze({_tuple(places)})", goal
    run = next((place for place, token in enumerate(tokens) if token != ":"), len(tokens))
    if run > 1 or (run == 1 and isinstance(layout[0], Lead)):
        tokens = ["...", *tokens[run:]]
    return f"[{', '.join(tokens)}]", goal


def _permutation(old: list[Axis], new: list[Axis]) -> str:
    places = [old.index(axis) - len(old) for axis in new]
    changed = [place for place, source in enumerate(places) if source != place - len(old)]
    if len(changed) == 2:
        return f".transpose({changed[0] - len(old)}, {changed[1] - len(old)})"
    if Lead() not in old:
        return f".permute({', '.join(str(old.index(axis)) for axis in new)})"
    goals = [place - len(old) for place in changed]
    return f".movedim({_tuple([places[place] for place in changed])}, {_tuple(goals)})"


def _tuple(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"({', '.join(map(str, numbers))})"


def split_axes(dims: tuple[Dim, ...], sizes: Callable[[tuple[Axis, ...]], str]) -> list[str]:
    """What splits the products among the last dimensions `dims` of a tensor into their axes, last one first."""
    suffixes: list[str] = []
    behind = 0
    for dim in reversed(dims):
        if len(dim) > 1:
            suffixes.append(f".unflatten({-behind - 1}, ({sizes(dim)}))")
        elif not dim:
            suffixes.append(f".squeeze({-behind - 1})")
        behind += len(dim)
    return suffixes


def join_axes(dims: tuple[Dim, ...]) -> list[str]:
    """What joins the axes of `dims` into stored dimensions, last one first."""
    suffixes: list[str] = []
    for behind, dim in enumerate(reversed(dims)):
        if len(dim) > 1:
            suffixes.append(f".flatten({-behind - len(dim)}{f', {-behind - 1}' if behind else ''})")
        elif not dim:
            suffixes.append(f".unsqueeze({-behind - 1})")
    return suffixes
