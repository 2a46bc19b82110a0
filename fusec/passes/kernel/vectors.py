"""Vectors: a loop over rows that may begin anywhere moves them as whole vectors of 16 bytes, if its launch says so.

Before: a loop whose tiles can stay in registers. After: the same, whose plain accesses along a row, which take its
positions one after another, know how to move vectors (`runtime/row_vectors.py`), and which says where the row begins
that is `stored`; tiles begin where a vector of that one does. Whatever else it reads or stores stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import sympy

from fusec.ir.kernel import RowLoop, Sweep
from fusec.ir.statements import AxisIndex, Branch, Let, LoadTile, Point, Statement, StoreTile, Vectors, every
from fusec.ir.tile_values import Along, Condition, InRange, Name
from fusec.ir.types import DType, Kind
from fusec.passes.kernel.target import Target


def with_vectors(loop: RowLoop, target: Target) -> RowLoop:
    """The same loop, whose rows may begin anywhere."""
    index = loop.sweeps[0].step.index
    if not loop.may_hold or index.mask is None:
        return loop
    (inside,) = index.mask.mask
    assert isinstance(inside, InRange)
    points = {one.name.text: one for one in every(loop) if isinstance(one, Point)}
    row = _Row(index.name, index.mask.name, inside.size, {axis.name for axis in loop.rows.axes}, points, target)
    stored = row.stored(loop)
    if stored is None:
        return loop
    return replace(loop, sweeps=tuple(_sweep(sweep, row, stored) for sweep in loop.sweeps), stored=stored)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row as a loop walks it: its index, the mask and the extent of that, the indices of rows, and pointers."""

    index: Name
    mask: Condition
    size: sympy.Expr
    rows: set[Name]
    points: Mapping[str, Point]
    target: Target

    def stored(self, loop: RowLoop) -> Point | None:
        """The pointer to the row whose vectors tiles begin with: the first that is stored."""
        stores = [one for sweep in loop.sweeps for one in sweep.step.results.stores if isinstance(one, StoreTile)]
        plain = [self.points[one.address.pointer.text] for one in stores if self.vectors(one) is not None]
        before = [one for sweep in loop.sweeps for one in sweep.before]
        return next((point for point in plain if point in before), None)

    def vectors(self, access: LoadTile | StoreTile) -> Vectors | None:
        """How an access may move vectors; None for one that does not take the positions one after another."""
        address = access.address
        plain = len(address.along) == 1 and _is_plain(address.along[0], {self.index})
        if not plain or address.pair is not None or access.mask != (self.mask,) or not self._is_of_numbers(access):
            return None
        is_row = self._is_row(address.pointer)
        tensor = self._tensor(address.pointer)
        if isinstance(access, StoreTile):
            return Vectors("row", tensor, self.size) if is_row else None
        written = any(param.mutable for param in self.target.graph.tensors if param.name == tensor)
        return Vectors("written" if written else "row" if is_row else "shared", tensor, self.size)

    def _is_row(self, pointer: Name) -> bool:
        """Whether a pointer goes by the indices of rows alone, each as it is."""
        point = self.points.get(pointer.text)
        return point is not None and all(_is_plain(along, self.rows) for along in point.address.along)

    def _tensor(self, pointer: Name) -> str:
        point = self.points.get(pointer.text)
        return (point.address.pointer if point else pointer).text.removesuffix("_ptr")

    def _is_of_numbers(self, access: LoadTile | StoreTile) -> bool:
        if isinstance(access, LoadTile):
            return len(access.names) == 1 and access.names[0].kind is not Kind.BOOL
        return len(access.values) == 1 and not (isinstance(access.dtype, DType) and access.dtype.kind is Kind.BOOL)


def _is_plain(along: Along, indices: set[Name]) -> bool:
    terms = along.terms
    return along.offset == 0 and len(terms) == 1 and terms[0][0] in indices and terms[0][1] == 1


def _sweep(sweep: Sweep, row: _Row, stored: Point) -> Sweep:
    step, results = sweep.step, sweep.step.results
    fills = bool(sweep.after)
    made = replace(results, values=_all(results.values, row, fills), stores=_all(results.stores, row, fills))
    before, after = (tuple(one for one in slot if one != stored) for slot in (sweep.before, sweep.after))
    moved = replace(step, index=_anywhere(step.index), values=_all(step.values, row, fills), results=made)
    return replace(sweep, before=before, step=moved, after=after)


def _anywhere(index: AxisIndex) -> AxisIndex:
    assert index.mask is not None
    (inside,) = index.mask.mask
    assert isinstance(inside, InRange)
    return replace(index, mask=Let(index.mask.name, (replace(inside, anywhere=True),)))


def _all(statements: tuple[Statement, ...], row: _Row, fills: bool) -> tuple[Statement, ...]:
    return tuple(_moved(statement, row, fills) for statement in statements)


def _moved(statement: Statement, row: _Row, fills: bool) -> Statement:
    match statement:
        case Branch(cases):
            return Branch(tuple((test, _all(body, row, fills)) for test, body in cases))
        case StoreTile():
            return replace(statement, vectors=row.vectors(statement))
        case LoadTile():
            vectors = row.vectors(statement)
            # What is only stored may hold anything outside of the row, where nothing is stored.
            is_free = not fills and vectors is not None and statement.names[0].kind is Kind.REAL
            return replace(statement, vectors=vectors, fill=None if is_free else statement.fill)
        case _:
            return statement
