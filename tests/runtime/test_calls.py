"""Calls of ops in the form of generated files: layouts, dtypes, empty tensors, scalars, allocation, kept plans."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sample_ops import accumulate as accumulating
from sample_ops import quantize_per_tensor as quantizing
from sample_ops import rmsnorm as normalizing
from sample_ops import rope_like as rotating

from fusec.runtime import ArgumentError, DeviceError, Launch, Plan, allocate
from fusec.runtime.cache import BoundedCache

LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda x: x,
    "transposed lead": lambda x: x.transpose(0, 2),
    "reversed lead": lambda x: x.permute(2, 1, 0, 3),
    "strided rows": lambda x: x[:, ::2],
    "strided columns": lambda x: x[..., ::3],
    "transposed columns": lambda x: x.transpose(1, 3),
    "broadcast": lambda x: x[:, :1].expand(-1, 3, -1, -1),
    "misaligned": lambda x: x[..., 1:],
    "one row": lambda x: x[0, 0, 0],
    "no rows": lambda x: x[:0],
    "no columns": lambda x: x[..., :0],
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("view", LAYOUTS)
def test_any_layout(view: str, dtype: torch.dtype, device: torch.device) -> None:
    x = LAYOUTS[view](torch.randn(2, 3, 4, 8, dtype=torch.float64).to(device, dtype))
    weight = torch.randn(x.shape[-1], device=device).to(dtype)
    eps = 2.0**-20  # a number that f32 holds exactly
    wanted = normalizing.reference(x.double(), weight.double(), eps)
    for _ in range(2):
        y = normalizing.rmsnorm(x, weight, eps)
        assert y.shape == x.shape
        assert y.dtype == dtype
        assert y.is_contiguous()
        # The kernel adds at most 8 squares, takes a root and multiplies twice before it rounds.
        step = torch.finfo(dtype if dtype == torch.float64 else torch.float32).eps
        bound = wanted.abs() * (16 * step + torch.finfo(dtype).eps) + torch.finfo(dtype).tiny
        assert ((y.double() - wanted).abs() <= bound).all()


def test_another_eps_needs_no_other_plan(device: torch.device) -> None:
    x, weight = torch.randn(3, 8, device=device), torch.ones(8, device=device)
    small = normalizing.rmsnorm(x, weight, 1e-6)
    plans = len(normalizing._OP._known)
    large = normalizing.rmsnorm(x, weight, 1)
    assert len(normalizing._OP._known) == plans
    assert (large.abs() < small.abs()).all()


def test_outputs_are_allocated_in_one_place(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = allocate.empty

    def poisoned(shape, strides, dtype, device):
        asked.append((shape, dtype))
        return real(shape, strides, dtype, device).fill_(float("nan"))

    monkeypatch.setattr(allocate, "empty", poisoned)
    q, scale = quantizing.quantize_per_tensor(torch.randn(5, 7, device=device))
    assert asked == [((5, 7), torch.float8_e4m3fn), ((), torch.float32), ((5,), torch.float32)]
    assert not q.float().isnan().any()
    assert not scale.isnan()


def test_two_kernels_and_two_outputs(device: torch.device) -> None:
    x = torch.randn(6, 16, device=device)
    wanted, wanted_scale = quantizing.reference(x)
    for _ in range(2):
        q, scale = quantizing.quantize_per_tensor(x)
        torch.testing.assert_close(scale, wanted_scale)
        torch.testing.assert_close(q.float() * scale, x, rtol=2**-4, atol=float(scale) * 2**-10)
        assert (q.float() - wanted.float()).abs().max() <= 32


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
def test_an_output_is_written_when_the_input_is_empty(shape: tuple[int, int], device: torch.device) -> None:
    x = torch.empty(shape, device=device)
    q, scale = quantizing.quantize_per_tensor(x)
    assert q.shape == shape
    assert scale == quantizing.reference(x)[1]


@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("table", [(5, 8), (1, 5, 1, 8)])
def test_optional_tensor_choice_and_squeezed_table(
    activation: str, biased: bool, table: tuple[int, ...], device: torch.device
) -> None:
    x, weight = torch.randn(2, 5, 24, device=device), torch.randn(24, device=device)
    cos, sin = torch.randn(table, device=device), torch.randn(5, 8, device=device)
    bias = torch.randn(24, device=device) if biased else None
    for num_heads in (None, 3):
        y = rotating.rope_like(x, weight, cos, sin, bias, activation, num_heads=num_heads)
        torch.testing.assert_close(y, rotating.reference(x, weight, cos, sin, bias, activation))


def test_a_mutated_tensor_changes_and_says_so(device: torch.device) -> None:
    total, x = torch.zeros(100, device=device), torch.randn(100, device=device)
    version = total._version
    assert accumulating.accumulate(total, x, 2.0, 3) is None
    torch.testing.assert_close(total, 6 * x)
    assert total._version > version
    with torch.inference_mode():
        fresh = torch.zeros(100, device=device)
        accumulating.accumulate(fresh, x, 0.5)
    torch.testing.assert_close(fresh, 0.5 * x)


def test_the_meta_device_computes_nothing() -> None:
    y = normalizing.rmsnorm(torch.empty(3, 8, device="meta"), torch.empty(8, device="meta"))
    assert (y.device.type, y.shape) == ("meta", (3, 8))


def test_cpu_tensors_need_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(DeviceError, match=r"rmsnorm: the tensors are on cpu, .*set TRITON_INTERPRET=1"):
        normalizing.rmsnorm(torch.ones(1, 77), torch.ones(77))


def test_the_oldest_value_is_forgotten() -> None:
    kept: BoundedCache[int] = BoundedCache(limit=2)
    assert [kept.put(key, number) for number, key in enumerate("abc")] == [0, 1, 2]
    assert list(kept) == ["b", "c"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 8},  # too few
        {"n": 8, "total_n": 1, "x_n": 1, "BLOCK": 8, "rows": 1},  # not the kernel's
        {"factor": 1.0, "n": 8, "total_n": 1, "x_n": 1, "BLOCK": 8},  # a scalar comes after it
    ],
)
def test_a_launch_names_every_argument_once(wrong: dict[str, int], device: torch.device) -> None:
    launch = Launch(accumulating._accumulate, (1,), wrong, options=({},))
    with pytest.raises(TypeError, match="takes its pointers and scalars first and each argument once"):
        Plan("op", device, tensors=("total", "x"), scalars=("factor", "count"), outputs={}, launches=(launch,))


@pytest.mark.parametrize(("wrong", "words"), [(None, "None"), (1.0, "of type float"), ([1, 2], "of type list")])
def test_what_is_no_tensor_is_named(wrong: object, words: str, device: torch.device) -> None:
    x = torch.randn(3, 8, device=device)
    normalizing.rmsnorm(x, torch.ones(8, device=device))
    with pytest.raises(ArgumentError, match=f"rmsnorm: `weight` should be a tensor, but is {words}"):
        normalizing.rmsnorm(x, wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=f"rmsnorm: `x` should be a tensor, but is {words}"):
        normalizing.rmsnorm(wrong, x)  # type: ignore[arg-type]


FORMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "nested": lambda x: torch.nested.nested_tensor([x, x[:2]]),
    "jagged": lambda x: torch.nested.nested_tensor([x, x[:2]], layout=torch.jagged),
    "sparse": lambda x: x.to_sparse(),
    "rows": lambda x: x.to_sparse_csr(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("warm", [False, True])
@torch.no_grad()
def test_a_tensor_without_strides_is_told(form: str, warm: bool, device: torch.device) -> None:
    x, weight = torch.randn(3, 8, device=device), torch.randn(8, device=device)
    normalizing._OP.forget()
    if warm:
        normalizing.rmsnorm(x, weight, 1e-6)
    with pytest.raises(ArgumentError, match=r"rmsnorm: `x` should be a dense tensor, but is .*; pass"):
        normalizing.rmsnorm(FORMS[form](x), weight, 1e-6)
