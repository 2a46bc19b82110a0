"""Calls of an op that run every kernel of its file: plans are forced one after another, and what ran is written down.

A call is planned first, which takes no time, and made if a kernel would run that has not run often enough yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from math import prod
from random import Random
from types import ModuleType
from typing import Any, TypeAlias
from unittest import mock

import torch
from hypothesis import HealthCheck, Phase, given, settings

from fusec.forcing import Forcing, forcings
from fusec.interpreter import interpreting
from fusec.ir.graph import Graph
from fusec.ir.host.schedules import kernels as launched
from fusec.ir.program import Program
from fusec.ir.types import DTypeVar, Kind
from fusec.runtime import Op, Plan, PlanError
from fusec.runtime.errors import ShapeMismatchError
from fusec.testing.cases import Argument, Case, build, shape, storage
from fusec.testing.compare import Outcome, run_and_compare
from fusec.testing.drawing import from_strategies_alone
from fusec.testing.empty_axes import emptied
from fusec.testing.long_sums import long_calls, results
from fusec.testing.strategies import reaching

MOST_PROGRAMS = 100
"""Programs that the interpreter runs in less than a second."""

MOST_STEPS = 100
"""Steps of the loop of a program of which the same holds."""


_Call: TypeAlias = tuple[Case, dict[str, Argument]]
"""A drawn call and its arguments."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How many calls: by the launcher's `own` choice, that run `each` kernel, and `planned` in search of one.

    After a fault, one is looked for among `smaller` calls that shows it, too. Every kernel of an op with dots runs
    with sums of about as many products as `long` says, once for each kind of numbers.
    """

    own: int
    each: int
    planned: int = 40
    smaller: int = 100
    long: Sequence[int] = ()


@dataclass(slots=True)
class Record:
    """What the calls of an op came to.

    `calls` and `worst` are by kernel: how often it ran, and the largest error of a result it had a part in, as a part
    of the bound; infinite where that was wrong. Of the `elements` of results of calls with ordinary values, `bounded`
    were held to a finite bound.
    """

    calls: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    elements: int = 0
    bounded: int = 0

    @property
    def share(self) -> float | None:
        """The share of elements that had a bound."""
        return self.bounded / self.elements if self.elements else None

    def add(self, kernels: frozenset[str], outcome: Outcome, plain: bool) -> None:
        """Note a call that went well."""
        self.calls.update(kernels)
        self._note(kernels, outcome.ratio)
        if plain:
            self.elements += outcome.elements
            self.bounded += outcome.bounded

    def fail(self, kernels: frozenset[str]) -> None:
        """Note a call that did not."""
        self.calls.update(kernels)
        self._note(kernels, float("inf"))

    def _note(self, kernels: frozenset[str], ratio: float) -> None:
        for name in kernels:
            self.worst[name] = max(ratio, self.worst.get(name, 0.0))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A call that could be made, and the kernels that it would run, in so many programs of so many steps at most."""

    way: Forcing
    case: Case
    kernels: frozenset[str]
    programs: int
    steps: int

    @property
    def is_heavy(self) -> bool:
        """Whether the interpreter takes long for it."""
        return interpreting() and (self.programs > MOST_PROGRAMS or self.steps > MOST_STEPS)


