"""What may be computed, operation by operation: on the device, and from operands that carry an error of their own."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import pytest
import torch
from op_kernels import apply
from torch import Tensor

from fusec.ir.ops import ELEMENTWISE
from fusec.ir.traits import Result
from fusec.ir.types import Kind
from fusec.numerics.interval import Interval
from fusec.numerics.operations import OPERATIONS, operate
from fusec.numerics.precision import ERRORS, F32, F64, Precision
from fusec.reference.meaning import ELEMENTWISE_MEANING

REAL = [
    name
    for name, op in ELEMENTWISE.items()
    if op.result is not Result.BOOL and name != "where" and Kind.REAL in op.operands
]
WHOLE = [name for name, op in ELEMENTWISE.items() if op.operands == (Kind.INT,)]
COUNT = 1 << 14
_PYTHONS: dict[str, Callable[..., int]] = {
    "bitand": operator.and_,
    "bitor": operator.or_,
    "bitxor": operator.xor,
    "bitnot": operator.inv,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
}
"""What integers of any size make of their digits."""
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.5,
    -3.5,
    88.72,
    -87.4,
    -103.0,
    128.0,
    3e38,
    -3e38,
    1e-38,
    -1e-39,
    1e-45,
    math.inf,
]

ROUNDABOUT: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": lambda x: torch.exp2(x * 1.4426950408889634),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "rsqrt": lambda x: 1 / torch.sqrt(x),
    "sqrt": lambda x: x * torch.rsqrt(x),
}
"""Other ways to compute an operation, as a kernel may."""


def operands(op: str, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, ...]:
    """Operands of every magnitude, most of them ordinary, some special; NaN among them."""
    generator = torch.Generator().manual_seed(seed)
    special = torch.tensor([*SPECIAL, math.inf, -math.inf, math.nan], dtype=torch.float64)
    drawn = []
    for _ in range(ELEMENTWISE[op].arity):
        ordinary = torch.randn(COUNT, generator=generator, dtype=torch.float64) * 4
        wide = ordinary * torch.exp2(torch.randint(-120, 120, (COUNT,), generator=generator).double())
        kind = torch.randint(0, 8, (COUNT,), generator=generator)
        picked = special[torch.randint(0, len(special), (COUNT,), generator=generator)]
        drawn.append(torch.where(kind == 0, picked, torch.where(kind < 3, wide, ordinary)).to(dtype))
    return tuple(drawn)


def outside(interval: Interval, computed: Tensor) -> list[int]:
    """The places where `computed` is not in the interval."""
    got = computed.double().cpu()
    inside = (interval.low <= got) & (got <= interval.high) | interval.unknown | (interval.low.isnan() & got.isnan())
    return torch.nonzero(~inside).flatten().tolist()


def around(exact: Tensor, seed: int) -> Interval:
    """Intervals of many widths around `exact`, none at all for some."""
    generator = torch.Generator().manual_seed(seed)
    width = torch.exp2(torch.randint(-40, 3, exact.shape, generator=generator).double()) * exact.abs()
    width = torch.where(torch.rand(exact.shape, generator=generator) < 0.2, 0.0, width.nan_to_num())
    low, high = exact.double() - width, exact.double() + width
    return Interval(exact.double(), low, high)


@pytest.mark.parametrize("op", REAL)
@pytest.mark.parametrize("precision", [F32, F64], ids=["f32", "f64"])
def test_the_device_stays_in_the_interval(op: str, precision: Precision, device: torch.device) -> None:
    """The GPU where there is one, else the interpreter, on exact operands."""
    args = operands(op, torch.float32 if precision is F32 else torch.float64)
    placed = tuple(arg.to(device) for arg in args)
    computed = torch.empty_like(placed[0])
    apply(op, placed, computed)
    interval = operate(op, tuple(Interval.exact(arg.double()) for arg in args), precision)
    wrong = outside(interval, computed)
    assert not wrong, describe(op, wrong[0], args, interval, computed)


@pytest.mark.parametrize("precision", [F32, F64], ids=["f32", "f64"])
def test_powers_of_two_are_exact(precision: Precision, device: torch.device) -> None:
    """Scales of blocks are powers of two, and values divided by them are compared bit by bit."""
    least = int(math.log2(precision.normal))
    whole = torch.arange(least, 1 - least + 1).to(torch.float32 if precision is F32 else torch.float64)
    computed = torch.empty_like(whole, device=device)
    apply("exp2", (whole.to(device), whole.to(device)), computed)
    exact = torch.tensor([2.0**power for power in range(least, 1 - least + 1)], dtype=torch.float64)
    assert torch.equal(computed.double().cpu(), exact)
    interval = operate("exp2", (Interval.exact(whole.double()),), precision)
    assert torch.equal(interval.low, exact)
    assert torch.equal(interval.high, exact)


@pytest.mark.parametrize("op", WHOLE)
def test_the_device_is_exact_on_digits(op: str, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(2)
    digits = torch.randint(-(2**63), 2**63 - 1, (COUNT,), generator=generator)
    digits = digits >> torch.randint(0, 64, (COUNT,), generator=generator)
    args = (digits, torch.randint(0, 64, (COUNT,), generator=generator) if "shift" in op else digits.flip(0))
    args = args[: ELEMENTWISE[op].arity]
    computed = torch.empty_like(digits, device=device)
    apply(op, tuple(arg.to(device) for arg in args), computed)
    whole = _PYTHONS[op]
    exact = [whole(*numbers) for numbers in zip(*(arg.tolist() for arg in args), strict=True)]
    assert computed.tolist() == [(number + 2**63) % 2**64 - 2**63 for number in exact]


@pytest.mark.parametrize("op", REAL)
def test_inexact_operands_are_covered(op: str) -> None:
    """Any f32 operands inside of their intervals give a result inside of the result's."""
    intervals = tuple(around(arg, seed) for seed, arg in enumerate(operands(op, torch.float32, seed=1)))
    result = operate(op, intervals, F32)
    for share in (0.0, 0.25, 0.5, 0.9, 1.0):
        args = tuple(inside(interval, share) for interval in intervals)
        for function in (ELEMENTWISE_MEANING[op], ROUNDABOUT.get(op)):
            if function is None:
                continue
            # x * rsqrt(x) is NaN at 0 and at infinity, where a square root is not.
            computed = function(*args)
            usual = ELEMENTWISE_MEANING[op](*args)
            computed = torch.where(computed.isnan() & ~usual.isnan(), usual, computed)
            wrong = outside(result, computed)
            assert not wrong, describe(op, wrong[0], args, result, computed)


