"""What `fusec.runtime.traffic` counts from the text of kernels is what they load and store in the interpreter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from catalogue import Op, all_ops
from hypothesis import HealthCheck, Phase, given, settings

from fusec import runtime
from fusec.forcing import forcings
from fusec.runtime.errors import PlanError
from fusec.runtime.interpreter import interpreting
from fusec.runtime.launch import Launch
from fusec.runtime.select.run import Decision
from fusec.runtime.traffic.count import traffic
from fusec.testing.cases import Case, build
from fusec.testing.memory import Memory, Moved, watched
from fusec.testing.strategies import reaching

pytestmark = pytest.mark.skipif(not interpreting(), reason="counts accesses in the interpreter")

MOST_PROGRAMS = 60


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
    """What is counted for every launch of a plan, by the name of its kernel."""
    launches = [each for each in decision.launches if isinstance(each, Launch) and not each.idle]
    found = [(launch.kernel.__name__, traffic(launch, decision.dtypes)) for launch in launches]
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
    graph, left = op.program.graph, {kernel.name for kernel in op.program.kernels}
    drawn: dict[str, list[Case]] = {}
    for way in forcings(own):
        if way.kind not in drawn:
            drawn[way.kind] = cases(op, way.kind)
        for case in drawn[way.kind] if left else ():
            arguments = build(graph, case).arguments
            inputs = {name: value for name, value in arguments.items() if isinstance(value, torch.Tensor)}
            with way.of(own), decided() as plans, watched(inputs, set(inputs), shared=set(inputs)) as memory:
                with mock.patch.object(runtime.Plan, "run", return_value=None):
                    try:
                        op.call(**arguments)
                    except PlanError:
                        continue
                names = {launch.kernel.__name__ for launch in plans[-1].launches if isinstance(launch, Launch)}
                programs = sum(each.grid[0] for each in plans[-1].launches if isinstance(each, Launch))
                if not names & left or programs > MOST_PROGRAMS:
                    continue
                own.forget()
                op.call(**arguments)
                left -= names
            assert counted(plans[-1]) == seen(memory), (way, case)
    assert not left


def cases(op: Op, kind: str) -> list[Case]:
    found: list[Case] = []

    @settings(
        max_examples=6,
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
