"""What `fusec.runtime.traffic` counts from the text of kernels is what they load and store in the interpreter."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from catalogue import Op, all_ops
from hypothesis import HealthCheck, Phase, given, settings

from fusec import runtime
from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.forcing import Forcing, forcings
from fusec.interpreter import interpreting
from fusec.ir.host.schedules import kernels
from fusec.runtime.errors import PlanError
from fusec.runtime.explain.report import report
from fusec.runtime.explain.tree import tree
from fusec.runtime.launch import Launch
from fusec.runtime.select.run import Decision
from fusec.runtime.traffic.count import traffic
from fusec.testing.cases import Case, build
from fusec.testing.exercise import nothing_run, planned
from fusec.testing.memory import Memory, Moved
from fusec.testing.random_run import ROWS, imported, several
from fusec.testing.random_specs import text
from fusec.testing.strategies import cases as drawn_cases
from fusec.testing.strategies import reaching
from fusec.testing.watching import watched

pytestmark = pytest.mark.skipif(not interpreting(), reason="counts accesses in the interpreter")

MOST_PROGRAMS = 260
"""As many as share a block of 128 by 128: the interpreter runs them side by side."""


@contextmanager
def decided() -> Iterator[list[Decision]]:
    """The plans that calls within take."""
    found: list[Decision] = []
    decide = runtime.Op.decide

    def noted(self: runtime.Op, *arguments: Any, **named: Any) -> Decision:
        found.append(decide(self, *arguments, **named))
        return found[-1]

    with mock.patch.object(runtime.Op, "decide", noted):
        yield found


def counted(decision: Decision) -> list[tuple[str, Counter[str], Counter[str]]]:
    """What is counted for every launch of a plan, by the name of its kernel, or of the twin that is interpreted."""
    launches = [each for each in decision.launches if isinstance(each, Launch) and not each.idle]
    found = [
        (launch.plain.kernel.__name__, traffic(launch, decision.dtypes).called(decision.call.aliases))
        for launch in launches
    ]
    return [(name, +Counter(each.read), +Counter(each.written)) for name, each in found]


def seen(memory: Memory) -> list[tuple[str, Counter[str], Counter[str]]]:
    def named(moved: Counter[str]) -> Counter[str]:
        return Counter({name.removesuffix("_ptr"): count for name, count in moved.items() if count})

    return [(each.kernel, named(each.read), named(each.written)) for each in memory.moved if not is_library(each)]


def is_library(moved: Moved) -> bool:
    return " @ " in moved.kernel


@pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)
def test_all_bytes_are_counted(op: Op) -> None:
    """Of every schedule of every shipped op: by buffer, lane by lane."""
    own = next(each for each in vars(op.module).values() if isinstance(each, runtime.Op) and each.name == op.name)
    left = {kernel.name for kernel in op.program.kernels} & vars(op.module).keys()
    # Some kernels are for long sums alone, which few calls have: those for TMA have them more often. Others are behind
    # products that the library makes of some extents only.
    for kind, count in ((None, 6), ("rows", 40), ("library", 80), ("tma", 40), ("tma", 200)):
        drawn: dict[str, list[dict[str, Any]]] = {}
        for way in ways_to(own, left) if left else ():
            wanted = kind or way.kind
            if wanted not in drawn:
                drawn[wanted] = [dict(build(op.program.graph, case).arguments) for case in cases(op, wanted, count)]
            left -= launched(op, own, way, drawn[wanted], left)
    assert not left, left


def ways_to(own: runtime.Op, left: Set[str]) -> Iterator[Forcing]:
    """The ways to choose until nothing is left: first those that name a plan which launches one of these kernels."""
    assert own.table is not None
    launching: dict[str, set[str]] = {}
    for step in own.table.every():
        for plan in step.plans:
            launching.setdefault(plan.name, set()).update(each.__name__ for each in kernels(plan))
    others = []
    for way in forcings(own):
        asked = {word.rpartition(".")[2] for word in (way.plan or "").split()}
        if not asked or any(left & launching.get(word, set()) for word in asked):
            yield way
        else:
            others.append(way)
    yield from (way for way in others if left)


def launched(
    op: Op, own: runtime.Op, way: Forcing, calls: Sequence[dict[str, Any]], wanted: Set[str]
) -> frozenset[str]:
    """The kernels of calls whose bytes are held to what is counted: of calls that launch one of those `wanted`."""
    found = frozenset[str]()
    with way.of(own):
        with nothing_run():
            told = [planned(own, op.call, arguments) for arguments in calls]
        for arguments, (names, programs, _) in zip(calls, told, strict=True):
            if names & (wanted - found) and programs <= MOST_PROGRAMS:
                inputs = {name: value for name, value in arguments.items() if isinstance(value, torch.Tensor)}
                with decided() as plans, watched(inputs, set(inputs), shared=set(inputs)) as memory:
                    op.call(**arguments)
                own.forget()
                assert_counted(plans[-1], memory)
                found |= names
    return found


def assert_counted(decision: Decision, memory: Memory) -> None:
    """All bytes are counted; where masks depend on indices in memory, as many as they may let through."""
    told, found = counted(decision), seen(memory)
    if all(traffic(each, decision.dtypes).is_exact for each in decision.launches if isinstance(each, Launch)):
        assert told == found
    else:
        assert all(a[1] >= b[1] and a[2] >= b[2] for a, b in zip(told, found, strict=True))


def cases(op: Op, kind: str, count: int) -> list[Case]:
    found: list[Case] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(reaching(kind, op.program.graph))
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found


@pytest.mark.parametrize("number", range(16))
def test_no_byte_of_random_specs_is_missed(number: int, tmp_path: Path) -> None:
    """All are counted exactly but where masks depend on indices in memory: there, as many as they may let through."""
    compiled = compile_source(Source("written.fuse", text(number)), None)
    module = imported(compiled[0].text, tmp_path)
    for one in compiled:
        name = one.graph.name
        own = next(each for each in vars(module).values() if isinstance(each, runtime.Op) and each.name == name)
        for way in forcings(own)[number % 3 :: 3]:
            for case in several(drawn_cases(one.graph, ROWS), 1, number):
                hold_bytes(own, getattr(module, name), build(one.graph, case).arguments, way)


def hold_bytes(own: runtime.Op, call: Any, arguments: Mapping[str, Any], way: Forcing) -> None:
    inputs = {name: value for name, value in arguments.items() if isinstance(value, torch.Tensor)}
    with way.of(own), decided() as plans, warnings.catch_warnings(), suppress(PlanError):
        warnings.simplefilter("ignore")
        with watched(inputs, set(inputs), shared=set(inputs)) as memory:
            call(**arguments)
        (decision,) = plans
        assert tree(report(decision))
        assert_counted(decision, memory)
