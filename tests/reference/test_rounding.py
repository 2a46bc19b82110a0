"""Rounding against every code of every small format: each number, each midpoint, and both sides of each midpoint."""

from __future__ import annotations

import math

import pytest
import torch

from fusec.ir.formats import FLOAT_FORMATS, largest_of, limits
from fusec.ir.types import DTYPES, DType, Kind
from fusec.reference.rounding import TORCH_DTYPES, round_to, spacing, torch_dtype, widen

SMALL_FLOATS = [DTYPES[name] for name in ("f16", "bf16", "f8e4m3", "f8e5m2")]
INTEGERS = [DTYPES[name] for name in ("i64", "i32", "i8", "u8")]
F64 = torch.float64


def codes(dtype: DType) -> torch.Tensor:
    """Every number of `dtype` as torch decodes it, in f64."""
    bits = torch.arange(2**dtype.bits, dtype=torch.int32).to(torch.int16 if dtype.bits == 16 else torch.uint8)
    return bits.view(torch_dtype(dtype)).to(F64)


def ladder(dtype: DType) -> torch.Tensor:
    """The distinct finite numbers of `dtype` in rising order, one zero."""
    finite = codes(dtype)
    return torch.unique(finite[torch.isfinite(finite)] + 0.0)


@pytest.mark.parametrize("dtype", SMALL_FLOATS, ids=str)
def test_every_number_stays(dtype: DType) -> None:
    numbers = codes(dtype)
    wanted = numbers.clamp(-largest_of(dtype), largest_of(dtype)) if FLOAT_FORMATS[dtype.name].saturates else numbers
    assert torch.equal(round_to(numbers, dtype).nan_to_num(nan=-1.5), wanted.nan_to_num(nan=-1.5))


@pytest.mark.parametrize("dtype", SMALL_FLOATS, ids=str)
def test_midpoints_go_to_the_even_neighbour_and_their_sides_to_the_nearer(dtype: DType) -> None:
    numbers = ladder(dtype)
    low, high = numbers[:-1], numbers[1:]
    middle = (low + high) / 2  # exact: one more bit than the format has
    # The code of a number is even when its significand is: the ladder alternates, and zero is even.
    zero = int((numbers == 0).nonzero())
    even_low = (torch.arange(len(low)) - zero) % 2 == 0
    assert torch.equal(round_to(middle, dtype), torch.where(even_low, low, high))
    beside = torch.tensor(math.inf, dtype=F64)
    assert torch.equal(round_to(torch.nextafter(middle, -beside), dtype), low)
    assert torch.equal(round_to(torch.nextafter(middle, beside), dtype), high)


@pytest.mark.parametrize("dtype", SMALL_FLOATS, ids=str)
def test_beyond_the_largest_number(dtype: DType) -> None:
    top = largest_of(dtype)
    step = spacing(torch.tensor(top, dtype=F64), dtype).item()
    edge = torch.tensor([top + step / 2, math.nextafter(top + step / 2, 0.0), math.inf], dtype=F64)
    wanted = [top, top, top] if FLOAT_FORMATS[dtype.name].saturates else [math.inf, top, math.inf]
    assert round_to(edge, dtype).tolist() == wanted
    assert round_to(-edge, dtype).tolist() == [-number for number in wanted]


def test_f32_agrees_with_the_single_rounding_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**63), 2**63 - 1, (200_000,), generator=generator)
    anywhere = bits.view(F64)
    inside = anywhere.sign() * torch.exp2(torch.rand(200_000, generator=generator, dtype=F64) * 290 - 155)
    for numbers in (anywhere, inside):
        got, wanted = round_to(numbers, DTYPES["f32"]), numbers.to(torch.float32).to(F64)
        assert torch.equal(got.nan_to_num(nan=-1.5), wanted.nan_to_num(nan=-1.5))


def test_there_is_no_double_rounding() -> None:
    # Just above the middle of two bf16 numbers, by less than f32 can say: a detour through f32 rounds down.
    value = torch.tensor([1 + 2**-8 + 2**-40], dtype=F64)
    assert value.to(torch.float32).to(torch.bfloat16).item() == 1.0
    assert round_to(value, DTYPES["bf16"]).item() == 1 + 2**-7


def test_negative_zero_and_nan_stay() -> None:
    for dtype in (*SMALL_FLOATS, DTYPES["f32"], DTYPES["f64"]):
        zero, nan = round_to(torch.tensor([-0.0, math.nan], dtype=F64), dtype)
        assert math.copysign(1, zero.item()) == -1
        assert math.isnan(nan.item())


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_round_to_even_and_saturate(dtype: DType) -> None:
    limits = torch.iinfo(torch_dtype(dtype))
    reals = [0.5, 1.5, 2.5, 1.49, math.inf, -math.inf, math.nan, 2.0**70, -(2.0**70), 2.0**63]
    wanted = [0, 2, 2, 1, limits.max, limits.min, 0, limits.max, limits.min, limits.max]
    assert round_to(torch.tensor(reals, dtype=F64), dtype).tolist() == wanted
    whole = torch.tensor([limits.min, limits.max, 0, -1, 300])
    assert round_to(whole, dtype).tolist() == [min(max(n, limits.min), limits.max) for n in whole.tolist()]


def test_integers_to_f32_round_once() -> None:
    # 2**60 + 2**36 + 1 is just above a midpoint of f32; the nearest f64 is the midpoint itself.
    assert round_to(torch.tensor([2**60 + 2**36 + 1]), DTYPES["f32"]).item() == 2**60 + 2**37


def test_truth_values() -> None:
    assert round_to(torch.tensor([0.0, 2.0, math.nan], dtype=F64), DTYPES["bool"]).tolist() == [False, True, True]
    assert round_to(torch.tensor([True, False]), DTYPES["i8"]).tolist() == [1, 0]


@pytest.mark.parametrize("dtype", SMALL_FLOATS, ids=str)
def test_spacing_is_the_distance_to_the_next_number(dtype: DType) -> None:
    numbers = ladder(dtype)
    positive = numbers[numbers >= 0]
    assert torch.equal(spacing(positive[:-1], dtype), positive[1:] - positive[:-1])


def test_every_dtype_is_covered() -> None:
    assert set(TORCH_DTYPES) == {name for name, dtype in DTYPES.items() if not dtype.packed}
    assert set(FLOAT_FORMATS) == {name for name, dtype in DTYPES.items() if dtype.kind is Kind.REAL}
    with pytest.raises(NotImplementedError, match="i4"):
        torch_dtype(DTYPES["i4"])


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES.values() if not dtype.packed], ids=str)
def test_formats_are_those_of_torch(dtype: DType) -> None:
    if dtype.kind is Kind.REAL:
        about = torch.finfo(torch_dtype(dtype))
        form = FLOAT_FORMATS[dtype.name]
        assert (form.largest, 2.0**form.least_exponent, 2.0**-form.mantissa) == (about.max, about.tiny, about.eps)
    elif dtype.kind is Kind.INT:
        about = torch.iinfo(torch_dtype(dtype))
        assert limits(dtype) == (about.min, about.max)


def test_widening_is_exact() -> None:
    assert widen(torch.tensor([1, -1], dtype=torch.int8)).dtype == torch.int64
    assert widen(torch.tensor([0.1])).item() == torch.tensor(0.1).item()
