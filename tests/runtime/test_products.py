"""Products of matrices as steps of a plan: layouts, empty extents, exactness whatever is set, ownership."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch

import fusec.runtime.multiplier
from fusec.runtime import Buffer, Matrix, Plan, Product, ShapeMismatchError, allocate, plan
from fusec.runtime.precision import Settings, settings, under


def matrix(name: str, tensor: torch.Tensor) -> Matrix:
    return Matrix(name, tuple(tensor.shape), tensor.stride())


def multiplier(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype, tf32: bool = False) -> Plan:
    """The plan of `a @ b` for tensors that look like these."""
    shape = (*a.shape[:-1], b.shape[-1])
    strides = torch.empty(shape, device="meta").stride()
    product = Product(matrix("a", a), matrix("b", b), Matrix("out", shape, strides), tf32)
    outputs = {"out": Buffer(shape, dtype)}
    return Plan("multiply", a.device, tensors=("a", "b"), outputs=outputs, launches=(product,))


def check(out: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """That `out` is `a @ b` with K products added in f32 (in f64 for f64) and rounded once."""
    exact, terms = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    wide = torch.float64 if out.dtype == torch.float64 else torch.float32
    bound = a.shape[-1] * torch.finfo(wide).eps * terms * (1 + torch.finfo(out.dtype).eps)
    bound += torch.finfo(out.dtype).eps * exact.abs() + torch.finfo(out.dtype).tiny
    assert ((out.double() - exact).abs() <= bound).all()


OPERANDS: dict[str, Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]] = {
    "row-major": lambda a, b: (a, b),
    "transposed b": lambda a, b: (a, b.transpose(-1, -2).contiguous().transpose(-1, -2)),
    "transposed a": lambda a, b: (a.transpose(-1, -2).contiguous().transpose(-1, -2), b),
    "strided": lambda a, b: (a.repeat_interleave(2, -1)[..., ::2], b.repeat_interleave(3, -2)[..., ::3, :]),
    "shared b": lambda a, b: (a, b[:1].expand_as(b)),
    "shared a": lambda a, b: (a[:1].expand_as(a), b),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("operands", OPERANDS)
def test_any_operands(operands: str, batched: bool, dtype: torch.dtype, device: torch.device) -> None:
    a, b = torch.randn(3, 5, 7).to(device, dtype), torch.randn(3, 7, 4).to(device, dtype)
    a, b = OPERANDS[operands](a, b)
    a, b = (a, b) if batched else (a[2], b[2])
    plan = multiplier(a, b, dtype)
    for _ in range(3):
        check(plan((a, b)), a, b)


def turned(tensor: torch.Tensor) -> torch.Tensor:
    """The same matrices, column-major."""
    return tensor.mT.contiguous().mT


def silent(name: str, tensor: torch.Tensor, stride: int) -> Matrix:
    """The matrix with this stride wherever it says nothing."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return Matrix(name, tuple(tensor.shape), tuple(stride if size == 1 else step for size, step in steps))


