"""A plan: what one call allocates and runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, TypeAlias

import torch
import triton

from fusec.runtime import allocate
from fusec.runtime.apart import Apart
from fusec.runtime.errors import DeviceError
from fusec.runtime.launch import Launch, Launcher, Resources, Value, picker
from fusec.runtime.layout import contiguous
from fusec.runtime.multiplier import Multiplier
from fusec.runtime.overlap import in_turn
from fusec.runtime.prepare import Prepared
from fusec.runtime.product import Product
from fusec.runtime.tma_launch import TmaLauncher

Results: TypeAlias = torch.Tensor | tuple[torch.Tensor, ...] | None

_data_ptr: Callable[[torch.Tensor], int] = torch.Tensor.data_ptr
_current_device: Callable[[], int] = getattr(torch._C, "_cuda_getDevice", lambda: -1)
_current_stream: Callable[[int], int] = getattr(torch._C, "_cuda_getCurrentRawStream", lambda device: 0)


@dataclass(frozen=True, slots=True)
class Buffer:
    """A row-major tensor that a call allocates: an output, or a workspace. Sizes may be symbolic."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """The memory it takes."""
        return prod(self.shape) * self.dtype.itemsize


class Plan:
    """The kernels and products of one call, for tensors of one layout.

    `tensors` and `scalars` are the names of what a call passes, `mutated` those of the tensors it writes to, `outputs`
    and `workspaces` what it allocates, `aliases` other names of what is passed; `prepared` has further tensors that
    depend on some of those passed alone. Kernels that are of several ops take tensors that are `absent` here. All that
    is launched runs in order, but what is idle, and nothing on the meta device. Raises `DeviceError` where the kernels
    cannot run.
    """

    def __init__(
        self,
        op: str,
        device: torch.device,
        *,
        tensors: tuple[str, ...],
        scalars: tuple[str, ...] = (),
        mutated: tuple[str, ...] = (),
        outputs: Mapping[str, Buffer],
        workspaces: Mapping[str, Buffer] | None = None,
        aliases: Mapping[str, str] | None = None,
        prepared: Prepared | None = None,
        absent: tuple[str, ...] = (),
        launches: Iterable[Launch | Product],
    ) -> None:
        _check_device(op, device)
        allocated = {**outputs, **(workspaces or {})}
        known = () if prepared is None else prepared.names
        names = [*(f"{name}_ptr" for name in (*tensors, *known, *allocated)), *scalars, *(f"{n}_ptr" for n in absent)]
        places = {name: place for place, name in enumerate(names)}
        places |= {f"{other}_ptr": places[f"{name}_ptr"] for other, name in (aliases or {}).items()}
        self._device = device.index
        self._several_gpus = device.type == "cuda" and torch.cuda.device_count() > 1
        self._allocated = [(b.shape, contiguous(b.shape), b.dtype, device) for b in allocated.values()]
        self._results = len(outputs)
        self._absent, self._at_absent = (None,) * len(absent), (0,) * len(absent)
        self._mutated = [tensors.index(name) for name in mutated]
        self._apart: Apart | None = None
        self._named = (op, tensors)
        self._prepared = None if device.type == "meta" else prepared
        self._weights = picker([tensors.index(name) for name in prepared.weights] if prepared else [])
        real = in_turn(launches) if device.type != "meta" else ()
        self._steps = tuple(_step(launch, places) for launch in real)
        self._launches = [step.launch for step in self._steps]
        self._compiled = False
        self._is_plain = len(outputs) == len(allocated) == 1 and not mutated and prepared is None
        self._typed: Mapping[int, torch.dtype] = {}
        self._report: Callable[[], Any] | None = None
        self._text: Callable[[Any], str] = str

    def explained_by(self, report: Callable[[], Any], text: Callable[[Any], str]) -> Plan:
        """The plan, which tells its `report` where somebody asks, as `text` where it is printed."""
        self._report, self._text = report, text
        return self

    def as_typed(self, typed: Mapping[int, torch.dtype]) -> Plan:
        """The plan, for calls whose tensors at some places are bytes of these types."""
        self._typed = typed
        return self

    @cached_property
    def report(self) -> Any:
        """The plan as data, `runtime.explain.report.Report`; None for one that a call made for itself."""
        return None if self._report is None else self._report()

    def __repr__(self) -> str:
        told = self.report
        return f"{type(self).__name__}({', '.join(self.kernels)})" if told is None else self._text(told)

    @property
    def resources(self) -> dict[str, Resources]:
        """What the kernels take that are compiled, by name."""
        steps = (step for step in self._steps if isinstance(step, Launcher))
        return {step.kernel: step.resources for step in steps if step.resources is not None}

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels that a call launches, by name."""
        return tuple(step.kernel for step in self._steps if isinstance(step, Launcher))

    @property
    def launched(self) -> int:
        """How many launches a call takes, those of the vendor's library among them."""
        return len(self._steps)

    @property
    def programs(self) -> int:
        """How many programs a call launches."""
        return sum(step.programs for step in self._steps if isinstance(step, Launcher))

    @property
    def steps(self) -> int:
        """How many steps the longest loop of a program has."""
        return max((step.steps for step in self._steps if isinstance(step, Launcher)), default=0)

    @property
    def spills(self) -> int:
        """Bytes that a thread spills in the worst of the kernels compiled so far."""
        return max((step.spills for step in self._steps if isinstance(step, Launcher)), default=0)

    def __call__(self, tensors: tuple[torch.Tensor | None, ...], scalars: tuple[Value, ...] = ()) -> Results:
        """`run` for tensors whose addresses are not known yet."""
        return self.run(tensors, scalars, [0 if tensor is None else tensor.data_ptr() for tensor in tensors])

    def run(
        self, tensors: tuple[torch.Tensor | None, ...], scalars: tuple[Value, ...], addresses: list[int]
    ) -> Results:
        """Allocate, launch on the current stream of the tensors' device, and return the outputs.

        The tensors, at `addresses`, have the layout the plan was made for. Nothing waits for the device. Raises
        `ArgumentError` where one that is written in place shares memory with another one or with itself.
        """
        if self._several_gpus and self._device != _current_device():
            with torch.cuda.device(self._device):
                return self.run(tensors, scalars, addresses)
        if self._mutated and self._steps:
            if self._apart is None:
                self._apart = Apart(*self._named, self._mutated, tensors)
            self._apart.check(addresses)
        if self._compiled and self._is_plain:
            result = allocate.empty(*self._allocated[0])
            values = [*addresses, _data_ptr(result), *scalars, *self._at_absent]
            stream = _current_stream(self._device)
            for launch in self._launches:
                launch(stream, values)
            return result
        fresh = [allocate.empty(*about) for about in self._allocated]
        ready = None
        if self._prepared is not None:
            ready = self._prepared.of(self._weights(tensors), self._weights(addresses))
            addresses = addresses + ready.addresses
        if self._compiled:
            values = [*addresses, *map(_data_ptr, fresh), *scalars, *self._at_absent]
            stream = _current_stream(self._device)
            for launch in self._launches:
                launch(stream, values)
        else:
            given = [*self._as_typed(tensors), *(ready.values if ready else ()), *fresh, *scalars, *self._absent]
            compiled = [step.first(given) for step in self._steps]
            self._compiled = bool(compiled) and all(compiled)
        for place in self._mutated:
            _changed(tensors[place])
        return fresh[0] if self._results == 1 else tuple(fresh[: self._results]) or None

    def _as_typed(self, tensors: tuple[torch.Tensor | None, ...]) -> Iterator[torch.Tensor | None]:
        for place, tensor in enumerate(tensors):
            yield tensor.view(self._typed[place]) if tensor is not None and place in self._typed else tensor