@pytest.mark.parametrize("op", [op for op in REAL if ERRORS[op].flushes_operand])
def test_a_subnormal_operand_may_count_as_zero(op: str) -> None:
    operand = torch.tensor([1e-40, -1e-40, 3e-45], dtype=torch.float64)
    interval = operate(op, (Interval.exact(operand),), F32)
    assert outside(interval, ELEMENTWISE_MEANING[op](operand * 0)) == []
    assert outside(interval, ELEMENTWISE_MEANING[op](operand)) == []


@pytest.mark.parametrize("op", [op for op in REAL if ERRORS[op].flushes])
def test_a_subnormal_result_may_be_zero(op: str) -> None:
    tiny = {"exp": -88.0, "exp2": -127.0, "log": 1.0, "sqrt": 0.0, "rsqrt": math.inf, "cos": 0.0, "pow": 2.0**-64}
    args = (torch.tensor([tiny.get(op, 1e-39)], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64))
    exact = ELEMENTWISE_MEANING[op](*args[: ELEMENTWISE[op].arity])
    interval = operate(op, tuple(Interval.exact(arg) for arg in args[: ELEMENTWISE[op].arity]), F32)
    assert outside(interval, torch.where(exact.abs() < F32.normal, 0.0, exact)) == []


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_result_too_small_for_f64_may_be_the_least_number(sign: float) -> None:
    """2e-324 may be rounded to 5e-324, as an H200 does."""
    base, power = (1.3146786151532088e195, -1.659) if sign > 0 else (-1.3146786151532088e195, -3.0)
    args = (torch.tensor([base], dtype=torch.float64), torch.tensor([power], dtype=torch.float64))
    interval = operate("pow", tuple(map(Interval.exact, args)), F64)
    assert interval.value.item() == 0
    assert outside(interval, torch.tensor([sign * 5e-324], dtype=torch.float64)) == []
    assert outside(interval, torch.tensor([-sign * 5e-324], dtype=torch.float64)) == [0]


def test_exact_operations_have_no_error() -> None:
    """Sums and products that f32 can hold are not widened, so a cast of them at a tie goes one way."""
    a, b = torch.tensor([1.0, 3.0, 2.0**30]).double(), torch.tensor([2.0**-8, 5.0, 1.0]).double()
    for op, exact in (("add", [True, True, False]), ("mul", [True, True, True])):
        interval = operate(op, (Interval.exact(a), Interval.exact(b)), F32)
        assert (interval.low == interval.high).tolist() == exact


def test_a_square_is_never_negative() -> None:
    operand = Interval(*(torch.tensor([end], dtype=torch.float64) for end in (0.0, -1e-3, 2e-3)))
    square = operate("mul", (operand, operand), F32)
    assert square.low.item() == 0.0
    assert 4e-6 <= square.high.item() < 4.1e-6


