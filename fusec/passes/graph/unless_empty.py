"""Unless empty: what left a reduction is 1 where the reduction has nothing to reduce.

Before: `sum(x * r, over=N)`, which is 0 for no elements; after a rule that moves `r`: `sum(x, over=N) * r`, and `r` may
be the mean of nothing, which is NaN. Written with `where(N == 0, 1, r)` both are 0.
"""

from __future__ import annotations

from fusec.ir.builder import GraphBuilder
from fusec.ir.expressions import Const, Elementwise, Extent, NodeId
from fusec.ir.types import BOOL, INT, REAL, Axis, Fixed, ValueType


def unless_empty(builder: GraphBuilder, factor: NodeId, axes: tuple[Axis, ...]) -> NodeId:
    """A factor that leaves a reduction over `axes`; a literal, or one of axes that have elements, is as it is."""
    if isinstance(builder[factor].expr, Const) or all(isinstance(axis, Fixed) and axis.extent for axis in axes):
        return factor
    span = builder[factor].span
    count, none = builder.add(Extent(axes), ValueType(INT), span=span), builder.add(Const(0), ValueType(INT))
    is_empty = builder.add(Elementwise("eq", (count, none)), ValueType(BOOL), span=span)
    one = builder.add(Const(1.0), ValueType(REAL))
    type = ValueType(REAL, builder[factor].type.axes)
    return builder.add(Elementwise("where", (is_empty, one, factor)), type, span=span)
