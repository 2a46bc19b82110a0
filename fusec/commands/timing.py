"""How long calls take on a GPU: the device's time with a cold cache, and what a call costs the host.

Candidates are timed in turn within every round, so that a clock that drifts meets all of them alike. The device runs a
captured CUDA graph where the call can be captured, so host time does not hide in the figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeAlias

import torch

Call: TypeAlias = Callable[[], Any]

CACHE_BYTES = 256 * 2**20
"""Read or written between two calls: more than the second-level cache of any GPU."""

HOST_CALLS = 200


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds of one call: on the device, one median per round, and on the host while the device keeps up."""

    rounds: tuple[float, ...]
    host: float
    captured: bool

    @property
    def device(self) -> float:
        """The median over all rounds."""
        return median(self.rounds)


def time_calls(calls: Mapping[str, Call], rounds: int = 7, repeats: int = 15) -> dict[str, Timing]:
    """The timing of every call, all on the current device. Their results are allocated and dropped."""
    # What was written would still have to go to memory while the call runs; what was read is dropped.
    swept = torch.ones(CACHE_BYTES // 4, device="cuda")
    replays = {name: capture(call) for name, call in calls.items()}
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(median(device_times(replays[name] or call, swept.sum, repeats)))
    return {
        name: Timing(tuple(found[name]), _host_time(call), replays[name] is not None) for name, call in calls.items()
    }


def capture(call: Call) -> Call | None:
    """A replay of the call as a CUDA graph, or None when it cannot be captured."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            call()
    except Exception:  # a library of others raises what it likes where it cannot be captured
        torch.cuda.synchronize()
        return None
    return graph.replay


def device_times(call: Call, sweep: Call, repeats: int) -> list[float]:
    """Microseconds of the device for each of so many calls, before each of which `sweep` clears the cache."""
    starts, ends = _events(repeats), _events(repeats)
    for start, end in zip(starts, ends, strict=True):
        sweep()
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) * 1e3 for start, end in zip(starts, ends, strict=True)]


def _events(count: int) -> list[torch.cuda.Event]:
    return [torch.cuda.Event(enable_timing=True) for _ in range(count)]  # type: ignore[no-untyped-call]


def _host_time(call: Call) -> float:
    torch.cuda.synchronize()
    times = []
    for _ in range(HOST_CALLS):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e6)
        if len(times) % 20 == 0:
            torch.cuda.synchronize()
    return median(times)
