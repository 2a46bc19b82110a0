"""A function of anybody, held to what an op means: its results to the derived bound, its memory to what it was given.

Calls come in groups, so that a report says what a function is wrong at: its ordinary work, tensors that lie otherwise,
values at the ends of a format, axes of no extent, larger calls, long sums, and the same call again. A call that the
function refuses by an exception is no wrong result, and is counted apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from fusec.extents.room import LEAD, Room
from fusec.extents.signature import Signature
from fusec.interpreter import exact, interpreting
from fusec.interpreter.programs import Order, in_order, shuffled
from fusec.ir.graph import Graph
from fusec.ir.program import Program
from fusec.testing.allocations import guarded_torch
from fusec.testing.callers import Caller
from fusec.testing.cases import Case, build, counts
from fusec.testing.compare import detached, hold, named, same_bits
from fusec.testing.long_sums import long_calls
from fusec.testing.random_run import several
from fusec.testing.strategies import Budget, cases
from fusec.testing.watching import watched

CALLS = 20
"""Calls of a group."""

LARGE = Budget(rows=48, elements=1 << 13)
LARGE_GPU = Budget(rows=2048, elements=1 << 20, inner=(1000, 1024, 4096, 5120, 8192), outer=(1, 3, 16, 64, 129))
"""How much the larger calls may hold, in the interpreter and on a GPU."""

LONG, LONG_GPU = (1024,), (4096,)
"""Products that are summed in long sums."""


class RefusedError(Exception):
    """The function raised an exception, which is the cause of this one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a call, in words, and the call."""

    text: str
    case: Case


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a group of calls.

    Of those `judged`, `worst` is the largest error as a part of the bound, and `bounded` the share of elements that had
    one. `refused` calls ended in an exception, the first of which is the `refusal`. `wrong` counts the calls at fault.
    """

    group: str
    judged: int = 0
    worst: float | None = None
    bounded: float | None = None
    refused: int = 0
    refusal: str | None = None
    wrong: int = 0
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All findings about a function that stands for an op, and where it ran."""

    function: str
    op: str
    where: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, and ordinary calls were taken."""
        return self.findings[0].judged > 0 and not any(finding.wrong for finding in self.findings)

    def __str__(self) -> str:
        lines = [f"{self.function} as {self.op}, on {self.where}: {'right' if self.ok else 'WRONG'}"]
        for each in self.findings:
            worst = "" if each.worst is None or each.wrong else f", worst error {each.worst:.2f} of the bound"
            wrong = f", {each.wrong} WRONG" if each.wrong else ""
            refused = f", {each.refused} refused ({each.refusal})" if each.refused else ""
            lines.append(f"  {each.group}: {each.judged} judged{worst}{wrong}{refused}")
            if each.fault:
                indented = each.fault.text.replace("\n", "\n    ")
                lines += [f"    {indented}", f"    reproduce with cases=[{each.fault.case!r}]"]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Narrow:
    """What calls are held to: dtypes of type variables and extents of axes; all others are drawn."""

    dtypes: Mapping[str, str]
    sizes: Mapping[str, int]


def judge_function(
    function: Callable[..., Any],
    program: Program,
    *,
    device: torch.device,
    calls: int = CALLS,
    narrow: Narrow = Narrow({}, {}),
    only: Sequence[Case] = (),
) -> Report:
    """Hold a function to the op of `program`, by so many drawn calls of each group, or by those given alone.

    Raises `CallerError` where the function cannot take the arguments of the op.
    """
    graph = program.graph
    caller = Caller.of(function, graph)
    judged = _Judge(caller, program, device)
    with exact():
        groups = [("given calls", list(only))] if only else list(_groups(graph, device, calls))
        findings = []
        for name, drawn in groups:
            found = [_narrowed(graph, caller.narrowed(graph, case), narrow) for case in drawn]
            findings.append(judged.group(name, [case for case in found if case is not None]))
        findings.append(judged.again(judged.taken[:calls]))
    where = "the Triton interpreter" if device.type == "cpu" and interpreting() else _named_device(device)
    return Report(getattr(function, "__name__", repr(function)), graph.name, where, tuple(findings))


