"""Stage: what one kernel of a schedule computes, and which axis goes where, before a line of the kernel exists.

Of each kind of kernel there is a class of stages, in `ir/schedule.py`; here is what all of them can be asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.expressions import Dot, NodeId
from fusec.ir.flow import Flow, Store, store_axes
from fusec.ir.graph import dots_among, reachable
from fusec.ir.types import Axis


@dataclass(frozen=True, slots=True)
class PartialResult:
    """A reduction (node `value` of the stage) whose partial results go to a workspace, over `axes` and the splits.

    The splits are the innermost dimension of the workspace, or the outermost if `apart`.
    """

    workspace: str
    op: str
    value: NodeId
    axes: tuple[Axis, ...]
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """What the kernel of this name computes. `order` holds its axes, outermost in memory first.

    `rows` are linearised, outermost first: a program takes one of them, or several as lanes.
    """

    kernel: str
    flow: Flow
    order: tuple[Axis, ...]
    rows: tuple[Axis, ...]

    @property
    def lanes(self) -> bool:
        """Whether a program takes several rows."""
        return False

    @property
    def block(self) -> Axis | None:
        """The axis that is cut into blocks over programs."""
        return None

    @property
    def tile(self) -> tuple[Axis, ...]:
        """The axes that are whole in registers."""
        return ()

    @property
    def loop(self) -> tuple[Axis, ...]:
        """The axes that are walked in a loop, the last in chunks."""
        return ()

    @property
    def is_split(self) -> bool:
        """Whether several programs share the steps of the loop, and leave partial results."""
        return False

    @property
    def partials(self) -> tuple[PartialResult, ...]:
        """The partial results that its programs leave."""
        return ()

    @property
    def whole(self) -> Stage:
        """What its kernel is built for: another stage where that has the same one."""
        return self

    @property
    def spread(self) -> tuple[Axis, ...]:
        """The axes along which programs differ."""
        return self.rows if self.block is None else (*self.rows, self.block)

    @property
    def live(self) -> list[NodeId]:
        """The nodes that its stores and partial results depend on, in topological order."""
        partials = (partial.value for partial in self.partials)
        return sorted(reachable(self.flow.nodes, (*self.flow.roots, *partials)))

    @property
    def dots(self) -> dict[NodeId, Dot]:
        """The dots among these."""
        return dots_among(self.flow.nodes, self.live)

    @property
    def lacks_block(self) -> bool:
        """Whether some result lacks the axis that is cut into blocks. It is made in the first block: there is one."""
        made = (*(store_axes(self.flow, store) for store in self.flow.stores), *(part.axes for part in self.partials))
        return self.block is not None and any(self.block not in axes for axes in made)

    @property
    def lacks_rows(self) -> bool:
        """Whether some store has none of the rows that are lanes. The first programs make it: there are some."""
        return any(self.is_without_rows(store) for store in self.flow.stores)

    def is_without_rows(self, store: Store) -> bool:
        """Whether a store has none of the rows of a stage whose rows are lanes."""
        return self.lanes and not any(axis in self.rows for axis in store_axes(self.flow, store))
