"""Blocks: what a kernel knows at compile time, the sizes of its tiles first, and what these are called."""

from __future__ import annotations

from fusec.ir.axis_words import block_name, even_name
from fusec.ir.expressions import Affine, Load, Partial
from fusec.ir.fixed_extents import known_extent
from fusec.ir.schedule import ColumnSums, GemmRoles, GemmScaled, GemmStage, GemmTile, GemmTma, RowLoop
from fusec.ir.sizes import symbols_in
from fusec.ir.stage import Stage
from fusec.ir.types import Axis, without

PREFETCH = "PREFETCH"
"""The compile-time flag of a kernel that loads before its reductions what all rows share."""

VEC = "VEC"
"""The compile-time number that divides where rows begin and end, if Triton does not see that itself."""

HELD = "HELD"
"""How many neighbours one access takes, in a loop whose tiles stay in registers from one sweep to the next, else 0."""

EVICT = "EVICT"
"""The compile-time word for what the cache does with the rows of a gemv, which are in one step or in several."""

VECTOR = "VECTOR"
"""How many lanes are a vector, in a loop whose tiles begin with one though its rows begin anywhere, else 0."""

SWAP_AB = "SWAP_AB"
"""The compile-time flag of a gemm of few rows, which are the columns of its accumulators."""

STAGES = "STAGES"
"""The compile-time number of rows, or of steps of a loop, whose loads are under way at once."""

SPLIT_K = "SPLIT_K"
"""The compile-time number of programs that share a tile of a gemm."""

OVERLAP = "OVERLAP"
"""The compile-time flag of a kernel that waits for the one before it, and lets the next one of a call begin early."""

_LEAST_STEP = 32
"""Products of a step that a tensor core takes, whatever their type: no step of a gemm is shorter."""

OP = "OP"
"""The compile-time flag that says for which op a kernel of several is launched."""

BEGIN, END = "begin", "end"
"""The first tile of a launch with tensor maps, and the one after its last."""

GROUP = "GROUP"
"""Sides of tiles that the programs of a launch with tensor maps take together."""

DOWN, ACROSS = "DOWN", "ACROSS"
"""How many tiles of a launch with tensor maps, along each side, make one of the tiles they are counted by."""


def block_sizes(stage: Stage, known: dict[str, int], adds: bool = False) -> tuple[str, ...]:
    """The names of the compile-time sizes of a stage. `known` holds the extents constraints fix.

    A stage that `adds` takes a product that several programs may have left parts of.
    """
    names = ["ROWS"] if stage.lanes else []
    axes = (stage.m, stage.n) if isinstance(stage, GemmStage) else (stage.block,)
    cut = [axis for axis in (*axes, *stage.loop[-1:], *stage.tile) if axis is not None]
    names += [name for axis in cut if not (name := block_text(axis, stage, known)).isdigit()]
    names += [even_name(axis) for axis in stage.tile if known_extent(axis, known) is None]
    if stage.is_split or adds or any(isinstance(node.expr, Partial) for node in stage.flow.nodes):
        names.append("SPLITS")
    match stage:
        case ColumnSums():
            names.append(STAGES)
        case RowLoop() if stage.walks_groups:
            names.append(STAGES)
        case GemmTile():
            names += [SWAP_AB, *([SPLIT_K] if stage.sums else [])]
        case GemmTma():
            return (*names, GROUP, DOWN, ACROSS, "INDEX")
        case GemmRoles():
            return (*names, GROUP, STAGES, "INDEX")
        case GemmScaled():
            return (*names, "INDEX")
    if len(stage.loop) == 1 and not stage.is_split:
        names += ["FULL_STEPS", "TAIL_STEPS"]
    return (*names, "INDEX")


def structure(stage: Stage) -> tuple[str, ...]:
    """The extents that an index within a row is multiplied with to make an address."""
    inner = without(stage.order, stage.rows)
    if isinstance(stage, GemmScaled):
        inner = without(inner, stage.k)  # All groups are one axis.
    accesses = [node.expr.positions for node in stage.flow.nodes if isinstance(node.expr, Load)]
    accesses += [store.positions for store in stage.flow.stores]
    affine = [position for positions in accesses for position in positions if isinstance(position, Affine)]
    return symbols_in([factor for position in affine for axis, factor in position.terms if axis in inner])


def block_text(axis: Axis, stage: Stage, known: dict[str, int]) -> str:
    """The size of an axis in a tile: a number where the tile fits the axis, else the name of a compile-time size."""
    extent = fitting_extent(axis, stage, known)
    return block_name(axis) if extent is None else str(extent)


def fitting_extent(axis: Axis, stage: Stage, known: dict[str, int]) -> int | None:
    """The extent of an axis that a tile holds with no lane left over: a power of two, as the sizes of tiles are."""
    extent = known_extent(axis, known)
    if extent is None or not _is_power_of_two(extent):
        return None
    whole = (
        isinstance(stage, GemmTile | GemmRoles)
        and stage.takes_groups
        and axis == stage.loop[-1]
        and extent >= _LEAST_STEP
    )
    return extent if whole or axis in stage.tile else None


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0
