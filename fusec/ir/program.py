"""A compiled op: the graph it came from and the kernels of every plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy

from fusec.ir.graph import Graph
from fusec.ir.host import Plans
from fusec.ir.kernel import Kernel, RowLoop
from fusec.ir.partition import Intermediate, LibraryProduct
from fusec.ir.schedule import Group, Plan, Shape
from fusec.ir.types import Axis


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A plan with the kernel of each of its stages."""

    plan: Plan
    kernels: tuple[Kernel, ...]

    @property
    def is_tiled(self) -> bool:
        """Whether the kernel of a loop can also keep a row in registers, as tiles of one size."""
        skeleton = self.kernels[0].skeleton
        return isinstance(skeleton, RowLoop) and skeleton.may_hold and not self.plan.few


@dataclass(frozen=True, slots=True)
class BuiltGroup:
    """Outputs computed together: their plans in order of preference, or the groups to fall back to.

    When one of the axes `absent` is empty, `alone` computes the outputs that lack it.
    """

    outputs: tuple[str, ...]
    plans: tuple[BuiltPlan, ...]
    apart: tuple[BuiltGroup, ...] = ()
    absent: tuple[Axis, ...] = ()
    alone: BuiltGroup | None = None

    @property
    def placed(self) -> Group:
        """The group without its kernels."""
        plans, apart = (plan.plan for plan in self.plans), (group.placed for group in self.apart)
        return Group(self.outputs, tuple(plans), tuple(apart), self.absent, self.alone.placed if self.alone else None)

    def every(self) -> Iterator[BuiltGroup]:
        """This group, those apart and the one alone, and so on."""
        yield self
        for group in (*self.apart, *((self.alone,) if self.alone else ())):
            yield from group.every()

    def all_plans(self) -> Iterator[BuiltPlan]:
        """The plans of this group, of those apart and of the one alone."""
        return (plan for group in self.every() for plan in group.plans)


@dataclass(frozen=True, slots=True)
class BuiltChain:
    """A plan whose groups, and products by the vendor's library, run in this order and keep the tensors `held` between.

    It is for calls that leave out the tensors `omitted`.
    """

    omitted: tuple[str, ...]
    held: tuple[Intermediate, ...]
    steps: tuple[BuiltGroup | LibraryProduct, ...]

    @property
    def groups(self) -> tuple[BuiltGroup, ...]:
        """What runs in kernels."""
        return tuple(step for step in self.steps if isinstance(step, BuiltGroup))

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels of its groups."""
        return tuple(kernel for group in self.groups for plan in group.all_plans() for kernel in plan.kernels)

    @property
    def ends_in_library(self) -> bool:
        """Whether its last step is a product by the library: nothing is made of that while it is in registers."""
        return isinstance(self.steps[-1], LibraryProduct)

    @property
    def boxed(self) -> tuple[BuiltPlan, ...]:
        """The contractions in boxes."""
        return tuple(plan for group in self.groups for plan in group.plans if plan.plan.shape is Shape.PERSISTENT)

    @property
    def contracting(self) -> tuple[BuiltGroup, ...]:
        """The groups that contract, each in boxes or by plans for a few rows."""
        return tuple(group for group in self.groups if any(plan in self.boxed for plan in group.plans))

    @property
    def products(self) -> tuple[LibraryProduct, ...]:
        """What runs in the library."""
        return tuple(step for step in self.steps if isinstance(step, LibraryProduct))


@dataclass(frozen=True, slots=True)
class HostTable:
    """The host side of an op: its plans as data, and the sizes that are `computed` of extents, by key."""

    plans: Plans
    computed: tuple[tuple[str, sympy.Expr], ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """An op ready to be written down.

    `forms` are the graphs that its plans compute, each with an error bound of its own: all mean what `graph` does.
    `spelled` is the graph under the names that kernels and the functions around them use, which are the spec's unless
    they clash with words of generated code. `chains` are plans for all outputs at once, the first that applies; they
    take what the graph `once` makes of weights. Some writes in place wait for the groups `last`: until then what they
    write is kept in the tensors `waiting`, which are outputs of the graph `computed`; it is `spelled` if none waits.
    Calls are planned by the `table`.
    """

    graph: Graph
    forms: tuple[Graph, ...]
    spelled: Graph
    groups: tuple[BuiltGroup, ...]
    known: tuple[tuple[str, int], ...] = ()
    chains: tuple[BuiltChain, ...] = ()
    once: Graph | None = None
    computed: Graph | None = None
    waiting: tuple[Intermediate, ...] = ()
    last: tuple[BuiltGroup, ...] = ()
    table: HostTable | None = None

    @property
    def plans(self) -> tuple[BuiltPlan, ...]:
        """Every plan of every group, those of chains last."""
        return (*(plan for group in (*self.groups, *self.last) for plan in group.all_plans()), *self.around)

    @property
    def around(self) -> tuple[BuiltPlan, ...]:
        """The plans of the kernels in chains, each once."""
        plans = (plan for chain in self.chains for group in chain.groups for plan in group.all_plans())
        return tuple({tuple(kernel.name for kernel in plan.kernels): plan for plan in plans}.values())

    @property
    def held(self) -> tuple[Intermediate, ...]:
        """What plans keep between their steps, each once."""
        between = (held for chain in self.chains for held in chain.held)
        return tuple({held.name: held for held in (*self.waiting, *between)}.values())

    @property
    def multiplying(self) -> Graph:
        """The graph that the groups and the chains compute, under the names of kernels."""
        return self.computed or self.spelled

    @property
    def prepared(self) -> tuple[Intermediate, ...]:
        """What is computed once for the weights, and read by chains."""
        outputs = self.once.outputs if self.once else ()
        return tuple(Intermediate(output.name, output.element, output.dims) for output in outputs)

    @property
    def kept(self) -> tuple[Intermediate, ...]:
        """Every tensor of chains that is neither passed nor returned."""
        return (*self.held, *self.prepared)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel once, in the order they are written."""
        found = {kernel.name: kernel for plan in self.plans for kernel in plan.kernels}
        return tuple(found.values())
