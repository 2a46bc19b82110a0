"""What the benchmarks share: graphs timed by turns with a cold cache, how wrong a result is, what it was made with."""

from __future__ import annotations

import platform
import random
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import triton


class ColdTimer:
    """Times one call, in us, with a cold L2; the sweep before it also hides the time the host takes to launch."""

    def __init__(self) -> None:
        self._sweep = torch.ones(128 * 1024 * 1024, dtype=torch.float32, device="cuda")

    def __call__(self, call: Callable[[], Any]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._sweep.sum()
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e3


def captured(call: Callable[[], Any]) -> torch.cuda.CUDAGraph:
    """A call as a CUDA graph, which takes the host no time to launch. It has to have been made before."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        call()
    return graph


def interleaved(graphs: Mapping[str, torch.cuda.CUDAGraph], timer: ColdTimer, rounds: int) -> dict[str, float]:
    """The median time of each graph, in us; in every round all are replayed once, in an order of its own."""
    samples: dict[str, list[float]] = {name: [] for name in graphs}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(graphs), len(graphs)):
            samples[name].append(timer(graphs[name].replay))
    return {name: statistics.median(values) for name, values in samples.items()}


def called(module: str) -> str:
    """The command that a benchmark was started by, but for where files lie."""
    given = sys.argv[1:]
    words = (
        "OUT" if before == "--out" else Path(word).name if "/" in word else word
        for before, word in zip(["", *given], given, strict=False)
    )
    return " ".join(["python -m", module, *words])


def about(command: str, rounds: int) -> dict[str, object]:
    """The command, device and versions that figures belong to."""
    return {
        "command": command,
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": platform.python_version(),
        "rounds": rounds,
    }


def listed(results: Any) -> tuple[torch.Tensor, ...]:
    """One result or several, as several."""
    return results if isinstance(results, tuple) else (results,)


def relative_error(got: torch.Tensor, exact: torch.Tensor) -> float:
    """The norm of the difference from the exact result, relative to that of the result."""
    difference = (got.double() - exact).norm()
    return float(difference / exact.norm().clamp_min(1e-30))
