"""Where the values of an access are stored: positions of whole dimensions, and those of one part of an axis."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import sympy

from fusec.ir.expressions import Affine, Layout, Pair, Position
from fusec.ir.flow import LEAD_AXES, Store
from fusec.ir.layout import stored_dims
from fusec.ir.type_rules import part_axes
from fusec.ir.types import Axis, Dim, Lead, Sum, product_extent


def positions_of(dims: tuple[Dim, ...]) -> tuple[Affine, ...]:
    """Every position of several stored dimensions; `...` becomes the two axes it is walked by."""
    return tuple(map(_whole, stored_dims(dims)))


def walked(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The axes a kernel walks; `...` becomes two."""
    return tuple(a for axis in axes for a in (LEAD_AXES if isinstance(axis, Lead) else (axis,)))


def _whole(dim: Dim) -> Affine:
    """Every position of a stored dimension, by the indices of its axes."""
    terms = [(axis, product_extent(dim[place + 1 :])) for place, axis in enumerate(dim)]
    return Affine(tuple(terms))


def axes_of_part(axis: Axis, layout: Layout, k: int) -> tuple[Axis, ...]:
    """The axes of part `k` of an axis."""
    if layout is Layout.PARTS:
        assert isinstance(axis, Sum)
        return axis.parts[k]
    return part_axes(axis)


def part_of_position(position: Affine, axis: Axis, layout: Layout, k: int) -> Affine:
    """A position along `axis` and others, for part `k` of the axis: `2 i + k` for the pairs of `i`."""
    terms: list[tuple[Axis, sympy.Expr]] = []
    offset = position.offset
    for term, factor in position.terms:
        if term != axis:
            terms.append((term, factor))
            continue
        match layout:
            case Layout.HALVES:
                half = part_axes(axis)
                terms += [(a, factor) for a in half]
                offset += factor * k * product_extent(half)
            case Layout.PAIRS:
                terms += [(a, 2 * factor) for a in part_axes(axis)]
                offset += factor * k
            case Layout.PARTS:
                assert isinstance(axis, Sum)
                terms += [(a, factor * c) for a, c in _whole(axis.parts[k]).terms]
                offset += factor * sympy.Add(*(product_extent(part) for part in axis.parts[:k]))
            case _:
                assert_never(layout)
    return Affine(tuple(terms), offset)


def part_of_access(
    positions: tuple[Position, ...], pair: Pair | None, axis: Axis, layout: Layout, k: int
) -> tuple[tuple[Position, ...], Pair | None]:
    """The positions of part `k` of an access. The first pairs it is taken apart in are read or written at once."""
    holders = [p for p in positions if isinstance(p, Affine) and axis in p.axes]
    wide = layout is Layout.PAIRS and pair is None and len(holders) == 1
    taken = tuple(
        part_of_position(p, axis, layout, 0 if wide else k) if isinstance(p, Affine) else p for p in positions
    )
    if wide:
        place = positions.index(holders[0])
        step = next(factor for term, factor in holders[0].terms if term == axis)
        return taken, Pair(place, step, k)
    return taken, pair


def part_of_store(store: Store, axis: Axis, layout: Layout, k: int) -> Store:
    """The store of part `k` of what a store writes."""
    positions, pair = part_of_access(store.positions, store.pair, axis, layout, k)
    return replace(store, positions=positions, pair=pair)
