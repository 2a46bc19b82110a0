"""The extents that constraints such as `L == 128` fix, and what follows from them."""

from __future__ import annotations

import sympy

from fusec.ir.graph import Graph
from fusec.ir.types import Axis, extent


def fixed_extents(graph: Graph) -> dict[str, int]:
    """Each such extent by its name."""
    fixed: dict[str, int] = {}
    for constraint in graph.constraints:
        sides = (constraint.left, constraint.right)
        for one, other in (sides, sides[::-1]):
            if constraint.relation == "==" and isinstance(one, sympy.Symbol) and isinstance(other, sympy.Integer):
                fixed[str(one.name)] = int(other)
    return fixed


def known_extent(axis: Axis, known: dict[str, int]) -> int | None:
    """The extent of an axis when the spec fixes it, else None. `known` holds the extents constraints fix."""
    return known_size(extent(axis), known)


def known_size(size: sympy.Expr, known: dict[str, int]) -> int | None:
    """The same of a size that is computed of extents."""
    value = size.subs({symbol: known[symbol.name] for symbol in size.free_symbols if symbol.name in known})
    return int(value) if isinstance(value, sympy.Integer) else None