@pytest.fixture
def multiplied(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """All that the library has been given: operands and results."""
    seen: list[torch.Tensor] = []

    def watched(settings: Settings, call: Callable[..., object], *ab: torch.Tensor, out: torch.Tensor) -> None:
        seen.extend((*ab, out))
        under(settings, call, *ab, out=out)

    monkeypatch.setattr(fusec.runtime.multiplier, "under", watched)
    return seen


HALVES = [(torch.float16, torch.float32), (torch.bfloat16, torch.float32)]
SAME = [(dtype, dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)]


@pytest.mark.parametrize(("given", "dtype"), HALVES + SAME, ids=str)
@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
@pytest.mark.parametrize("stride", [0, 1, 3, 2**31])
def test_strides_that_say_nothing(
    stride: int,
    batch: tuple[int, ...],
    given: torch.dtype,
    dtype: torch.dtype,
    device: torch.device,
    multiplied: list[torch.Tensor],
) -> None:
    for rows, inner, columns in itertools.product((1, 5), (1, 7), (1, 4)):
        a, b = torch.randn(*batch, rows, inner), torch.randn(*batch, inner, columns)
        a, b, out = a.to(device, given), b.to(device, given), torch.empty(*batch, rows, columns).to(device, dtype)
        for order in itertools.product((torch.Tensor.contiguous, turned), repeat=3):
            tensors = tuple(lay(tensor) for lay, tensor in zip(order, (a, b, out), strict=True))
            matrices = (silent(name, tensor, stride) for name, tensor in zip(("a", "b", "out"), tensors, strict=True))
            plan = Plan("multiply", a.device, tensors=("a", "b", "out"), outputs={}, launches=(Product(*matrices),))
            for _ in range(2):
                tensors[-1].fill_(float("nan"))
                plan(tensors)
                check(tensors[-1], a, b)
    for view in multiplied:
        (rows, columns), (row, column) = view.shape[-2:], view.stride()[-2:]
        assert (column == 1 and row >= columns) or (row == 1 and column >= rows)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_the_sum_of_16_bit_products_in_f32(dtype: torch.dtype, device: torch.device) -> None:
    a, b = torch.randn(5, 64).to(device, dtype), torch.randn(64, 6).to(device, dtype)
    plan = multiplier(a, b, torch.float32)
    for _ in range(2):
        out = plan((a, b))
        assert out.dtype == torch.float32
        check(out, a, b)


@pytest.mark.parametrize("sizes", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("batch", [(), (2,), (1,), (0,)], ids=str)
def test_empty_extents(
    batch: tuple[int, ...], sizes: tuple[int, int, int], device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = allocate.empty
    monkeypatch.setattr(allocate, "empty", lambda *about: real(*about).fill_(float("nan")))
    rows, inner, columns = sizes
    a, b = torch.randn(*batch, rows, inner, device=device), torch.randn(*batch, inner, columns, device=device)
    plan = multiplier(a, b, torch.float32)
    for _ in range(2):
        torch.testing.assert_close(plan((a, b)), a @ b)


def test_an_offset_into_a_buffer(device: torch.device) -> None:
    a, b = torch.randn(2, 3, 8, device=device), torch.randn(8, 5, device=device)
    last = Matrix("a", (3, 4), (8, 1), 24 + 4)
    rows = Matrix("b", (4, 5), (5, 1), 20)
    buffer = Buffer((2, 3, 5), torch.float32)
    products = [Product(last, rows, Matrix("out", (3, 5), (5, 1), start)) for start in (0, 15)]
    plan = Plan("multiply", a.device, tensors=("a", "b"), outputs={"out": buffer}, launches=products)
    for _ in range(2):
        out = plan((a, b))
        check(out[0], a[1, :, 4:], b[4:])
        assert torch.equal(out[0], out[1])


@pytest.mark.parametrize("shapes", [((2, 3), (4, 5), (2, 5)), ((2, 3), (3, 5), (5, 2)), ((1, 2, 3), (3, 5), (1, 2, 5))])
def test_matrices_that_do_not_fit(shapes: tuple[tuple[int, ...], ...]) -> None:
    a, b, out = (matrix(name, torch.empty(shape)) for name, shape in zip("abc", shapes, strict=True))
    with pytest.raises(ShapeMismatchError, match=r"no product: `a` is \[.*\], `b` is \[.*\] and `c` is \["):
        Product(a, b, out)


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
def test_any_mode(mode: Callable[[], object], device: torch.device) -> None:
    a, b, out = (torch.randn(shape, device=device) for shape in ((2, 3), (3, 4), (2, 4)))
    product = Product(matrix("a", a), matrix("b", b), matrix("out", out))
    plan = Plan("multiply", a.device, tensors=("a", "b", "out"), outputs={}, launches=(product,))
    for context in (mode, nullcontext, mode):
        with context(), torch.autocast(device.type, torch.bfloat16):  # type: ignore[attr-defined]
            plan((a, b, out.zero_()))
        check(out, a, b)


def test_the_result_is_that_of_the_call(device: torch.device) -> None:
    pairs = [(torch.randn(2, 3, device=device), torch.randn(3, 4, device=device)) for _ in range(4)]
    plan = multiplier(*pairs[0], torch.float32)
    outs = [plan(pair) for pair in pairs * 2]
    for out, pair in zip(outs, pairs * 2, strict=True):
        check(out, *pair)
    assert all(map(torch.equal, outs[:4], outs[4:]))


def test_memory_is_not_held(device: torch.device) -> None:
    a, b = torch.randn(2, 3, device=device), torch.randn(3, 4, device=device)
    plan = multiplier(a, b, torch.float32)
    out = plan((a, b))
    held = [weakref.ref(tensor.untyped_storage()) for tensor in (a, b, out)]
    del a, b, out
    assert [reference() for reference in held] == [None] * 3


matmul = torch.backends.cuda.matmul
LOOSE: dict[str, Callable[[], None]] = {
    "bf16": lambda: setattr(matmul, "allow_bf16_reduced_precision_reduction", True),
    "bf16 in one piece": lambda: setattr(matmul, "allow_bf16_reduced_precision_reduction", (False, False)),
    "f16": lambda: setattr(matmul, "allow_fp16_reduced_precision_reduction", True),
    "f16 accumulation": lambda: setattr(matmul, "allow_fp16_accumulation", True),
    "tf32": lambda: setattr(matmul, "allow_tf32", True),
    "tf32 by name": lambda: setattr(matmul, "fp32_precision", "tf32"),
    "tf32 for the device": lambda: torch._C._set_fp32_precision_setter("cuda", "all", "tf32"),
    "tf32 everywhere": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "nothing": lambda: None,
}


def observed() -> tuple[object, ...]:
    return (
        torch._C._get_cublas_allow_bf16_reduced_precision_reduction(),
        torch._C._get_cublas_allow_fp16_reduced_precision_reduction(),
        torch._C._get_cublas_allow_fp16_accumulation(),
        torch._C._get_fp32_precision_getter("cuda", "matmul"),
        torch._C._get_fp32_precision_getter("cuda", "all"),
        torch._C._get_fp32_precision_getter("generic", "all"),
        torch._C._get_fp32_precision_getter("mkldnn", "matmul"),
    )


@pytest.fixture
def _restored() -> Iterator[None]:
    yield
    matmul.allow_bf16_reduced_precision_reduction = True
    matmul.allow_fp16_reduced_precision_reduction = True
    matmul.allow_fp16_accumulation = False
    torch.set_float32_matmul_precision("highest")
    for backend, op in [("generic", "all"), ("cuda", "all"), ("cuda", "matmul"), ("mkldnn", "matmul")]:
        torch._C._set_fp32_precision_setter(backend, op, "none")


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("loose", LOOSE)
def test_sums_are_exact_whatever_the_process_has_set(loose: str, tf32: bool) -> None:
    LOOSE[loose]()
    before = observed()
    seen = {}
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        nothing = torch.empty(0)
        under(
            settings(dtype, tf32),
            lambda *_, out, dtype=dtype: seen.update({dtype: observed()}),
            nothing,
            nothing,
            out=nothing,
        )
        assert observed() == before
    assert seen[torch.bfloat16][0] == (False, True)
    assert seen[torch.float16][1:3] == ((False, True), False)
    assert (seen[torch.float32][3] == "tf32") == tf32
    assert seen[torch.float64] == before


@pytest.mark.usefixtures("_restored")
def test_what_is_inherited_stays_inherited() -> None:
    torch.backends.fp32_precision = "tf32"
    under(settings(torch.float32, False), lambda out: None, out=torch.empty(0))
    torch.backends.fp32_precision = "ieee"
    assert torch._C._get_fp32_precision_getter("cuda", "matmul") == "ieee"


@pytest.mark.usefixtures("_restored")
def test_settings_are_put_back_after_an_error() -> None:
    before = observed()
    with pytest.raises(RuntimeError):
        under(settings(torch.bfloat16, False), torch.mm, *[torch.empty(2, 3)] * 2)
    assert observed() == before


def test_a_plan_runs_on_its_own_device(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    """Where another GPU is current, its own is while it runs, with the same arguments."""
    a, b = torch.randn(5, 7, device=device), torch.randn(7, 4, device=device)
    own = multiplier(a, b, torch.float32)
    entered: list[object] = []
    current: list[object] = ["another"]

    class Entering:
        """A class, as `torch.cuda.device` is: PyTorch asks whether what it gets is one of it."""

        def __init__(self, device: object) -> None:
            entered.append(device)

        def __enter__(self) -> None:
            current.append(entered[-1])

        def __exit__(self, *_: object) -> None:
            current.pop()

    monkeypatch.setattr(own, "_several_gpus", True)
    monkeypatch.setattr(plan, "_current_device", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "device", Entering)
    check(own((a, b)), a, b)
    assert entered == [own._device]
    assert len(current) == 1
