"""What is wrong with the traits of an operation: each is held to what the reference computes, both ways.

A trait that is claimed has to hold at every sample. One that is not claimed, and that passes would use, must not hold
at all of them either: whoever adds an operation is told what to say of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise, product

import torch
from torch import Tensor

from fusec.ir.ops import ELEMENTWISE
from fusec.ir.traits import ElementwiseOp, Result, Scaling
from fusec.ir.types import DTYPES, Kind
from fusec.reference.meaning import ELEMENTWISE_MEANING
from fusec.reference.rounding import round_to

_TINY = [2.0**-1074, 2.0**-1022, 2.0**-126, 1e-9]
_SIZES = [*_TINY, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 7.0, 20.0, 88.0, 700.0, 1e4, 2.0**70, 1e300]
_DENSE = [k / 16 for k in range(1, 130)]
REALS = sorted({*_SIZES, *_DENSE, *(-size for size in (*_SIZES, *_DENSE)), 0.0})
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0, 3.0, 1e300, -1e300, 1e-300, math.inf, -math.inf, math.nan]
INTEGERS = [-(2**62), -1000, -64, -7, -3, -2, -1, 0, 1, 2, 3, 5, 8, 63, 64, 1000, 2**62]
ORDINARY = [-5.0, -2.5, -1.0, -0.3, 0.3, 0.7, 1.0, 2.0, 3.5, 6.0]
_DEGREES = [Fraction(n, 2) for n in range(-4, 5)]
_STORAGE = ("f8e5m2", "f8e4m3", "bf16", "f16")


def meaning(op: ElementwiseOp, *args: Tensor) -> Tensor:
    return ELEMENTWISE_MEANING[op.name](*args)


def samples(op: ElementwiseOp, numbers: list[float] | list[int]) -> tuple[Tensor, ...]:
    """Every combination of numbers as operands; truth values in the first place where one selects."""
    dtype = torch.int64 if isinstance(numbers[0], int) else torch.float64
    count = len(range(op.arity)[op.numbers])
    grid = torch.cartesian_prod(*[torch.tensor(numbers, dtype=dtype)] * count).reshape(-1, count)
    columns = list(grid.unbind(1))
    if not op.selects:
        return tuple(columns)
    condition = torch.arange(len(columns[0])) % 2 == 0
    return (condition, *columns)


def _is_numeric(op: ElementwiseOp) -> bool:
    return Kind.REAL in op.operands


def _differ(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.double(), b.double()
    close = (a - b).abs() <= 1e-12 * torch.maximum(a.abs(), b.abs())
    return ~((a == b) | (a.isnan() & b.isnan()) | close)


def _at(op: ElementwiseOp) -> Iterator[str]:
    """`at` is what the reference computes."""
    assert op.at is not None, f"{op.name} has no `at`"
    forms: list[list[float] | list[int]] = [SPECIAL, ORDINARY] if _is_numeric(op) else []
    if op.result is not Result.REAL:
        forms.append(INTEGERS)
    for numbers in forms:
        args = samples(op, numbers)
        if op.name in ("lshift", "rshift"):
            args = (args[0], args[1].clamp(0, 63))
        wanted = meaning(op, *args)
        for place in range(len(wanted)):
            own = [arg[place].item() for arg in args]
            found = op.at(*own)
            if isinstance(numbers[0], int) and abs(found) >= 2**63:
                continue  # The reference wraps.
            if _differ(torch.tensor(found, dtype=torch.float64), wanted[place]):
                yield f"at({own}) is {found}, not {wanted[place].item()}"


def _turns(op: ElementwiseOp) -> Iterator[str]:
    """Between its turns a result rises or falls. Where nothing is said, it does neither."""
    turns = op.turns if op.turns is not None else ((),) * op.arity
    rises = all(_is_monotone(op.name, place, own) for place, own in enumerate(turns))
    if rises is (op.turns is None):
        yield f"turns {op.turns}: {'rises or falls' if rises else 'turns elsewhere'}"


@cache
def _is_monotone(name: str, place: int, turns: tuple[float, ...]) -> bool:
    op = ELEMENTWISE[name]
    edges = [-math.inf, *turns, math.inf]
    others = [[*ORDINARY, 0.0, math.inf, -math.inf]] * (op.arity - 1)
    for low, high in pairwise(edges):
        cell = torch.tensor([number for number in REALS if low < number < high], dtype=torch.float64)
        for rest in product(*others):
            args = [torch.full_like(cell, other) for other in rest]
            args.insert(place, cell)
            values = meaning(op, *args)
            if values.isnan().all():
                continue
            finite = values[values.isfinite()]
            steps = finite.diff()
            noise = 1e-14 * finite[1:].abs()
            if values.isnan().any() or ((steps > noise).any() and (steps < -noise).any()):
                return False
    return True


def _image(op: ElementwiseOp) -> Iterator[str]:
    """No result is outside of the image, and results come near its ends."""
    values = meaning(op, *samples(op, REALS if op.arity == 1 else SPECIAL + ORDINARY))
    values = values[~values.isnan()].clamp(-1e6, 1e6)
    for end, reached, side in zip(op.image, (values.min().item(), values.max().item()), (-1, 1), strict=True):
        bound = 90.0 * side if math.isinf(end) else end
        past = side * (reached - bound)
        if past < -1e-2 or (past > 0 and not math.isinf(end)):
            yield f"image {op.image}: results reach {reached}"


def _positive(op: ElementwiseOp) -> Iterator[str]:
    """The result is above 0 at every finite operand whose result is not too small for a double."""
    numbers = [number for number in REALS if abs(number) <= 20 and number != 0] if op.arity == 1 else ORDINARY
    values = meaning(op, *samples(op, numbers))
    at_zero = meaning(op, *(torch.zeros(1, dtype=torch.float64),) * op.arity)
    values = torch.cat([values, at_zero])
    is_positive = bool((values[~values.isnan()] > 0).all())
    if is_positive != op.positive:
        yield f"positive: {op.positive}"


def _scaled(op: ElementwiseOp, degrees: tuple[Fraction, ...], degree: Fraction, sign: int) -> bool:
    """Whether factors of the operands, to these powers, are one of the result."""
    for numbers, factors in ((ORDINARY, (4.0, 0.25, 64.0)), (INTEGERS[1:-1], (3, 4))):
        if (isinstance(numbers[0], int) and op.result is Result.REAL) or (
            isinstance(numbers[0], float) and not _is_numeric(op)
        ):
            continue
        args = samples(op, numbers)
        for factor in factors:
            own = [1 if op.selects and not k else (sign * factor if p else 1) for k, p in enumerate(degrees)]
            scaled = [arg if arg.dtype == torch.bool else arg * by for arg, by in zip(args, own, strict=True)]
            turned = sign if degree.denominator == 1 and degree % 2 else 1
            after = meaning(op, *args) * float(turned * factor ** float(degree))
            if _differ(meaning(op, *scaled), after).any():
                return False
    return True


def _scaling(op: ElementwiseOp) -> Iterator[str]:
    """Each degree is the one there is; where none is said there is none of -2 to 2 in halves."""
    found = _scaling_of(op.name)
    if found != op.scaling:
        yield f"scaling {op.scaling}, which is {found}"


@cache
def _scaling_of(name: str) -> Scaling:
    op = ELEMENTWISE[name]
    alone = [tuple(Fraction(int(k == place)) for k in range(op.arity)) for place in range(op.arity)][op.numbers]
    each = [next((d for d in _DEGREES if _scaled(op, one, d, 1)), None) for one in alone]
    known = tuple(degree for degree in each if degree is not None)
    if len(known) == len(each):
        any_sign = all(_scaled(op, one, d, -1) for one, d in zip(alone, known, strict=True))
        return Scaling(each=known, any_sign=any_sign)
    together = (Fraction(1),) * op.arity
    degree = next((d for d in _DEGREES if _scaled(op, together, d, 1)), None)
    return Scaling(None, degree, degree is not None and _scaled(op, together, degree, -1))


def _linear(op: ElementwiseOp) -> Iterator[str]:
    """A sum of the operands, each times 1 or -1, or none."""
    args = samples(op, ORDINARY)
    values = meaning(op, *args)
    signs = list(product((1, -1), repeat=op.arity))
    sums = (sum((s * arg for s, arg in zip(own, args, strict=True)), torch.zeros(())) for own in signs)
    found = next((own for own, total in zip(signs, sums, strict=True) if not _differ(total, values).any()), None)
    if found != op.linear:
        yield f"linear {op.linear}, which is {found}"


def _exact(op: ElementwiseOp) -> Iterator[str]:
    """Of numbers of a type it makes numbers of that type."""
    if _is_exact(op.name) != op.exact:
        yield f"exact: {op.exact}"


@cache
def _is_exact(name: str) -> bool:
    op, held = ELEMENTWISE[name], True
    for name in _STORAGE:
        kept = [round_to(torch.tensor(n, dtype=torch.float64), DTYPES[name]).item() for n in (*ORDINARY, *REALS)]
        numbers = sorted({n for n in kept if abs(n) < 1e4})[:: 1 if op.arity == 1 else 7]
        values = meaning(op, *samples(op, numbers))
        inside = values[values.isfinite()]
        held = held and bool(values.isfinite().all()) and not _differ(round_to(inside, DTYPES[name]), inside).any()
    return held


def _integers(op: ElementwiseOp) -> Iterator[str]:
    """It leaves integers as they are."""
    same = op.arity == 1 and op.result is not Result.REAL
    if same:
        given = torch.tensor(INTEGERS)
        same = torch.equal(meaning(op, given), given)
    if same != op.keeps_integers:
        yield f"keeps_integers: {op.keeps_integers}"


def _selects(op: ElementwiseOp) -> Iterator[str]:
    """The first operand is a truth value, and says which of the others is the result."""
    is_choice = op.arity == 3 and Kind.BOOL in op.operands
    if is_choice:
        a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
        is_choice = torch.equal(meaning(op, torch.tensor([True, False]), a, b), torch.tensor([1.0, 4.0]))
    if is_choice != op.selects:
        yield f"selects: {op.selects}"


def _jumps(op: ElementwiseOp) -> Iterator[str]:
    """Somewhere operands as near as one likes have results that are not."""
    if _does_jump(op.name) != op.quantises:
        yield f"quantises: {op.quantises}"


@cache
def _does_jump(name: str) -> bool:
    op, found = ELEMENTWISE[name], False
    at = torch.tensor([k / 2 for k in range(-9, 10)], dtype=torch.float64)
    for place in range(op.arity):
        for rest in product(ORDINARY, repeat=op.arity - 1):
            sides = []
            for step in (-1e-9, 1e-9):
                args = [torch.full_like(at, other) for other in rest]
                args.insert(place, at + step)
                sides.append(meaning(op, *args))
            low, high = sides
            small = (low.abs() < 1e3) & (high.abs() < 1e3)
            found = found or bool(((low - high).abs()[small] > 0.2).any())
    return found


def _neutral(op: ElementwiseOp) -> Iterator[str]:
    """The second operand of 0, 1 or -1 that leaves the first one as it is."""
    given = torch.tensor(REALS, dtype=torch.float64) if _is_numeric(op) else torch.tensor(INTEGERS)
    same = [one for one in (0, 1, -1) if torch.equal(meaning(op, given, torch.full_like(given, one)), given)]
    if same != ([] if op.neutral is None else [op.neutral]):
        yield f"neutral {op.neutral}, which is {same}"


def _repeats(op: ElementwiseOp) -> Iterator[str]:
    """A whole number of times another operation."""
    given = torch.tensor(ORDINARY, dtype=torch.float64)
    repeated = given
    for count in range(1, 6) if op.repeats is not None else ():
        if _differ(meaning(op, given, torch.full_like(given, count)), repeated).any():
            yield f"repeats {op.repeats}"
        repeated = meaning(ELEMENTWISE[op.repeats or ""], repeated, given)


def _period(op: ElementwiseOp) -> Iterator[str]:
    """A step after which the results are the same, and are not all the same anyway."""
    given = torch.tensor(ORDINARY, dtype=torch.float64)
    moved = meaning(op, given + (op.period or 2 * math.pi))
    periodic = bool(((moved - meaning(op, given)).abs() < 1e-9).all()) and meaning(op, given).unique().numel() > 3
    if periodic != (op.period is not None):
        yield f"period {op.period}"


def _strict(op: ElementwiseOp) -> Iterator[str]:
    """A NaN among the operands makes the result NaN."""
    args = samples(op, [*ORDINARY, math.nan, 0.0])
    given = torch.stack([arg.isnan() for arg in args if arg.dtype != torch.bool]).any(0)
    strict = bool(meaning(op, *args)[given].isnan().all())
    if strict != op.strict:
        yield f"strict: {op.strict}"


def _grows(op: ElementwiseOp) -> Iterator[str]:
    """Some integers of 8 bits make one of more."""
    limits = torch.iinfo(torch.int8)
    args = samples(op, [limits.min, -100, -7, -2, -1, 0, 1, 2, 3, 7, 100, limits.max])
    if op.shifts:
        args = (args[0], args[1].clamp(0, 63))
    values = meaning(op, *args)
    if bool(((values < limits.min) | (values > limits.max)).any()) != op.grows:
        yield f"grows: {op.grows}"


def _divides(op: ElementwiseOp) -> Iterator[str]:
    """The divisor once more in what is divided is 1 more in the quotient, and nothing in the remainder."""
    a, b = samples(replace(op, selects=False), [1, 2, 3, 5, 8, 13])
    steps = (meaning(op, a + b, b) - meaning(op, a, b)).unique().tolist()
    if (steps in ([0], [1])) != op.divides_integers:
        yield f"divides_integers: {op.divides_integers}"


def _shifts(op: ElementwiseOp) -> Iterator[str]:
    """No place leaves a number as it is, and one more is one after the others."""
    a, n = samples(op, [0, 1, 2, 3, 5, 8, 13])
    one, none = torch.ones_like(n), torch.zeros_like(n)
    same = torch.equal(meaning(op, a, n + 1), meaning(op, meaning(op, a, n), one))
    if (same and torch.equal(meaning(op, a, none), a)) != op.shifts:
        yield f"shifts: {op.shifts}"


def _gives_numbers(op: ElementwiseOp) -> bool:
    return op.result is not Result.BOOL


def _computes(op: ElementwiseOp) -> bool:
    """Whether it makes a real number of real numbers."""
    return _gives_numbers(op) and _is_numeric(op) and not op.selects


CHECKS: dict[str, tuple[Callable[[ElementwiseOp], bool], Callable[[ElementwiseOp], Iterator[str]]]] = {
    "at": (_gives_numbers, _at),
    "turns": (lambda op: _computes(op) and op.rule is None, _turns),
    "image": (_computes, _image),
    "positive": (_computes, _positive),
    "scaling": (lambda op: op.operands != (Kind.BOOL,), _scaling),
    "linear": (_computes, _linear),
    "exact": (lambda op: _gives_numbers(op) and _is_numeric(op), _exact),
    "keeps_integers": (_gives_numbers, _integers),
    "selects": (lambda op: True, _selects),
    "strict": (lambda op: _gives_numbers(op) and _is_numeric(op), _strict),
    "quantises": (_computes, _jumps),
    "grows": (lambda op: _gives_numbers(op) and op.result is not Result.REAL and not op.selects, _grows),
    "divides_integers": (lambda op: _gives_numbers(op) and op.result is not Result.REAL and op.arity == 2, _divides),
    "shifts": (lambda op: op.operands == (Kind.INT,) and op.arity == 2, _shifts),
    "neutral": (lambda op: _gives_numbers(op) and op.arity == 2, _neutral),
    "repeats": (lambda op: _computes(op) and op.arity == 2, _repeats),
    "period": (lambda op: _computes(op) and op.arity == 1, _period),
}
"""For every trait, the operations that it means something for, and what is wrong with it."""


def faults(op: ElementwiseOp, trait: str) -> list[str]:
    """What a trait of an operation says wrongly, or does not say."""
    concerns, check = CHECKS[trait]
    return list(check(op)) if concerns(op) else []
