"""Reductions: what of a tile takes part in one, how steps of a loop add up, and the fold at the end."""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.expressions import NodeId, Reduce
from fusec.ir.ops import REDUCTIONS
from fusec.ir.tile_values import Apply, AsWhole, Filled, Fold, InRange, Masked, Name, Number, Value, Whole
from fusec.ir.types import Axis, Kind, extent
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.grid import Grid
from fusec.passes.kernel.scope import Scope


@dataclass(slots=True)
class Reductions:
    """The expressions that make a reduction."""

    _facts: Facts
    _grid: Grid

    def operand(self, number: NodeId, value: Value, scope: Scope) -> Value:
        """What reduction `number` of `value` reduces: lanes outside of the extents leave it alone."""
        reduce = self.expr(number)
        if value.kind is Kind.INT:
            value = AsWhole(value, Whole.LONG, value.dims)
        if self._facts.padding.suits(reduce):
            return value
        return self.masked(value, reduce.axes, REDUCTIONS[reduce.op].identity, scope)

    def masked(self, value: Value, axes: tuple[Axis, ...], fill: float, scope: Scope) -> Value:
        """A tile with `fill` in every lane outside of the extents of `axes`."""
        masks = tuple(m for axis in axes if (m := scope.mask(axis)) is not None)
        if not masks:
            return value
        dims = self._grid.order({*value.dims, *(d for mask in masks for d in mask.dims)})
        return Masked(value, masks, fill, dims, value.kind)

    def gathered(self, number: NodeId, value: Value) -> Value:
        """What a step adds to the accumulator: a tile, or beside dots, whose tiles fill the registers, its fold."""
        return self._fold(number, value) if self._facts.multiplies else value

    def start(self, number: NodeId, value: Value) -> Value:
        """The accumulator of a loop over tiles like `value`, before the first step."""
        fill = REDUCTIONS[self.expr(number).op].identity
        return Filled(value.dims, self._grid.shape(value.dims), fill, self._facts.nodes[number].type.kind)

    def step(self, number: NodeId, total: Name, value: Value) -> Value:
        """The accumulator after a step."""
        return Apply(REDUCTIONS[self.expr(number).op].combine, (total, value), total.dims, total.kind)

    def folded(self, number: NodeId, value: Value) -> Value:
        """The result, from a tile of operands or of accumulators."""
        reduce, folded, padding = self.expr(number), self._fold(number, value), self._facts.padding
        neutral = not padding.suits(reduce) or padding.suits_empty(reduce)
        if folded is not value and not neutral and self._facts.shows_empty(reduce.axes):
            some = tuple(InRange(Number(0, (), Kind.INT), extent(axis)) for axis in reduce.axes)
            return Masked(folded, some, REDUCTIONS[reduce.op].identity, folded.dims, folded.kind)
        return folded

    def _fold(self, number: NodeId, value: Value) -> Value:
        """A tile without the dimensions that are reduced; itself if it has none of them."""
        reduce = self.expr(number)
        over = tuple(dim for dim in value.dims if dim in {str(axis) for axis in reduce.axes})
        kept = tuple(dim for dim in value.dims if dim not in over)
        return Fold(reduce.op, value, over, kept, self._facts.nodes[number].type.kind) if over else value

    def expr(self, number: NodeId) -> Reduce:
        """The reduction that a node is."""
        expr = self._facts.nodes[number].expr
        assert isinstance(expr, Reduce)
        return expr