def exercise(
    module: ModuleType,
    program: Program,
    effort: Effort,
    device: torch.device,
    record: Record,
    known: Set[str] = frozenset(),
) -> None:
    """Call an op of the generated `module` on drawn arguments until all its kernels ran, or cannot be made to.

    The kernels `known` are those that are exercised with another op, too: one call of this one is enough. Raises what
    the op or the comparison does, for the smallest arguments that are found; `record` has what came of the calls in any
    case. The arguments are the same every time.
    """
    subject = _Subject(module, program, device, record, known)
    own, few = Forcing(), max(effort.own, effort.planned // 4)
    for candidate in subject.ordered(subject.candidates(own, effort.planned))[: effort.own]:
        subject.make(candidate, effort.smaller)
    found = [candidate for way in forcings(subject.op) for candidate in subject.candidates(way, few)]
    subject.run_each(found, effort)
    if subject.missing(1):
        for way in forcings(subject.op):
            subject.run_each(subject.emptied(way), effort)
    # Most plans are found among few calls. What is left is searched for: with plans that launch it, then with others.
    for planned, least in ((effort.planned, effort.each), (4 * effort.planned, 1)):
        likely, others = subject.ways_to(subject.missing(least))
        for way in likely:
            if subject.missing(least):
                subject.run_each(subject.candidates(way, planned), effort)
        for way in others:
            if subject.missing(1):
                subject.run_each(subject.candidates(way, planned), effort)
    for length in effort.long:
        subject.sum_up(length)


def reached(module: ModuleType, program: Program, device: torch.device, count: int) -> set[str]:
    """The kernels that calls of an op can be made to run, found by planning up to `count` of them in every way."""
    subject = _Subject(module, program, device, Record())
    names = {kernel.name for kernel in program.kernels}
    found: set[str] = set()
    for way in forcings(subject.op):
        if not names <= found:
            found |= {name for candidate in subject.candidates(way, count) for name in candidate.kernels}
    return found


@dataclass(slots=True)
class _Subject:
    """An op that is called, on a device, and the record of it."""

    module: ModuleType
    program: Program
    device: torch.device
    record: Record
    known: Set[str] = frozenset()
    _drawn: dict[str, tuple[int, list[_Call], list[_Call]]] = field(default_factory=dict)

    def candidates(self, way: Forcing, count: int) -> list[_Candidate]:
        """What so many drawn calls would run."""
        return self._planned(way, self._calls(way.kind, count))

    def emptied(self, way: Forcing) -> list[_Candidate]:
        """What calls with an empty axis would run."""
        drawn = self._calls("rows", 1)[:1]
        cases = (case for first, _ in drawn for case in emptied(self.program.graph, first))
        found: list[_Candidate] = []
        for case in cases:
            # A table may be too short where nothing else is asked of its extent.
            with suppress(ShapeMismatchError):
                found += self._planned(way, [(case, build(self.program.graph, case, self.device).arguments)])
        return found

    def missing(self, least: int) -> frozenset[str]:
        """The kernels that ran less often than that, or than they need to."""
        return frozenset(kernel.name for kernel in self.program.kernels if self.lacks(kernel.name, least))

    def lacks(self, kernel: str, least: int) -> bool:
        """Whether a kernel ran less often than that, or than it needs to."""
        return self.record.calls[kernel] < (min(least, 1) if kernel in self.known else least)

    def ways_to(self, wanted: frozenset[str]) -> tuple[list[Forcing], list[Forcing]]:
        """The ways to choose that ask for a plan which launches one of the kernels `wanted`, and the others."""
        steps = self.op.table.every() if self.op.table else ()
        plans = [plan for step in steps for plan in step.plans]
        names = {plan.name for plan in plans if wanted.intersection(each.__name__ for each in launched(plan))}
        likely, others = list[Forcing](), list[Forcing]()
        for way in forcings(self.op):
            asked = {word.rpartition(".")[2] for word in (way.plan or "").split()}
            (likely if names & asked else others).append(way)
        return likely, others

    def run_each(self, candidates: list[_Candidate], effort: Effort) -> None:
        """Make the calls that run a kernel which has not run often enough."""
        unlike = {(repr(candidate.case), candidate.kernels): candidate for candidate in candidates}
        for candidate in self.ordered(list(unlike.values())):
            if any(self.lacks(name, effort.each) for name in candidate.kernels):
                self.make(candidate, effort.smaller)

    def sum_up(self, length: int) -> None:
        """Run every kernel that calls with sums about so long reach, once for each kind of numbers."""
        graph, ran = self.program.graph, set[tuple[str, str]]()
        cases = long_calls(graph, length, every=not interpreting())
        calls = [(case, build(graph, case, self.device).arguments) for case in cases]
        for way in forcings(self.op, chunk=512, skinny_block_k=256):
            for candidate in sorted(self._planned(way, calls), key=self._telling):
                kind = repr((candidate.case.dtypes, candidate.case.values))
                own = {(kernel, kind) for kernel in candidate.kernels - self.known}
                if not own <= ran:
                    self.make(candidate, 0)
                    ran |= own

    def _planned(self, way: Forcing, calls: list[_Call]) -> list[_Candidate]:
        op = self.op
        with way.of(op), nothing_run():
            found = [_Candidate(way, case, *planned(op, self._function, arguments)) for case, arguments in calls]
        return [candidate for candidate in found if candidate.kernels]

    def _telling(self, candidate: _Candidate) -> tuple[bool, int, int]:
        """Calls of many results that few programs make come first."""
        return candidate.is_heavy, -min(results(self.program.graph, candidate.case), 16), candidate.programs

    def ordered(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """In the order in which they are worth making: large calls with ordinary values, and any, by turns.

        Of the former, those of results with the most digits take turns with others.
        """
        plain = sorted((each for each in candidates if is_plain(each.case)), key=self._size, reverse=True)
        most = max(map(self._digits, plain), default=0)
        fine = [each for each in plain if self._digits(each) == most]
        coarse = [each for each in plain if self._digits(each) < most]
        mixed = Random(0).sample(candidates, len(candidates))
        by_turns = (each for turn in zip_longest(fine, mixed[::2], coarse, mixed[1::2]) for each in turn)
        return sorted((each for each in by_turns if each is not None), key=lambda candidate: candidate.is_heavy)

    def _digits(self, candidate: _Candidate) -> int:
        """Of the fraction of the most exact result."""
        outputs = (storage(candidate.case, output.element) for output in self.program.graph.outputs)
        return max((dtype.mantissa for dtype in outputs if dtype.kind is Kind.REAL), default=0)

    def make(self, candidate: _Candidate, smaller: int) -> None:
        """Make a call. Where it goes wrong, look for a smaller one that does among so many."""
        try:
            self._run(candidate)
        except Exception:
            if smaller:
                self._shrink(candidate, smaller)
            raise

    def _run(self, candidate: _Candidate) -> None:
        with candidate.way.of(self.op):
            try:
                outcome = run_and_compare(self._function, self.program.forms, candidate.case, device=self.device)
            except Exception:
                self.record.fail(kernels(self.op))
                raise
            self.record.add(kernels(self.op), outcome, is_plain(candidate.case))

    def _shrink(self, failed: _Candidate, smaller: int) -> None:
        """Raise what goes wrong for the smallest call that runs one of the same kernels, if one is found that does."""

        @_settings(smaller, Phase.generate, Phase.shrink)
        @given(reaching(failed.way.kind, self.program.graph))
        def call(case: Case) -> None:
            with failed.way.of(self.op), nothing_run():
                found = planned(self.op, self._function, build(self.program.graph, case, self.device).arguments)
            candidate = _Candidate(failed.way, case, *found)
            if candidate.kernels & failed.kernels and not candidate.is_heavy:
                self._run(candidate)

        with from_strategies_alone():
            call()

    def _calls(self, shape: str, count: int) -> list[_Call]:
        """So many calls for plans of a shape, with their arguments."""
        drawn, calls, exact = self._drawn.get(shape, (0, [], []))
        if drawn < count:
            found: list[Case] = []

            @_settings(count, Phase.generate)
            @given(reaching(shape, self.program.graph))
            def collect(case: Case) -> None:
                found.append(case)

            with from_strategies_alone():
                collect()
            largest = sorted(filter(is_plain, found), key=lambda case: elements(self.program.graph, case))[-3:]
            finer = [fine for case in largest if (fine := exacting(self.program.graph, case)) != case]
            calls, exact = self._built(found), self._built(finer)
            self._drawn[shape] = count, calls, exact
        return calls[:count] + exact

    def _built(self, cases: list[Case]) -> list[_Call]:
        return [(case, build(self.program.graph, case, self.device).arguments) for case in cases]

    @property
    def op(self) -> Op:
        name = self.program.graph.name
        return next(op for op in vars(self.module).values() if isinstance(op, Op) and op.name == name)

    @property
    def _function(self) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(self.module, self.program.graph.name)
        return function

    def _size(self, candidate: _Candidate) -> int:
        return elements(self.program.graph, candidate.case)


def _settings(examples: int, *phases: Phase) -> settings:
    return settings(
        max_examples=examples,
        phases=phases,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def is_plain(case: Case) -> bool:
    """Whether all values are ordinary: results of such a call ought to have a bound."""
    return not case.values


def elements(graph: Graph, case: Case) -> int:
    """How many elements the tensors of a call have."""
    return sum(prod(shape(case, tensor.dims)) for tensor in graph.tensors)


def exacting(graph: Graph, case: Case) -> Case:
    """The case with results of the most digits that they may have.

    Other types have paths of their own through a kernel, and in 16 bits one value is often all that is right.
    """
    variables = {output.element for output in graph.outputs if isinstance(output.element, DTypeVar)}
    reals = (each for each in variables if each.kind is Kind.REAL)
    most = {each.name: max(each.options, key=lambda dtype: dtype.mantissa).name for each in reals}
    return replace(case, dtypes={**case.dtypes, **most})


def kernels(op: Op) -> frozenset[str]:
    """The kernels that the plans of an op launch that it has made so far."""
    return frozenset(name for plan in op.plans for name in plan.kernels)


@contextmanager
def nothing_run() -> Iterator[None]:
    """Within, calls are planned, and no plan is run."""
    # Once for many calls: to make a mock takes as long as to plan a call.
    with mock.patch.object(Plan, "run", return_value=None):
        yield


def planned(
    op: Op, function: Callable[..., object], arguments: Mapping[str, Argument]
) -> tuple[frozenset[str], int, int]:
    """The kernels that a call launches, and in how many programs of how many steps at most, where nothing is run.

    There are none if it has no such plan.
    """
    op.forget()
    with suppress(PlanError):
        function(**arguments)
    found = kernels(op), sum(plan.programs for plan in op.plans), max((plan.steps for plan in op.plans), default=0)
    op.forget()
    return found
