"""The extents that constraints such as `L == 128` fix."""

from __future__ import annotations

import sympy

from fusec.ir.graph import Graph


def fixed_extents(graph: Graph) -> dict[str, int]:
    """Each such extent by its name."""
    fixed: dict[str, int] = {}
    for constraint in graph.constraints:
        sides = (constraint.left, constraint.right)
        for one, other in (sides, sides[::-1]):
            if constraint.relation == "==" and isinstance(one, sympy.Symbol) and isinstance(other, sympy.Integer):
                fixed[str(one.name)] = int(other)
    return fixed
