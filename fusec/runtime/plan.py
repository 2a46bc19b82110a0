"""A plan: what one call allocates and launches. Plans are kept by the layout of the arguments they were made for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from threading import Lock
from typing import TypeAlias

import torch
import triton

from fusec.runtime import allocate
from fusec.runtime.errors import DeviceError
from fusec.runtime.launch import Launch, Launcher, Value
from fusec.runtime.layout import contiguous

Results: TypeAlias = torch.Tensor | tuple[torch.Tensor, ...] | None

_current_device: Callable[[], int] = getattr(torch._C, "_cuda_getDevice", lambda: -1)
_current_stream: Callable[[int], int] = getattr(torch._C, "_cuda_getCurrentRawStream", lambda device: 0)


@dataclass(frozen=True, slots=True)
class Buffer:
    """A row-major tensor that a call allocates: an output, or scratch between two kernels. Sizes may be symbolic."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class Plan:
    """The kernels of one call, for tensors of one layout.

    `tensors` and `scalars` are the names of what a call passes, `mutated` those of the tensors it writes to, `outputs`
    and `scratch` what it allocates. Launches run in order; those with an empty grid are left out, and all of them on
    the meta device. Raises `DeviceError` where the kernels cannot run.
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
        scratch: Mapping[str, Buffer] | None = None,
        launches: Iterable[Launch],
    ) -> None:
        _check_device(op, device)
        allocated = {**outputs, **(scratch or {})}
        names = [*(f"{name}_ptr" for name in (*tensors, *allocated)), *scalars]
        places = {name: place for place, name in enumerate(names)}
        self._device = -1 if device.index is None else device.index
        self._allocated = [(b.shape, contiguous(b.shape), b.dtype, device) for b in allocated.values()]
        self._results = len(outputs)
        self._mutated = [tensors.index(name) for name in mutated]
        real = [launch for launch in launches if prod(launch.grid) and device.type != "meta"]
        self._launchers = tuple(Launcher(launch, places) for launch in real)
        self._compiled = False

    def __call__(self, tensors: tuple[torch.Tensor | None, ...], scalars: tuple[Value, ...] = ()) -> Results:
        """Allocate, launch on the current stream of the tensors' device, and return the outputs.

        The tensors have the layout the plan was made for. Nothing waits for the device.
        """
        if self._device != _current_device() and self._device >= 0:
            with torch.cuda.device(self._device):
                return self(tensors, scalars)
        fresh = [allocate.empty(*about) for about in self._allocated]
        buffers = [*tensors, *fresh]
        if self._compiled:
            stream = _current_stream(self._device)
            values: list[Value] = [None if buffer is None else buffer.data_ptr() for buffer in buffers]
            values += scalars
            for launcher in self._launchers:
                launcher.launch(stream, values)
        else:
            compiled = [launcher.first([*buffers, *scalars]) for launcher in self._launchers]
            self._compiled = bool(compiled) and all(compiled)
        for place in self._mutated:
            _changed(tensors[place])
        if self._results == 1:
            return fresh[0]
        return tuple(fresh[: self._results]) or None


class Plans(dict[Hashable, Plan]):
    """The plans of an op by the layout of their arguments: the most recent `limit` of them."""

    def __init__(self, limit: int = 4096) -> None:
        super().__init__()
        self._limit = limit
        self._lock = Lock()

    def keep(self, key: Hashable, plan: Plan) -> Plan:
        """Remember `plan` under `key` and forget the oldest plan if there are too many."""
        with self._lock:
            self[key] = plan
            if len(self) > self._limit:
                del self[next(iter(self))]
        return plan


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
    raise DeviceError(f"{op}: the tensors are on {device}, where its kernels cannot run; {advice}")
