"""What every operation of the language means, as a torch function on f64, i64 and bool tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from fusec.ir.ops import ELEMENTWISE, REDUCTIONS, ReduceOp
from fusec.ir.traits import Result
from fusec.ir.types import Kind
from fusec.reference.rounding import MEANING_DTYPES


def _floordiv(a: Tensor, b: Tensor) -> Tensor:
    if a.is_floating_point():
        return torch.floor(a / b)
    zero = b == 0
    return torch.where(zero, 0, torch.div(a, torch.where(zero, 1, b), rounding_mode="floor"))


def _mod(a: Tensor, b: Tensor) -> Tensor:
    if a.is_floating_point():
        return torch.remainder(a, b)
    zero = b == 0
    return torch.where(zero, 0, torch.remainder(a, torch.where(zero, 1, b)))


def _exponent(a: Tensor) -> Tensor:
    """As logB of IEEE 754: the exponent of a number, its size for what has none."""
    whole = (torch.frexp(a).exponent - 1).to(a.dtype)
    return torch.where(a.isfinite() & (a != 0), whole, torch.where(a == 0, -torch.inf, a.abs()))


def _sign(a: Tensor) -> Tensor:
    return torch.where(a.isnan(), a, torch.sign(a))


ELEMENTWISE_MEANING: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "add": torch.add,
        "sub": torch.sub,
        "mul": torch.mul,
        "div": torch.div,
        "floordiv": _floordiv,
        "mod": _mod,
        "pow": torch.pow,
        "neg": torch.neg,
        "eq": torch.eq,
        "ne": torch.ne,
        "lt": torch.lt,
        "le": torch.le,
        "gt": torch.gt,
        "ge": torch.ge,
        "and": torch.logical_and,
        "or": torch.logical_or,
        "not": torch.logical_not,
        "bitand": torch.bitwise_and,
        "bitor": torch.bitwise_or,
        "bitxor": torch.bitwise_xor,
        "bitnot": torch.bitwise_not,
        "lshift": torch.bitwise_left_shift,
        "rshift": torch.bitwise_right_shift,
        "where": torch.where,
        "abs": torch.abs,
        "exp": torch.exp,
        "exp2": torch.exp2,
        "expm1": torch.expm1,
        "log": torch.log,
        "log2": torch.log2,
        "log1p": torch.log1p,
        "exponent": _exponent,
        "sqrt": torch.sqrt,
        "rsqrt": torch.rsqrt,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "erf": torch.erf,
        "erfc": torch.erfc,
        "sin": torch.sin,
        "cos": torch.cos,
        "sign": _sign,
        "floor": torch.floor,
        "ceil": torch.ceil,
        "round": torch.round,
        "minimum": torch.minimum,
        "maximum": torch.maximum,
    }
)
"""`//` rounds down and `%` takes the sign of the divisor, as in Python. An integer over 0 gives 0 here, so that a case
nobody selects does no harm; what a kernel gives is not defined. The same holds for a shift by less than 0 or by more
than 63."""

REDUCTION_MEANING: Mapping[str, Callable[[Tensor, list[int]], Tensor]] = MappingProxyType(
    {
        "sum": torch.sum,
        "mean": torch.mean,
        "amax": torch.amax,
        "amin": torch.amin,
    }
)


def elementwise(op: str, args: tuple[Tensor, ...]) -> Tensor:
    """`op` on operands that broadcast; integers become reals as `ops.ELEMENTWISE` says.

    Integer arithmetic is that of i64: indices and offsets never wrap here.
    """
    own = ELEMENTWISE[op]
    numbers = args[own.numbers]
    integral = all(arg.dtype != torch.float64 for arg in numbers)
    if own.result is Result.REAL or not integral:
        numbers = tuple(arg.to(torch.float64) for arg in numbers)
    return ELEMENTWISE_MEANING[op](*args[: len(args) - len(numbers)], *numbers)


def reduction(op: str, values: Tensor, dims: list[int]) -> Tensor:
    """`op` of `values` over the dimensions `dims`; over no elements its identity, and NaN for a mean."""
    own = REDUCTIONS[op]
    if own.averages:
        values = values.to(torch.float64)
    if own.picks and any(values.shape[dim] == 0 for dim in dims):
        kept = [size for dim, size in enumerate(values.shape) if dim not in dims]
        return values.new_full(kept, _identity(own, values.dtype))
    return REDUCTION_MEANING[op](values, dims) if dims else values


def _identity(op: ReduceOp, dtype: torch.dtype) -> float | int:
    if dtype == MEANING_DTYPES[Kind.REAL]:
        return op.identity
    limits = torch.iinfo(dtype)
    return limits.min if op.identity < 0 else limits.max
