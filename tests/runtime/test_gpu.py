"""What only a GPU can show: streams, graphs, devices, alignment, hooks, and the host time of a warm call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import triton
from sample_ops import quantize_per_tensor as quantizing
from sample_ops import rmsnorm as normalizing
from sample_ops import rope_like as rotating

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def arguments(device: str = "cuda", rows: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, 1024, device=device), torch.randn(1024, device=device)


def test_a_stream_of_the_caller() -> None:
    x, weight = arguments(rows=4096)
    normalizing.rmsnorm(x, weight)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late = x * 3
        y = normalizing.rmsnorm(late, weight)
        q, scale = quantizing.quantize_per_tensor(late)
    stream.synchronize()
    torch.testing.assert_close(y, normalizing.reference(x * 3, weight))
    torch.testing.assert_close(scale, quantizing.reference(x * 3)[1])
    assert not q.float().isnan().any()


def test_capture_in_a_graph() -> None:
    x, weight = arguments()
    normalizing.rmsnorm(x, weight)
    quantizing.quantize_per_tensor(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = normalizing.rmsnorm(x, weight)
        _, scale = quantizing.quantize_per_tensor(y)
    for _ in range(3):
        x.normal_()
        graph.replay()
        torch.testing.assert_close(y, normalizing.reference(x, weight))
        torch.testing.assert_close(scale, quantizing.reference(y)[1])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second GPU")
def test_a_device_that_is_not_the_current_one() -> None:
    for device in ("cuda:1", "cuda:0", "cuda:1"):
        for _ in range(2):
            x, weight = arguments(device)
            y = normalizing.rmsnorm(x, weight)
            assert y.device == torch.device(device)
            assert torch.cuda.current_device() == 0
            torch.testing.assert_close(y, normalizing.reference(x, weight))
    with torch.cuda.device(1):
        x, weight = arguments("cuda:1")
        torch.testing.assert_close(normalizing.rmsnorm(x, weight), normalizing.reference(x, weight))
        x, weight = arguments("cuda:0")
        torch.testing.assert_close(normalizing.rmsnorm(x, weight), normalizing.reference(x, weight))


def test_every_alignment_of_the_same_layout() -> None:
    buffer, weight = torch.randn(16 * 1024 + 64, device="cuda", dtype=torch.bfloat16), torch.randn(1024, device="cuda")
    weight = weight.bfloat16()
    for _ in range(2):
        for start in (0, 1, 8, 4, 2):
            x = buffer[start : start + 16 * 1024].view(16, 1024)
            torch.testing.assert_close(normalizing.rmsnorm(x, weight), normalizing.reference(x, weight))


def test_launches_over_axes_that_do_not_collapse() -> None:
    x, weight = torch.randn(3, 4, 5, 6, 128, device="cuda").permute(3, 1, 0, 2, 4), torch.randn(128, device="cuda")
    for _ in range(2):
        torch.testing.assert_close(normalizing.rmsnorm(x, weight), normalizing.reference(x, weight))


def test_launch_hooks_see_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def hook(metadata) -> None:
        seen.append(metadata.get()["name"])

    x, weight = arguments()
    normalizing.rmsnorm(x, weight)
    triton.knobs.runtime.launch_enter_hook.add(hook)
    try:
        normalizing.rmsnorm(x, weight)
    finally:
        triton.knobs.runtime.launch_enter_hook.remove(hook)
    normalizing.rmsnorm(x, weight)
    assert seen == ["_rmsnorm_resident"]


def test_a_warm_call_waits_for_nothing() -> None:
    x, weight = arguments()
    tables = torch.randn(16, 64, device="cuda")
    calls: list[Callable[[], object]] = [
        lambda: normalizing.rmsnorm(x, weight),
        lambda: quantizing.quantize_per_tensor(x),
        lambda: rotating.rope_like(x[None], weight, tables, tables),
    ]
    for call in calls:
        call()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for call in calls:
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_more_than_32_bits_of_elements() -> None:
    if torch.cuda.mem_get_info()[0] < 24 * 2**30:
        pytest.skip("needs 24 GB of free memory")
    x = torch.randn(2**21 + 3, 1031, device="cuda", dtype=torch.bfloat16)
    weight = torch.randn(1031, device="cuda", dtype=torch.bfloat16)
    y = normalizing.rmsnorm(x, weight)
    for rows in (slice(0, 8), slice(-8, None)):
        torch.testing.assert_close(y[rows], normalizing.reference(x[rows], weight))


def test_a_warm_call_costs_the_host_no_more_than_rms_norm() -> None:
    x, weight = (tensor.bfloat16() for tensor in arguments())
    calls = {
        "ours": lambda: normalizing.rmsnorm(x, weight, 1e-6),
        "torch": lambda: F.rms_norm(x, (1024,), weight, 1e-6),
    }
    with torch.no_grad():
        times: dict[str, list[float]] = {name: [_loop(call) for _ in range(1)] for name, call in calls.items()}
        for _ in range(9):
            for name, call in calls.items():
                times[name].append(_loop(call))
    assert statistics.median(times["ours"]) <= statistics.median(times["torch"])


def _loop(call: Callable[[], object], count: int = 500) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count
