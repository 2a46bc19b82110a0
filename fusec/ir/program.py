"""A compiled op: the graph it came from and the kernels of every plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fusec.ir.graph import Graph
from fusec.ir.kernel import Kernel
from fusec.ir.plan import Plan
from fusec.ir.types import Axis


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A plan with the kernel of each of its stages."""

    plan: Plan
    kernels: tuple[Kernel, ...]


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

    def all_plans(self) -> Iterator[BuiltPlan]:
        """The plans of this group, of those apart and of the one alone."""
        yield from self.plans
        for group in (*self.apart, *((self.alone,) if self.alone else ())):
            yield from group.all_plans()


@dataclass(frozen=True, slots=True)
class Program:
    """An op ready to be written down.

    `lowered` is the graph after every rewrite, which the error bound is for; `spelled` the graph under the names that
    kernels and the functions around them use, which are the spec's unless they clash with words of generated code.
    """

    graph: Graph
    lowered: Graph
    spelled: Graph
    groups: tuple[BuiltGroup, ...]
    known: tuple[tuple[str, int], ...] = ()

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel once, in the order they are written."""
        found = {k.name: k for group in self.groups for plan in group.all_plans() for k in plan.kernels}
        return tuple(found.values())
