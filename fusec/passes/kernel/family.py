"""Family: the skeleton that the kernel of a stage has."""

from __future__ import annotations

from typing import TypeAlias

from fusec.ir.flow import Partial
from fusec.ir.kernel import ColumnSums, Combine, Elementwise, Gemm, GemmTma, RowLoop, RowTile, SplitRows
from fusec.ir.stage import Stage

Family: TypeAlias = (
    type[Elementwise]
    | type[RowTile]
    | type[RowLoop]
    | type[SplitRows]
    | type[ColumnSums]
    | type[Combine]
    | type[Gemm]
    | type[GemmTma]
)


def family_of(stage: Stage) -> Family:
    """The family that a stage is of, from what it does with its axes."""
    if stage.maps is not None:
        return GemmTma
    if stage.side is not None:
        return Gemm
    if stage.split:
        return ColumnSums if stage.in_turn else SplitRows
    if stage.stream:
        return RowLoop
    partials = [expr for n in stage.live if isinstance(expr := stage.flow.nodes[n].expr, Partial)]
    if stage.tile or not all(partial.as_product for partial in partials):
        return Combine if partials else RowTile
    return Elementwise
