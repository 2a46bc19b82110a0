"""Plans: how an op becomes kernels, before a line of a kernel exists.

A plan is a list of stages, one kernel each. A stage says which axes are rows (one program or a lane of it each), which
axis is cut into blocks over programs, which axes stay in registers, and which are streamed in a loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import sympy

from fusec.ir.flow import Flow
from fusec.ir.graph import NodeId
from fusec.ir.types import Axis, extent


class Shape(Enum):
    """The forms a plan of row kernels takes."""

    RESIDENT = "resident"  # one program per row, the row in registers
    ROWS = "rows"  # several short rows per program
    STREAMED = "streamed"  # one program per row, the row in a loop
    SPLIT = "split"  # a row over several programs, partial results combined in fixed order
    TILED = "tiled"  # no reduction; the inner axes of a row in registers
    JOINT = "joint"  # outputs of different axes, all inner axes in registers
    BLOCKED = "blocked"  # no reduction; blocks of the innermost axis


@dataclass(frozen=True, slots=True)
class PartialResult:
    """A reduction (node `value` of the stage) whose partial results go to `scratch`, over `axes` and the splits."""

    scratch: str
    op: str
    value: NodeId
    axes: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """One kernel. `order` holds its axes, outermost in memory first.

    `rows` are linearised, outermost first; `lanes` puts several rows in one program. `block` is cut over programs.
    `tile` axes are whole in registers. `stream` axes are walked in a loop, the last in chunks; with `split` the steps
    are dealt out to several programs.
    """

    name: str
    flow: Flow
    order: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    lanes: bool = False
    block: Axis | None = None
    tile: tuple[Axis, ...] = ()
    stream: tuple[Axis, ...] = ()
    split: bool = False
    partials: tuple[PartialResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to compute a group of outputs, and the words for it."""

    shape: Shape
    stages: tuple[Stage, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Group:
    """Outputs computed together, and the plans for them in order of preference.

    When no plan fits the extents, the groups of `apart` compute the same outputs one after another.
    """

    outputs: tuple[str, ...]
    plans: tuple[Plan, ...]
    apart: tuple[Group, ...] = ()


def known_extent(axis: Axis, known: dict[str, int]) -> int | None:
    """The extent of an axis when the spec fixes it, else None. `known` holds the extents constraints fix."""
    size = extent(axis)
    value = size.subs({symbol: known[symbol.name] for symbol in size.free_symbols if symbol.name in known})
    return int(value) if isinstance(value, sympy.Integer) else None
