"""cuBLASLt itself: right sums of any matrices and types, on the caller's stream, in graphs and in any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from fusec.runtime import Buffer, Matrix, Plan, Product, cublas_lt
from fusec.runtime.multiplier import Multiplier

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.skipif(torch.version.cuda is None, reason="needs cuBLASLt"),
]

TYPES = [
    (torch.bfloat16, torch.bfloat16),
    (torch.bfloat16, torch.float32),
    (torch.float16, torch.float16),
    (torch.float16, torch.float32),
    (torch.float32, torch.float32),
    (torch.float64, torch.float64),
]
LAYOUTS: dict[str, Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]] = {
    "row-major": lambda a, b: (a, b),
    "transposed a": lambda a, b: (a.mT.contiguous().mT, b),
    "transposed b": lambda a, b: (a, b.mT.contiguous().mT),
    "both": lambda a, b: (a.mT.contiguous().mT, b.mT.contiguous().mT),
    "sliced": lambda a, b: (torch.cat([a, a], -1)[..., : a.shape[-1]], torch.cat([b, b], -1)[..., : b.shape[-1]]),
}


@pytest.fixture(autouse=True)
def _by_the_library_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No product is left to PyTorch."""

    def fail(self: Multiplier, addresses: tuple[int, ...]) -> None:
        raise AssertionError("PyTorch multiplied")

    monkeypatch.setattr(Multiplier, "_run", fail)


def multiplier(
    a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype, tf32: bool = False, addend: torch.Tensor | None = None
) -> Plan:
    shape = (*a.shape[:-1], b.shape[-1])
    strides = torch.empty(shape, device="meta").stride()
    views = [Matrix(f"t{place}", tuple(t.shape), t.stride()) for place, t in enumerate((a, b, *given(addend)))]
    product = Product(*views[:2], Matrix("o", shape, strides), tf32, addend=views[2] if addend is not None else None)
    names = tuple(view.name for view in views)
    return Plan("multiply", a.device, tensors=names, outputs={"o": Buffer(shape, dtype)}, launches=(product,))