def test_nan_is_certain_or_possible() -> None:
    nan, one = torch.tensor([math.nan]).double(), torch.tensor([1.0]).double()
    certain = operate("add", (Interval.exact(nan), Interval.exact(one)), F32)
    assert certain.low.isnan().all()
    assert certain.high.isnan().all()
    below = Interval(one, one - 2, one)
    assert operate("log", (below,), F32).unknown.all()
    assert operate("div", (Interval.exact(one), below), F32).unknown.all()
    assert operate("sigmoid", (operate("log", (below,), F32),), F32).unknown.all()


def test_overflow_opens_one_end() -> None:
    big = Interval.exact(torch.tensor([3e38, -3e38]).double())
    twice = operate("add", (big, big), F32)
    assert twice.high[0] == math.inf
    assert 5.9e38 < twice.low[0] < 6.1e38
    assert twice.low[1] == -math.inf
    inverse = operate("div", (Interval.exact(torch.tensor(1.0).double()), twice), F32)
    assert inverse.low[0] == 0.0
    assert inverse.high[0] < 1e-37


def test_a_comparison_in_doubt_covers_both_cases() -> None:
    a = Interval(*(torch.tensor([1.0 + e, 2.0 + e, 3.0 + e]).double() for e in (0.0, -0.1, 0.1)))
    b = Interval.exact(torch.tensor([2.0, 2.0, 2.0]).double())
    for op, certain, possible in (
        ("lt", [True, False, False], [True, True, False]),
        ("ge", [False, False, True], [False, True, True]),
        ("eq", [False, False, False], [False, True, False]),
        ("ne", [True, False, True], [True, True, True]),
    ):
        result = operate(op, (a, b), F32)
        assert result.low.tolist() == certain
        assert result.high.tolist() == possible
    condition = operate("lt", (a, b), F32)
    chosen = operate("where", (condition, Interval.exact(b.value), Interval.exact(-b.value)), F32)
    assert chosen.low.tolist() == [2.0, -2.0, -2.0]
    assert chosen.high.tolist() == [2.0, 2.0, -2.0]


def test_truth_values_in_doubt() -> None:
    doubt = Interval(*(torch.tensor([end]) for end in (True, False, True)))
    yes = Interval.exact(torch.tensor([True]))
    assert operate("and", (doubt, yes), F32).low.tolist() == [False]
    assert operate("or", (doubt, yes), F32).low.tolist() == [True]
    opposite = operate("not", (doubt,), F32)
    assert (opposite.low.item(), opposite.high.item()) == (False, True)


def test_a_floor_at_a_step_covers_both() -> None:
    operand = Interval(*(torch.tensor([2.0 + e]).double() for e in (1e-9, -1e-7, 1e-7)))
    assert (operate("floor", (operand,), F32).low.item(), operate("floor", (operand,), F32).high.item()) == (1.0, 2.0)


def test_integers_are_exact() -> None:
    a, b = torch.tensor([7, -7]), torch.tensor([2, 2])
    for op in ("add", "sub", "mul", "floordiv", "mod", "minimum", "abs", "neg"):
        arity = ELEMENTWISE[op].arity
        result = operate(op, tuple(Interval.exact(arg) for arg in (a, b)[:arity]), F32)
        assert torch.equal(result.low, result.high)
        assert torch.equal(result.value, ELEMENTWISE_MEANING[op](*(a, b)[:arity]))
    unsure = Interval(torch.tensor([7]), torch.tensor([6]), torch.tensor([8]))
    third = operate("floordiv", (unsure, Interval.exact(torch.tensor([4]))), F32)
    assert (third.low.item(), third.high.item()) == (1, 2)
    rest = operate("mod", (unsure, Interval.exact(torch.tensor([4]))), F32)
    assert (rest.low.item(), rest.high.item()) == (0, 3)


def test_every_operation_has_an_error() -> None:
    assert ERRORS.keys() == ELEMENTWISE.keys()
    assert OPERATIONS.keys() == ELEMENTWISE.keys()


def inside(interval: Interval, share: float) -> Tensor:
    """An f32 number of each interval, `share` of the way up; the value itself where the ends are infinite."""
    point = interval.low + share * (interval.high - interval.low)
    point = torch.where(point.isfinite(), point, interval.value).float()
    kept = (interval.low <= point.double()) & (point.double() <= interval.high)
    return torch.where(kept, point, interval.value.float())


def describe(op: str, place: int, args: tuple[Tensor, ...], interval: Interval, computed: Tensor) -> str:
    given = ", ".join(repr(arg[place].item()) for arg in args)
    ends = f"[{interval.low[place].item()!r}, {interval.high[place].item()!r}]"
    return f"{op}({given}) = {computed[place].item()!r} is outside of {ends}, exactly {interval.value[place].item()!r}"
