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
from sample_ops import rmsnorm_linear as projecting
from sample_ops import rope_like as rotating

import fusec
from fusec.runtime import Buffer, Matrix, Plan, Product

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
    tables, projection = torch.randn(16, 64, device="cuda"), torch.randn(48, 1024, device="cuda")
    calls: list[Callable[[], object]] = [
        lambda: normalizing.rmsnorm(x, weight),
        lambda: quantizing.quantize_per_tensor(x),
        lambda: rotating.rope_like(x[None], weight, tables, tables),
        lambda: projecting.rmsnorm_linear(x, weight, projection),
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


def linear_arguments(device: str = "cuda") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.randn(16, 1024, device=device),
        torch.randn(1024, device=device),
        torch.randn(512, 1024, device=device) / 32,
    )


def linear_check(y: torch.Tensor, x: torch.Tensor, gain: torch.Tensor, proj: torch.Tensor) -> None:
    torch.testing.assert_close(y, projecting.reference(x, gain, proj), rtol=1e-4, atol=1e-4)


def test_a_graph_that_no_call_was_before_follows_its_weights() -> None:
    x, gain, proj = linear_arguments()
    projecting.rmsnorm_linear(x, gain, proj)
    gain.normal_()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = projecting.rmsnorm_linear(x, gain, proj)
    for _ in range(3):
        x.normal_()
        gain.normal_()
        proj.neg_()
        graph.replay()
        linear_check(y, x, gain, proj)
    linear_check(projecting.rmsnorm_linear(x, gain, proj), x, gain, proj)


@pytest.mark.parametrize("renew", [fusec.weights_changed, None], ids=["said", "called"])
def test_a_graph_reads_what_is_renewed(renew: Callable[[], None] | None) -> None:
    x, gain, proj = linear_arguments()
    projecting.rmsnorm_linear(x, gain, proj)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = projecting.rmsnorm_linear(x, gain, proj)
    graph.replay()
    linear_check(y, x, gain, proj)
    for _ in range(2):
        old = proj.clone()
        proj.neg_()
        graph.replay()
        linear_check(y, x, gain, old)
        if renew:
            renew()
        else:
            projecting.rmsnorm_linear(x, gain, proj)
        graph.replay()
        linear_check(y, x, gain, proj)


def test_compiled_into_graphs() -> None:
    x, gain, proj = linear_arguments()
    compiled = torch.compile(lambda x: projecting.rmsnorm_linear(x + 1, gain, proj) * 2, mode="reduce-overhead")
    for _ in range(3):
        for _ in range(4):
            torch.compiler.cudagraph_mark_step_begin()
            linear_check(compiled(x) / 2, x + 1, gain, proj)
        proj.neg_()
        fusec.weights_changed()


def test_values_prepared_on_one_stream_serve_another() -> None:
    x, gain, proj = linear_arguments()
    streams = [torch.cuda.Stream() for _ in range(4)]
    for _ in range(5):
        torch.cuda.synchronize()
        proj.neg_()
        outs = []
        for stream in streams:
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                outs.append(projecting.rmsnorm_linear(x, gain, proj))
        torch.cuda.synchronize()
        for y in outs:
            linear_check(y, x, gain, proj)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second GPU")
def test_values_and_products_on_several_devices() -> None:
    calls = [linear_arguments(device) for device in ("cuda:1", "cuda:0")]
    for _ in range(3):
        for call in calls:
            y = projecting.rmsnorm_linear(*call)
            assert y.device == call[0].device
            linear_check(y, *call)
            call[2].neg_()
    assert torch.cuda.current_device() == 0


LOOSE: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "tf32": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    "f16 accumulation": lambda: setattr(torch.backends.cuda.matmul, "allow_fp16_accumulation", True),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("loose", LOOSE)
@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
def test_products_add_in_f32(batch: tuple[int, ...], loose: str, dtype: torch.dtype) -> None:
    rows, inner, columns = 16, 65536, 64  # few and long sums, which the library splits
    a = torch.randn(*batch, rows, inner, device="cuda", dtype=dtype) / 64
    b = torch.randn(*batch, columns, inner, device="cuda", dtype=dtype).transpose(-1, -2)
    exact, terms = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    LOOSE[loose]()
    try:
        for out in {dtype, torch.float32}:
            shape = (*batch, rows, columns)
            matrices = [Matrix(name, tuple(t.shape), t.stride()) for name, t in (("a", a), ("b", b))]
            strides = torch.empty(shape, device="meta").stride()
            plan = Plan(
                "multiply",
                a.device,
                tensors=("a", "b"),
                outputs={"out": Buffer(shape, out)},
                launches=(Product(*matrices, Matrix("out", shape, strides)),),
            )
            results = [plan((a, b)) for _ in range(3)]
            assert all(torch.equal(results[0], result) for result in results[1:])
            # One rounding to `out`, and additions in f32: of some hundreds in a row at the very most.
            bound = torch.finfo(out).eps * exact.abs() + 512 * torch.finfo(torch.float32).eps * terms
            assert ((results[0].double() - exact).abs() <= bound).all()
    finally:
        torch.backends.cuda.matmul.allow_fp16_accumulation = False
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
@pytest.mark.parametrize("rows", [1, 16])
def test_a_warm_product_allocates_nothing(rows: int, batch: tuple[int, ...]) -> None:
    a, b = (torch.randn(*batch, *sizes, device="cuda").bfloat16() for sizes in ((rows, 64), (64, 32)))
    out = torch.empty(*batch, rows, 32, device="cuda")
    matrices = []
    for name, tensor in (("a", a), ("b", b), ("out", out)):
        *steps, row, column = tensor.stride()
        strides = (*steps, 0 if tensor.shape[-2] == 1 else row, column)
        matrices.append(Matrix(name, tuple(tensor.shape), strides))
    plan = Plan("multiply", a.device, tensors=("a", "b", "out"), outputs={}, launches=(Product(*matrices),))
    allocated = []
    for _ in range(4):
        plan((a, b, out))
        allocated.append(torch.cuda.memory_stats()["allocation.all.allocated"])
    assert allocated[-1] == allocated[1]


def test_host_time_of_prepared_values_and_products(record_property: Callable[[str, object], None]) -> None:
    x, gain, proj = (tensor.bfloat16() for tensor in linear_arguments())
    calls: dict[str, Callable[[], object]] = {
        "rmsnorm_linear": lambda: projecting.rmsnorm_linear(x, gain, proj, None, 1e-6),
        "rmsnorm": lambda: normalizing.rmsnorm(x, gain, 1e-6),
        "mm": lambda: torch.mm(x, proj.T),
        "planned anew": lambda: (projecting._OP.forget(), projecting.rmsnorm_linear(x, gain, proj, None, 1e-6)),
    }
    with torch.no_grad():
        # So few that the queue of the device is never full, which would be waited for.
        times = {name: min(_loop(call, 100) for _ in range(10)) for name, call in calls.items()}
    for name, seconds in times.items():
        record_property(name, f"{seconds * 1e6:.2f} us")
    assert times["rmsnorm_linear"] < times["planned anew"]


def _loop(call: Callable[[], object], count: int = 500) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count
