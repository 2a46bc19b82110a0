"""Partition: an op as steps that run one after another, and the tensors it stores between them.

An op has several partitions. A step is a graph that was cut out of that of the op: it reads arguments and what earlier
steps have stored, and writes outputs of the op or what later ones read. Its `groups` are what its kernels compute
together, each with the schedules that could win (`ir/schedule.py`); there are none before it is scheduled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fusec.ir.expressions import Gather, Input
from fusec.ir.flow import Flow
from fusec.ir.graph import Graph, reachable
from fusec.ir.schedule import Group, Schedule
from fusec.ir.types import Dim, Storage


@dataclass(frozen=True, slots=True)
class Intermediate:
    """A row-major tensor that an op allocates and keeps between two of its steps; or one whose `...` lies `innermost`.

    Of that the positions of `...` are row-major side by side, and so are such lines.
    """

    name: str
    element: Storage
    dims: tuple[Dim, ...]
    innermost: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A graph that is computed at once: its `flow` once views are resolved, and its groups once it is scheduled."""

    graph: Graph
    flow: Flow | None = None
    groups: tuple[Group, ...] = ()

    @property
    def writes(self) -> tuple[str, ...]:
        """What it stores: outputs of the op, intermediates, and what it writes in place."""
        stored = (output.name for output in self.graph.outputs)
        return tuple(dict.fromkeys((*stored, *(scatter.param for scatter in self.graph.scatters))))

    @property
    def reads(self) -> frozenset[str]:
        """The tensors that it loads."""
        nodes = self.graph.nodes
        live = (nodes[number].expr for number in reachable(nodes, self.graph.roots))
        return frozenset(expr.param for expr in live if isinstance(expr, Input | Gather))


FUSED, VECTOR, STORED, LIBRARY, LAST = "fused", "vector", "stored", "library", "last"
"""How an op is cut: not at all, the same for single vectors alone, where dots have their operands stored, around every
dot; or what it writes last."""


@dataclass(frozen=True, slots=True)
class Partition:
    """Steps in the order they run, and what the op `holds` between them. It is for calls that leave out `omits`."""

    name: str
    steps: tuple[Step, ...]
    holds: tuple[Intermediate, ...] = ()
    omits: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of its steps, in the order they run."""
        return tuple(group for step in self.steps for group in step.groups)

    @property
    def plans(self) -> Iterator[Schedule]:
        """Every schedule of every group."""
        return (plan for group in self.groups for plan in group.all_plans())

    @property
    def is_chained(self) -> bool:
        """Whether its kernels wait for one another."""
        return self.name in (STORED, LIBRARY) and len(self.steps) > 1

    @property
    def takes_all(self) -> bool:
        """Whether it takes every call."""
        return self.name in (FUSED, STORED)

    @property
    def ends_in_library(self) -> bool:
        """Whether the library makes what comes last: nothing is made of that while it is in registers."""
        return self.groups[-1].library is not None


@dataclass(frozen=True, slots=True)
class Split:
    """An op in two graphs: what is computed `once` for its weights, and what `each` call makes of that.

    The outputs of `once`, if there is anything to compute once, are tensors of `each`. Its parameters are the weights
    it reads, and extents that these do not tell.
    """

    once: Graph | None
    each: Graph
