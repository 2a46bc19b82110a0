"""Ahead: what a kernel reads first of weights, asked for while the kernel before it still runs.

No kernel of a call writes weights, so they need not be waited for: the first steps of the loop find them in the cache.
"""

from __future__ import annotations

from fusec.ir.expressions import Dot
from fusec.ir.flow import Load, Lookup
from fusec.ir.kernel import Define, InRange, Let, MaskName, Name, Prefetch
from fusec.ir.types import Kind, extent
from fusec.passes.kernel.addresses import Addresses
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.grid import Grid
from fusec.passes.kernel.naming import Naming
from fusec.passes.kernel.scope import Scope
from fusec.passes.kernel.target import Target

_LINE = 64
"""Elements from one line of the cache to the next: 128 bytes of 16-bit ones."""

_STEPS = 4
"""Steps of the loop that are asked for, as many as its loads are under way together."""


def ahead(facts: Facts, target: Target, grid: Grid, naming: Naming, addresses: Addresses, root: Scope) -> None:
    """Add to `root` the lines that ask for the weights of a contraction, where its tiles are read by pointers."""
    stage = facts.stage
    if stage.side is None or stage.boxes or len(stage.stream) != 1:
        return
    (inner,) = stage.stream
    dots = [expr for n in facts.live if isinstance(expr := facts.nodes[n].expr, Dot)]
    factors = dict.fromkeys(facts.nodes[factor].expr for dot in dots for factor in (dot.a, dot.b))
    loads = [factor for factor in factors if isinstance(factor, Load) and _is_weight(factor, target)]
    if not loads:
        return
    index = Name(naming.names.fresh(f"{inner}_ahead".lower()), (str(inner),), Kind.INT)
    mask = MaskName(naming.names.fresh(f"{index.text}_mask"), (str(inner),))
    block = grid.block_of(inner)
    lines = f"tl.arange(0, {block} // {_LINE // _STEPS}).to(INDEX) * {_LINE}"
    first = f"{grid.split_index.text} * {block} + " if stage.split else ""
    root.statements += [Define(index, f"{first}{lines}"), Let(mask, (InRange(index, extent(inner)),))]
    scope = Scope(root, axes=stage.stream, indices={inner: index}, masks={inner: mask})
    accesses = [addresses.access(load.param, load.positions, {}, scope) for load in loads]
    asked = [Prefetch(access.address, access.conditions) for access in accesses]
    root.statements += [*scope.statements, *asked]


def _is_weight(load: Load, target: Target) -> bool:
    """Whether a load reads a weight that is always there, at positions which follow from its place alone."""
    tensor = target.graph.tensor(load.param)
    looked_up = any(isinstance(position, Lookup) for position in load.positions)
    return tensor.static and not tensor.optional and not looked_up and load.pair is None