class PlanOfOthers(Plan):
    """A plan for tensors that are made of those of a call, in each call."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @property
    def report(self) -> Any:
        """The plan for the other tensors as data."""
        return self._plan.report

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels that a call launches, by name."""
        return self._plan.kernels

    @property
    def launched(self) -> int:
        """How many launches the plan for the other tensors takes."""
        return self._plan.launched

    @property
    def programs(self) -> int:
        """How many programs a call launches."""
        return self._plan.programs

    @property
    def steps(self) -> int:
        """How many steps the longest loop of a program has."""
        return self._plan.steps

    @property
    def spills(self) -> int:
        """Bytes that a thread spills in the worst of the kernels compiled so far."""
        return self._plan.spills

    @property
    def resources(self) -> dict[str, Resources]:
        """What the kernels take that are compiled, by name."""
        return self._plan.resources


class CopyingPlan(PlanOfOthers):
    """A plan for row-major copies of some of a call's tensors."""

    def __repr__(self) -> str:
        return f"row-major copies, and then\n{self._plan!r}"

    def run(
        self, tensors: tuple[torch.Tensor | None, ...], scalars: tuple[Value, ...], addresses: list[int]
    ) -> Results:
        """Copy what is not row-major, and run; the copies have addresses of their own."""
        return self._plan(row_major(tensors), scalars)


def row_major(tensors: tuple[torch.Tensor | None, ...]) -> tuple[torch.Tensor | None, ...]:
    """The tensors, those that are not row-major as copies."""
    return tuple(None if tensor is None else tensor.contiguous() for tensor in tensors)


def _step(launch: Launch | Product, places: Mapping[str, int]) -> Launcher | Multiplier:
    if isinstance(launch, Product):
        return Multiplier(launch, places)
    return TmaLauncher(launch, places) if launch.maps else Launcher(launch, places)


def _changed(tensor: torch.Tensor | None) -> None:
    # Autograd finds out by this that a tensor it saved no longer holds what it held.
    if tensor is not None and not tensor.is_inference():
        torch.autograd.graph.increment_version(tensor)


def _check_device(op: str, device: torch.device) -> None:
    if device.type in ("cuda", "meta") or (device.type == "cpu" and triton.knobs.runtime.interpret):
        return
    advice = (
        "move them to a GPU, or set TRITON_INTERPRET=1 before Triton is imported to run the kernels in its interpreter"
        if device.type == "cpu"
        else "move them to a CUDA device"
    )
    message = f"{op}: the tensors are on {device}, where its kernels cannot run; {advice}"
    raise DeviceError(message, None, "cuda", device)
