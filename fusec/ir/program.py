"""A compiled op: the graph it came from, its partitions, and their kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy

from fusec.ir.graph import Graph
from fusec.ir.host.plans import Plans
from fusec.ir.kernel import Kernel, RowLoop
from fusec.ir.partition import FUSED, Intermediate, Partition, Step
from fusec.ir.schedule import Group, Schedule


@dataclass(frozen=True, slots=True)
class HostTable:
    """The host side of an op: its plans as data, and the sizes that are `computed` of extents, by key."""

    plans: Plans
    computed: tuple[tuple[str, sympy.Expr], ...] = ()


@dataclass(frozen=True, slots=True)
class FromValues:
    """An op that takes `values` prepared of `weights` in place of these, under the names that a module has for both.

    It is `spelled` as private code has it; `face` is the same under the names that messages use.
    """

    spelled: Graph
    face: Graph
    weights: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """An op ready to be written down.

    `forms` are the graphs that its plans compute, each with an error bound of its own: all mean what `graph` does.
    `spelled` is the graph under the names that kernels and the functions around them use, which are the spec's unless
    they clash with words of generated code; its weights are of the types that kernels read. The first of the
    `partitions` that applies is taken, and one of them takes every call; those that are cut take what the graph `once`
    makes of weights, and so does the op `from_values`, where modules may keep that instead of weights. Some writes in
    place wait for a step `last`: until then what they write is kept in the tensors `waiting`, which are outputs of the
    graph `computed`; it is `spelled` if none waits. `built` has the kernel of every stage by its name. Calls are
    planned by the `table`.
    """

    graph: Graph
    forms: tuple[Graph, ...]
    spelled: Graph
    partitions: tuple[Partition, ...]
    known: tuple[tuple[str, int], ...] = ()
    once: Graph | None = None
    from_values: FromValues | None = None
    computed: Graph | None = None
    waiting: tuple[Intermediate, ...] = ()
    last: Step | None = None
    built: Mapping[str, Kernel] = field(default_factory=dict)
    table: HostTable | None = None

    @property
    def cut(self) -> tuple[Partition, ...]:
        """The partitions, but for the op in one step that takes every call."""
        return tuple(partition for partition in self.partitions if partition.name != FUSED)

    @property
    def whole(self) -> Partition:
        """The partition that takes every call."""
        return next(partition for partition in self.partitions if partition.takes_all)

    @property
    def groups(self) -> tuple[Group, ...]:
        """What is computed by the partition that takes every call."""
        return self.whole.groups

    @property
    def last_groups(self) -> tuple[Group, ...]:
        """What is written in place when everything else is done."""
        return self.last.groups if self.last else ()

    @property
    def plans(self) -> tuple[Schedule, ...]:
        """Every schedule that launches kernels once: of what takes every call, of what is written last, of the rest."""
        last = (plan for group in self.last_groups for plan in group.all_plans())
        others = (plan for partition in self.cut for plan in partition.plans)
        plans = (plan for plan in (*self.whole.plans, *last, *others) if plan.stages)
        return tuple({(plan.name, *(stage.kernel for stage in plan.stages)): plan for plan in plans}.values())

    @property
    def held(self) -> tuple[Intermediate, ...]:
        """What is kept between two steps, each once."""
        between = (tensor for partition in self.partitions for tensor in partition.holds)
        return tuple(dict.fromkeys((*self.waiting, *between)))

    @property
    def multiplying(self) -> Graph:
        """The graph that the partitions compute, under the names of kernels."""
        return self.computed or self.spelled

    @property
    def prepared(self) -> tuple[Intermediate, ...]:
        """What is computed once for the weights."""
        outputs = self.once.outputs if self.once else ()
        return tuple(Intermediate(output.name, output.element, output.dims) for output in outputs)

    @property
    def kept(self) -> tuple[Intermediate, ...]:
        """Every tensor that is neither passed nor returned."""
        return (*self.held, *self.prepared)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel once, in the order they are written."""
        found: dict[str, Kernel] = {}
        for kernel in (kernel for plan in self.plans for kernel in self.kernels_of(plan)):
            found.setdefault(kernel.name, kernel)
        return tuple(found.values())

    def kernels_of(self, plan: Schedule) -> tuple[Kernel, ...]:
        """The kernels that a schedule launches, in order."""
        return tuple(self.built[stage.kernel] for stage in plan.stages)

    def holds_tiles(self, plan: Schedule) -> bool:
        """Whether the kernel of a loop can also keep a row in registers, as tiles of one size."""
        skeletons = [kernel.skeleton for kernel in self.kernels_of(plan)[:1]]
        return not plan.few and any(isinstance(each, RowLoop) and each.may_hold for each in skeletons)
