"""The plan of a call as data: steps and launches, bytes and operations, what limits them, and what other plans take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import torch

from fusec.runtime.errors import FusecError
from fusec.runtime.explain.occupancy import Occupancy, occupancy
from fusec.runtime.explain.reasons import reason
from fusec.runtime.launch import Launch, Resources
from fusec.runtime.product import Product
from fusec.runtime.select.describe import DescribedLaunch, described_launch
from fusec.runtime.select.predict import Prediction, predict
from fusec.runtime.select.run import Decision, Taken
from fusec.runtime.traffic.count import Traffic, traffic

_MOST_PROGRAMS = 2**20
"""Programs of another plan for which its figures are worth the time."""

Compiled = Mapping[str, Resources]
"""What kernels take, by their names, of those that are compiled."""


@dataclass(frozen=True, slots=True)
class LaunchReport:
    """One launch. Waves are its programs over those that the chip runs at once; the library does not tell its own."""

    about: DescribedLaunch
    traffic: Traffic
    predicted: Prediction
    resources: Resources | None = None
    occupancy: Occupancy | None = None
    waves: float | None = None


@dataclass(frozen=True, slots=True)
class StepReport:
    """What is written, by which schedule, why, and in which launches."""

    writes: str
    schedule: str
    reason: str
    launches: tuple[LaunchReport, ...]


@dataclass(frozen=True, slots=True)
class Rival:
    """Another plan that can take the call: what it moves, and its microseconds by the time model."""

    plan: str
    launches: int
    bytes: int
    us: float


@dataclass(frozen=True, slots=True)
class Report:
    """The plan of one call. `whole` has the bytes of each argument and result that launches take, counted once."""

    op: str
    chip: str
    arguments: Mapping[str, str]
    steps: tuple[StepReport, ...]
    whole: Mapping[str, int]
    workspace: Mapping[str, int]
    prepared: tuple[str, ...] = ()
    rivals: tuple[Rival, ...] = field(default=())

    @property
    def launches(self) -> tuple[LaunchReport, ...]:
        return tuple(launch for step in self.steps for launch in step.launches)

    @property
    def bytes(self) -> int:
        """Bytes that all launches load and store, each access counted."""
        return sum(launch.traffic.bytes for launch in self.launches)

    @property
    def us(self) -> float:
        """Microseconds by the time model."""
        return sum(launch.predicted.us for launch in self.launches)

    @property
    def least_us(self) -> float:
        """The roofline of the launches, one after another."""
        return sum(launch.predicted.least_us for launch in self.launches)

    @property
    def flops(self) -> int:
        """Operations of products."""
        return sum(launch.traffic.flops for launch in self.launches)

    @property
    def read(self) -> Counter[str]:
        return sum((Counter(launch.traffic.read) for launch in self.launches), Counter[str]())

    @property
    def written(self) -> Counter[str]:
        return sum((Counter(launch.traffic.written) for launch in self.launches), Counter[str]())

    @property
    def is_least(self) -> bool:
        """Whether no plan can move less: each element of what is given and made crosses once, and nothing else."""
        moved = self.read + self.written
        exact = all(launch.traffic.is_exact for launch in self.launches)
        return exact and set(moved) <= set(self.whole) and all(moved[name] == size for name, size in self.least.items())

    @property
    def least(self) -> Mapping[str, int]:
        """Bytes of arguments and results, twice those of what is written in place of what is read."""
        both = set(self.read) & set(self.written)
        return {name: size * (1 + (name in both)) for name, size in self.whole.items()}


def report(
    decision: Decision,
    others: Callable[[str], Decision] | None = None,
    names: Iterable[str] = (),
    compiled: Compiled | None = None,
) -> Report:
    """The report of a plan, with what kernels take that are `compiled`, and of the `others` by `names`."""
    call, held = decision.call, compiled or {}
    steps = tuple(
        StepReport(step.writes, step.plan, reason(decision, step), tuple(_launches(step, each, decision, held)))
        for step, each in zip(decision.steps, predict(decision), strict=True)
    )
    given = {name: tensor for name, tensor in call.tensors.items() if tensor is not None}
    whole = {name: _distinct(tensor) for name, tensor in given.items()}
    whole |= {name: buffer.bytes for name, buffer in call.outputs.items()}
    moved = [launch.traffic for step in steps for launch in step.launches]
    used = {name for each in moved for name in (*each.read, *each.written)}
    return Report(
        call.op,
        getattr(call.chip, "name", "chip"),
        {name: _described(tensor) + _rounded(call.passed.get(name)) for name, tensor in given.items()},
        steps,
        {name: size for name, size in whole.items() if name in used},
        {name: each.bytes for name, each in call.workspaces.items()},
        decision.prepared.names if decision.prepared else (),
        _rivals(decision, others, names) if others else (),
    )


def _launches(
    step: Taken, predicted: Sequence[Prediction], decision: Decision, compiled: Compiled
) -> Iterator[LaunchReport]:
    dtypes, chip = decision.dtypes, decision.call.chip
    for launch, prediction in zip(step.launches, predicted, strict=True):
        if launch.idle:
            continue
        about, moved = described_launch(launch), traffic(launch, dtypes).called(decision.call.aliases)
        if isinstance(launch, Product):
            yield LaunchReport(about, moved, prediction)
            continue
        resources = compiled.get(about.kernel)
        held = occupancy(chip, about.warps, resources)
        waves = about.programs / max(chip.sms * held.programs, 1)
        yield LaunchReport(about, moved, prediction, resources, held, waves)


def _rivals(decision: Decision, others: Callable[[str], Decision], names: Iterable[str]) -> tuple[Rival, ...]:
    """What else could take the call, each set of launches once, the fastest first by the time model."""
    known = {_signature(decision)}
    found = []
    for name in names:
        try:
            other = others(name)
        except FusecError:
            continue
        launches = [launch for launch in other.launches if not launch.idle]
        programs = max((prod(launch.grid) for launch in launches if isinstance(launch, Launch)), default=0)
        if _signature(other) in known or programs > _MOST_PROGRAMS:
            continue
        known.add(_signature(other))
        predicted = [each for step in predict(other) for each in step]
        found.append(
            Rival(name, len(launches), sum(each.sm_bytes for each in predicted), sum(each.us for each in predicted))
        )
    return tuple(sorted(found, key=lambda rival: rival.us))


def _signature(decision: Decision) -> tuple[object, ...]:
    return tuple(
        (launch.kernel.__name__, launch.grid, tuple(sorted(launch.arguments.items(), key=str)))
        if isinstance(launch, Launch)
        else launch
        for launch in decision.launches
    )


def _distinct(tensor: torch.Tensor) -> int:
    """Bytes of the elements that have a place of their own."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or size == 0)
    return prod(sizes) * tensor.element_size()


def _described(tensor: torch.Tensor) -> str:
    dtype, strides = str(tensor.dtype).removeprefix("torch."), ""
    if not tensor.is_contiguous():
        strides = f" strides {list(tensor.stride())}"
    return f"{dtype}{list(tensor.shape)}{strides}"


def _rounded(passed: torch.dtype | None) -> str:
    """How a weight comes that is read as something else."""
    return f" rounded once from {str(passed).removeprefix('torch.')}" if passed else ""