def given(addend: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    return () if addend is None else (addend,)


def check(
    out: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    fraction: float | None = None,
    addend: torch.Tensor | None = None,
) -> None:
    """That `out` is a sum in f32 (in f64 for f64), of operands rounded by `fraction`, and rounded once."""
    exact, terms = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    for each in given(addend):
        exact, terms = exact + each, terms + each.abs()
    # As many roundings as K normal numbers have by chance, each of them of all terms.
    wide = torch.float64 if out.dtype == torch.float64 else torch.float32
    error = terms * (min(512, 8 * a.shape[-1] ** 0.5) * torch.finfo(wide).eps + (fraction or 0.0))
    # Sums round to f32 on their way; what a result may be are the numbers between these two, each rounded once.
    low, high = ((exact + sign * error).to(wide).to(out.dtype).double() for sign in (-1, 1))
    assert ((low <= out.double()) & (out.double() <= high)).all()


def operands(dtype: torch.dtype, *batch: int, sizes: tuple[int, int, int] = (65, 200, 136)) -> list[torch.Tensor]:
    rows, inner, columns = sizes
    return [torch.randn(*batch, *two, device="cuda").to(dtype) for two in ((rows, inner), (inner, columns))]


@pytest.mark.parametrize(("given", "dtype"), TYPES, ids=str)
@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_matrices(layout: str, batch: tuple[int, ...], given: torch.dtype, dtype: torch.dtype) -> None:
    for sizes in ((65, 200, 136), (1, 200, 136), (65, 1, 136), (65, 200, 1), (7, 9, 11), (16, 65536, 64)):
        a, b = LAYOUTS[layout](*operands(given, *batch, sizes=sizes))
        plan = multiplier(a, b, dtype)
        results = [plan((a, b)) for _ in range(3)]
        check(results[0], a, b)
        assert all(torch.equal(results[0], result) for result in results)


def added(kind: str, dtype: torch.dtype, *shape: int, shift: int = 0) -> torch.Tensor:
    """Rows further apart than they are long, or a vector for all of them, or one for all of each batch."""
    *batch, rows, columns = shape
    if kind == "matrix":
        return torch.randn(*batch, rows, columns + 8, device="cuda").to(dtype)[..., :columns]
    each = [*batch, 1] if kind == "vectors" else []
    vector = torch.randn(*each, columns + shift, device="cuda").to(dtype)[..., shift:]
    return vector.expand(shape)


@pytest.mark.parametrize(("given", "dtype"), TYPES[:-1], ids=str)
@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
@pytest.mark.parametrize("kind", ["matrix", "vector", "vectors"])
@pytest.mark.parametrize("by_library", [True, False])
def test_addends(
    by_library: bool,
    kind: str,
    batch: tuple[int, ...],
    given: torch.dtype,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()  # the library may refuse what lies at odd places
    if not by_library:
        monkeypatch.setattr(cublas_lt, "library", lambda: None)
    for sizes in ((65, 200, 136), (64, 64, 128), (16, 65536, 64), (5, 9, 11), (1, 40, 24), (40, 1, 33), (300, 512, 1)):
        for shift in (0, 1):
            a, b = LAYOUTS["transposed b"](*operands(given, *batch, sizes=sizes))
            addend = added(kind, dtype, *batch, sizes[0], sizes[2], shift=shift)
            plan = multiplier(a, b, dtype, addend=addend)
            results = [plan((a, b, addend)) for _ in range(3)]
            check(results[0], a, b, addend=addend)
            assert all(torch.equal(results[0], result) for result in results)
            (step,) = plan._steps
            assert isinstance(step, Multiplier)
            if (given, sizes[0], shift) == (torch.bfloat16, 64, 0):
                assert (step._gemm is not None) == by_library


@pytest.mark.parametrize("inner", [200, 2**18])
def test_another_vector(inner: int) -> None:
    """It may lie anywhere."""
    a, b = operands(torch.bfloat16, sizes=(64, inner, 64))
    vectors = [added("vector", torch.bfloat16, 64, 64) for _ in range(4)]
    plan = multiplier(a, b, torch.bfloat16, addend=vectors[0])
    outs = [plan((a, b, vector)) for vector in vectors * 2]
    for out, vector in zip(outs, vectors * 2, strict=True):
        check(out, a, b, addend=vector)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("shift", range(4))
def test_every_alignment(shift: int, dtype: torch.dtype) -> None:
    a, b = (torch.randn(64 * 64 + 8, device="cuda").to(dtype)[shift:][: 64 * 64].view(64, 64) for _ in range(2))
    plan = multiplier(a, b, dtype)
    for _ in range(2):
        check(plan((a, b)), a, b)


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_taken_where_it_is_asked_for(tf32: bool) -> None:
    a, b = operands(torch.float32, sizes=(256, 4096, 256))
    out = multiplier(a, b, torch.float32, tf32)((a, b))
    check(out, a, b, 2**-10 if tf32 else None)
    exact = a.double() @ b.double()
    assert (((out.double() - exact) / exact.norm()).norm() > 2**-15) == tf32


def test_long_sums_that_need_a_workspace() -> None:
    a, b = operands(torch.bfloat16, sizes=(64, 2**20, 64))
    plan = multiplier(a, b, torch.bfloat16)
    for _ in range(2):
        check(plan((a, b)), a, b)
    (step,) = plan._steps
    assert isinstance(step, Multiplier)
    assert step._gemm is not None
    assert step._gemm._needed


def test_a_stream_of_the_caller() -> None:
    a, b = operands(torch.bfloat16)
    plan = multiplier(a, b, torch.bfloat16)
    plan((a, b))
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late = a * 3
        out = plan((late, b))
    stream.synchronize()
    check(out, a * 3, b)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("inner", [200, 2**18])
def test_capture_in_a_graph(inner: int, warm: bool) -> None:
    a, b = operands(torch.bfloat16, sizes=(64, inner, 64))
    plan = multiplier(a, b, torch.bfloat16)
    if warm:
        plan((a, b))
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outs = [plan((a, b)), plan((b.mT.contiguous(), a.mT.contiguous())).mT]
    for _ in range(3):
        a.normal_()
        graph.replay()
        for out in outs:
            check(out, a, b)


def test_any_thread() -> None:
    a, b = operands(torch.bfloat16, sizes=(64, 2**18, 64))
    plan = multiplier(a, b, torch.bfloat16)
    expected = plan((a, b))
    held = [torch.empty_like(expected) for _ in range(8)]  # so that no thread asks the driver for memory
    torch.cuda.synchronize()
    del held
    results: list[torch.Tensor] = []

    def work() -> None:
        results.extend(plan((a, b)) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.cuda.synchronize()
    assert len(results) == 160
    assert all(torch.equal(result, expected) for result in results)


def test_without_the_library_pytorch_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cublas_lt, "library", lambda: None)
    a, b = operands(torch.bfloat16)
    with pytest.raises(AssertionError, match="PyTorch multiplied"):
        multiplier(a, b, torch.bfloat16)((a, b))
