"""The interpreter computes what an NVIDIA GPU was seen to compute; these tests hold on a GPU as they stand."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import interpreter as stock

from fusec.interpreter import conversions, exact, interpreting
from fusec.interpreter.exact import _float_remainder
from fusec.testing import interpreter_selftest

interpreted = pytest.mark.skipif(not interpreting(), reason="about the interpreter alone")


@triton.jit
def binary_kernel(a_ptr, b_ptr, y_ptr, OPERATION: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    a = tl.load(a_ptr + place)
    b = tl.load(b_ptr + place)
    if OPERATION == "add":
        y = a + b
    elif OPERATION == "multiply":
        y = a * b
    elif OPERATION == "divide":
        y = a / b
    elif OPERATION == "maximum":
        y = tl.maximum(a, b)
    elif OPERATION == "maximum_nan":
        y = tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
    elif OPERATION == "clamp":
        y = tl.clamp(a, b, b)
    elif OPERATION == "less":
        y = (a < b).to(tl.float32)
    else:
        y = tl.where(a < b, a, b)
    tl.store(y_ptr + place, y.to(y_ptr.dtype.element_ty))


@triton.jit
def largest(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def first_of_equals(a, i, b, j):
    take = a > b or (a == b and i < j)
    return tl.where(take, a, b), tl.where(take, i, j)


@triton.jit
def reduce_kernel(x_ptr, y_ptr, OPERATION: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + place)
    if OPERATION == "sum":
        y = tl.sum(x, 0)
    elif OPERATION == "max":
        y = tl.max(x, 0)
    elif OPERATION == "largest":
        y = tl.reduce(x.to(tl.float32), 0, largest)
    else:
        _, y = tl.reduce((x.to(tl.float32), place), 0, first_of_equals)
    tl.store(y_ptr, y.to(tl.float32))


@triton.jit
def block_sum_kernel(x_ptr, y_ptr, AXIS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    x = tl.load(x_ptr + tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :])
    y = tl.sum(x, AXIS, keep_dims=True)
    tl.store(y_ptr + tl.arange(0, ROWS if AXIS == 1 else COLUMNS), y.reshape(ROWS if AXIS == 1 else COLUMNS))


@triton.jit
def scalar_kernel(y_ptr, value):
    tl.store(y_ptr, value.to(tl.float64))


@triton.jit
def annotated_kernel(y_ptr, value: tl.int64):
    tl.store(y_ptr, value * value)


@triton.jit
def loop_kernel(x_ptr, y_ptr, count, BLOCK: tl.constexpr):
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, count, BLOCK):
        place = start + tl.arange(0, BLOCK)
        total += tl.load(x_ptr + place, mask=place < count, other=0.0).to(tl.float32)
    tl.store(y_ptr, tl.sum(total, 0))


def binary(operation: str, a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    y = torch.empty(a.shape, dtype=dtype or a.dtype, device=a.device)
    binary_kernel[(1,)](a, b, y, OPERATION=operation, BLOCK=a.numel())
    return y


def reduced(operation: str, x: torch.Tensor) -> float:
    y = torch.empty(1, device=x.device)
    reduce_kernel[(1,)](x, y, OPERATION=operation, BLOCK=x.numel())
    return y.item()


def drawn(dtype: torch.dtype, device: torch.device, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4096, generator=generator) * torch.exp2(torch.randint(-12, 12, (4096,), generator=generator))
    return x.to(device, dtype)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float16], ids=str)
def test_every_code_is_read_and_every_number_rounded_as_torch_does(dtype: torch.dtype, device: torch.device) -> None:
    stored = interpreter_selftest.codes(dtype).to(device)
    assert same(interpreter_selftest.converted(stored, torch.float32), stored.to(torch.float32))
    numbers, nearest = interpreter_selftest.roundings(dtype)
    got = interpreter_selftest.converted(numbers.to(device), dtype)
    assert same(got.float(), nearest.to(device).float())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_f8_saturates_and_keeps_nan(dtype: torch.dtype, device: torch.device) -> None:
    x = torch.tensor([math.inf, -math.inf, 1e30, -1e30, math.nan, -math.nan], device=device)
    got = interpreter_selftest.converted(x, dtype).float().tolist()
    top = torch.finfo(dtype).max
    assert got[:4] == [top, -top, top, -top]
    assert math.isnan(got[4])
    assert math.isnan(got[5])


def test_f64_to_bf16_rounds_once(device: torch.device) -> None:
    beside = torch.tensor([1 + 2.0**-8 + 2.0**-40, 1 + 2.0**-8 - 2.0**-40, 1 + 2.0**-8], dtype=torch.float64)
    got = interpreter_selftest.converted(beside.to(device), torch.bfloat16)
    assert got.float().tolist() == [1 + 2.0**-7, 1.0, 1.0]


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [
        (torch.int8, [-128, 127, 44, -1, 0, 0]),
        (torch.uint8, [128, 0, 44, 255, 0, 0]),
        (torch.int16, [128, -129, 300, 32767, -32768, 0]),
        (torch.int32, [128, -129, 300, 2**31 - 1, -(2**31), 0]),
        (torch.int64, [128, -129, 300, 2**63 - 1, -(2**63), -(2**63)]),
    ],
    ids=str,
)
def test_float_to_integer_as_seen_on_the_gpu(dtype: torch.dtype, wanted: list[int], device: torch.device) -> None:
    x = torch.tensor([128.9, -129.9, 300.0, math.inf, -math.inf, math.nan], device=device)
    assert interpreter_selftest.converted(x, dtype).tolist() == wanted


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (torch.float64, torch.float8_e4m3fn),
        (torch.float8_e5m2, torch.float64),
        (torch.float8_e5m2, torch.float8_e4m3fn),
        (torch.float8_e5m2, torch.bfloat16),
    ],
    ids=str,
)
@interpreted
def test_conversions_that_the_gpu_lacks_are_refused(source: torch.dtype, target: torch.dtype) -> None:
    with pytest.raises(TypeError, match="go through f32"):
        interpreter_selftest.converted(torch.ones(4).to(source), target)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("operation", "meaning"),
    [
        ("add", torch.add),
        ("multiply", torch.mul),
        ("maximum", torch.fmax),
        ("maximum_nan", torch.maximum),
        ("where", lambda a, b: torch.where(a < b, a, b)),
        ("less", lambda a, b: (a < b).float()),
    ],
)
def test_arithmetic_rounds_once_to_its_type(operation, meaning, dtype: torch.dtype, device: torch.device) -> None:
    a, b = drawn(dtype, device, 1), drawn(dtype, device, 2)
    a[:8], b[4:12] = math.nan, math.nan
    assert same(binary(operation, a, b), meaning(a.float(), b.float()).to(dtype))


def test_clamp_drops_nan_as_the_gpu_does(device: torch.device) -> None:
    a = torch.tensor([math.nan, 1.0], device=device)
    assert binary("clamp", a, torch.zeros(2, device=device)).tolist() == [0.0, 0.0]


def test_maximum_of_a_row_drops_nan_unless_told_otherwise(device: torch.device) -> None:
    x = torch.arange(64.0, device=device)
    x[5] = math.nan
    assert reduced("max", x) == 63.0
    assert math.isnan(reduced("largest", x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_sum_in_a_narrow_type_shows_its_rounding(dtype: torch.dtype, device: torch.device) -> None:
    x = drawn(dtype, device, 3)
    exact_sum = x.double().sum().item()
    wide, narrow = reduced("sum", x.float()), reduced("sum", x)
    assert abs(wide - exact_sum) < abs(narrow - exact_sum)


def test_a_sum_passes_through_few_additions(device: torch.device) -> None:
    """One chain of 4096 additions would lose every 1 beside 2**24; a tree loses at most those of one subtree."""
    x = torch.ones(4096, device=device)
    x[0] = 2.0**24
    assert reduced("sum", x) > 2.0**24 + 4000


def test_combine_functions_may_use_truth_operators(device: torch.device) -> None:
    x = torch.tensor([1.0, 7.0, 3.0, 7.0], device=device)
    assert reduced("first", x) == 1.0


@pytest.mark.parametrize("axis", [0, 1])
def test_block_reductions_keep_their_dimension(axis: int, device: torch.device) -> None:
    x = torch.randint(-8, 8, (4, 16), device=device).float()
    y = torch.empty(x.shape[1 - axis], device=device)
    block_sum_kernel[(1,)](x, y, AXIS=axis, ROWS=4, COLUMNS=16)
    assert torch.equal(y, x.sum(axis))


@pytest.mark.parametrize("value", [0.1, 1e-50, 1e300])
def test_a_float_argument_arrives_as_f32(value: float, device: torch.device) -> None:
    y = torch.empty(1, dtype=torch.float64, device=device)
    scalar_kernel[(1,)](y, value)
    assert y.item() == torch.tensor(value).to(torch.float32).item()


def test_an_annotated_argument_has_its_type(device: torch.device) -> None:
    y = torch.empty(1, dtype=torch.int64, device=device)
    annotated_kernel[(1,)](y, 100_000)
    assert y.item() == 10**10


def test_loops_may_run_to_an_argument(device: torch.device) -> None:
    x, y = torch.ones(100, device=device), torch.empty(1, device=device)
    loop_kernel[(1,)](x, y, 100, BLOCK=16)
    assert y.item() == 100.0


@interpreted
def test_exact_leaves_no_trace() -> None:
    before = dict(vars(stock.InterpreterBuilder)), stock.GridExecutor.__call__, stock.ReduceOps.apply_impl
    with exact(), exact():
        pass
    assert before == (dict(vars(stock.InterpreterBuilder)), stock.GridExecutor.__call__, stock.ReduceOps.apply_impl)


@interpreted
def test_the_check_at_the_start_finds_a_wrong_rounding() -> None:
    right = conversions.encode

    def truncate(values: np.ndarray, dtype: tl.dtype) -> np.ndarray:
        if dtype != tl.bfloat16:
            return right(values, dtype)
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)

    with mock.patch.object(conversions, "encode", truncate), pytest.raises(AssertionError, match=r"f32 to torch\.bf"):
        interpreter_selftest.check.__wrapped__()


def test_a_remainder_has_the_sign_of_what_is_divided_and_infinity_divides_nothing() -> None:
    x = np.array([5.5, -5.5, 5.5, -3.0, 7.0, 0.0, np.inf], np.float32)
    y = np.array([2.0, 2.0, -2.0, np.inf, -np.inf, 3.0, 2.0], np.float32)
    with np.errstate(invalid="ignore"):
        found = _float_remainder(x, y)
    assert found[:6].tolist() == [1.5, -1.5, 1.5, -3.0, 7.0, 0.0]
    assert np.isnan(found[6])
