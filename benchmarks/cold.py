"""What the benchmarks share: a timer with a cold cache, how wrong a result is, and what it was made with."""

from __future__ import annotations

import platform
from collections.abc import Callable
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