@dataclass(slots=True)
class _Judge:
    """A function under judgment, and the ordinary calls that it took and did right."""

    caller: Caller
    program: Program
    device: torch.device
    taken: list[Case]

    def __init__(self, caller: Caller, program: Program, device: torch.device) -> None:
        self.caller, self.program, self.device, self.taken = caller, program, device, []

    def group(self, name: str, drawn: Iterable[Case]) -> Finding:
        """Make all calls, and keep the smallest one that goes wrong."""
        tally = _Tally(name)
        for case in drawn:
            try:
                tally.add(*self._outcome(case))
            except RefusedError as error:
                tally.refuse(error)
                continue
            except AssertionError as error:
                tally.blame(str(error), case, _elements(self.program.graph, case))
                continue
            if name == ORDINARY:
                self.taken.append(case)
        return tally.finding()

    def again(self, drawn: Sequence[Case]) -> Finding:
        """Make calls twice, the second time with programs in another order where that is ours to say."""
        tally = _Tally("the same call again")
        for case in drawn:
            first, second = (self._run(case, order) for order in (in_order, shuffled(case.seed)))
            unlike = [name for name in first if not same_bits(first[name].cpu(), second[name].cpu())]
            if unlike:
                tally.blame(
                    f"a second call gives other bits of {', '.join(unlike)}", case, _elements(self.program.graph, case)
                )
            else:
                tally.judged += 1
        return tally.finding()

    def _outcome(self, case: Case) -> tuple[float, int, int]:
        before = {name: detached(value) for name, value in build(self.program.graph, case).arguments.items()}
        results = self._run(case)
        outcomes = hold(results, self.program.forms, before, case.is_random)
        return (
            max((outcome.ratio for outcome in outcomes), default=0.0),
            sum(outcome.elements for outcome in outcomes),
            sum(outcome.bounded for outcome in outcomes),
        )

    def _run(self, case: Case, order: Order = in_order) -> dict[str, Tensor]:
        """Outputs and `mut` tensors by name; AssertionError for what the call did that it must not."""
        graph = self.program.graph
        call = build(graph, case, self.device)
        mutable = {param.name for param in graph.tensors if param.mutable}
        inputs = {name: held.tensor for name, held in call.buffers.items()}
        with ExitStack() as stack:
            if interpreting() and self.device.type == "cpu":
                stack.enter_context(watched(inputs, mutable, order, mutable, thrifty=False))
            made = stack.enter_context(guarded_torch(self.device))
            returned = self._call(call.arguments)
            results = named(graph, case, returned)
        changed = [*call.disturbed(), *(text for held in made if (text := _beside(held.disturbed())))]
        if changed:
            raise AssertionError("\n".join(changed))
        return results | {name: inputs[name] for name in mutable & inputs.keys()}

    def _call(self, arguments: Mapping[str, Any]) -> Any:
        try:
            returned = self.caller(arguments)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        except AssertionError as error:
            raise RefusedError from error
        except Exception as error:
            if "illegal memory access" in str(error) or "unspecified launch failure" in str(error):
                raise AssertionError(f"the device stopped: {error}") from error
            raise RefusedError from error
        return tuple(returned) if isinstance(returned, list) else returned


class _Tally:
    """Counts of a group while its calls are made."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.judged = self.refused = self.wrong = self.elements = self.bounded = 0
        self.worst: float | None = None
        self.refusal: str | None = None
        self.fault: tuple[int, Fault] | None = None

    def add(self, ratio: float, elements: int, bounded: int) -> None:
        self.judged += 1
        self.worst = max(ratio, self.worst or 0.0)
        self.elements += elements
        self.bounded += bounded

    def refuse(self, error: RefusedError) -> None:
        cause = error.__cause__
        self.refused += 1
        lines = str(cause).strip().splitlines()
        self.refusal = self.refusal or ": ".join([type(cause).__name__, *lines[:1]])

    def blame(self, text: str, case: Case, size: int) -> None:
        self.judged += 1
        self.wrong += 1
        if self.fault is None or size < self.fault[0]:
            self.fault = size, Fault(text, case)

    def finding(self) -> Finding:
        share = self.bounded / self.elements if self.elements else None
        fault = self.fault[1] if self.fault else None
        return Finding(self.group, self.judged, self.worst, share, self.refused, self.refusal, self.wrong, fault)


ORDINARY = "ordinary calls"


def _groups(graph: Graph, device: torch.device, calls: int) -> Iterator[tuple[str, list[Case]]]:
    """Names and calls of all groups, the ordinary ones first: each differs from these in one thing."""
    gpu = device.type == "cuda"
    drawn = several(cases(graph), 4 * calls, 0)
    full = [case for case in drawn if _has_elements(graph, case)]
    plain = [replace(case, layouts={}, values={}) for case in full]
    yield ORDINARY, plain[:calls]
    yield "other strides", [replace(case, values={}) for case in full if case.layouts][:calls]
    yield "ends of formats", [replace(case, layouts={}) for case in full if case.values][:calls]
    yield "empty axes", [replace(c, layouts={}, values={}) for c in drawn if not _has_elements(graph, c)][:calls]
    large = several(cases(graph, LARGE_GPU if gpu else LARGE), 4 * calls, 1)
    whole = [replace(case, layouts={}, values={}) for case in large if _has_elements(graph, case)]
    yield "larger calls", sorted(whole, key=lambda case: -_elements(graph, case))[: max(calls // 2, 1)]
    lengths = LONG_GPU if gpu else LONG
    long = [case for length in lengths for case in long_calls(graph, length, every=gpu)]
    if long:
        yield "long sums", long[:calls]


def _elements(graph: Graph, case: Case) -> int:
    return sum(counts(graph, case))


def _has_elements(graph: Graph, case: Case) -> bool:
    return all(counts(graph, case))


def _narrowed(graph: Graph, case: Case, narrow: Narrow) -> Case | None:
    """The call with dtypes and extents as they are asked for; None where the op cannot have them together."""
    case = replace(case, dtypes={**case.dtypes, **narrow.dtypes})
    if not narrow.sizes:
        return case
    signature = Signature.of(graph)
    room = Room(signature, rows=2**62, elements=2**62)
    room.extents.update({name: extent for name, extent in case.extents.items() if name in signature.free})
    room.extents.update(narrow.sizes)
    if signature.has_lead:
        room.extents[LEAD] = prod(case.lead)
    if not room.settle():
        return None
    return replace(case, extents={name: extent for name, extent in room.extents.items() if name != LEAD})


def _beside(text: str | None) -> str | None:
    return text and f"{text}: it was allocated by the function"


def _named_device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
