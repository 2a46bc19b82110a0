"""The Triton interpreter, made to compute what the hardware computes.

Triton's own interpreter (`TRITON_INTERPRET=1`) truncates where the GPU rounds, takes the codes of bf16 for integers,
adds a row in one long chain or in a wider type, and lets NaN through a maximum that drops it on the GPU. `exact()` puts
that right for as long as it is entered. It works on triton 3.6 to 3.9 and does nothing where kernels are compiled.

Each launch of an op is `alone()`, so it is exact wherever it is interpreted, and Triton kernels that are not ours are
run as Triton runs them. `TRITON_INTERPRET` counts when triton is first imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, wraps
from typing import Any
from unittest import mock

import numpy as np
import triton
import triton.language as tl
from triton.runtime import interpreter as stock

from fusec.interpreter import abreast, libdevice, scaled
from fusec.interpreter.conversions import CODED, Array, convert, encode
from fusec.interpreter.programs import launched, launcher, running

Handle = stock.TensorHandle
Builder = stock.InterpreterBuilder


def interpreting() -> bool:
    """Whether kernels run in the interpreter in this process."""
    return bool(triton.knobs.runtime.interpret)


@contextmanager
def exact() -> Iterator[None]:
    """While entered, all kernels in the interpreter compute as on an NVIDIA GPU, on any thread. Leaves no trace.

    May be nested: what an outer one watches or reorders stays watched and reordered.
    """
    with ExitStack() as patches:
        with running:
            if interpreting() and vars(Builder).get("cast_impl") is not _cast:
                _put_right(patches)
        try:
            yield
        finally:
            with running:
                patches.close()


def _put_right(patches: ExitStack) -> None:
    for name, method in (_METHODS | abreast.METHODS).items():
        patches.enter_context(mock.patch.object(Builder, name, method, create=name not in vars(Builder)))
    # Triton would compute every sum and product of integers twice, for an assertion that cannot fail here.
    options = replace(stock.interpreter_builder.options, sanitize_overflow=False)
    patches.enter_context(mock.patch.object(stock.interpreter_builder, "options", options))
    patches.enter_context(mock.patch.object(stock.ReduceOps, "apply_impl", _reduce))
    patches.enter_context(mock.patch.object(stock.ScanOps, "apply_impl", _scan))
    patches.enter_context(mock.patch.object(stock, "_patch_lang_tensor", _patch_tensor))
    patches.enter_context(mock.patch.object(stock, "_get_np_dtype", _numpy_dtype))
    patches.enter_context(launched(launcher()))
    libdevice.put_right(patches)
    scaled.put_right(patches)


_number_dtype = cache(stock._get_np_dtype)


def _numpy_dtype(kind: tl.dtype) -> np.dtype[Any]:
    """The numpy type of a type of Triton, which makes a table of them for every look."""
    scalar = kind.scalar
    return np.dtype(np.uint64) if scalar.is_ptr() else _number_dtype(scalar)


@contextmanager
def alone() -> Iterator[None]:
    """While entered, no other thread runs a kernel in the interpreter, and this one's are exact."""
    with running, exact():
        yield


def _cast(_builder: Any, source: Any, target: tl.dtype, *_signed: object) -> Any:
    """Every conversion between numbers: `create_fp_trunc`, `create_si_to_fp` and the like all come here."""
    kind = target.scalar
    return Handle(convert(source.data, source.dtype.scalar, kind), kind)


def _float_to_float(builder: Any, source: Any, target: tl.dtype, rounding: object) -> Any:
    if rounding not in (None, stock._ir.ROUNDING_MODE.RTNE):
        raise NotImplementedError(f"rounding mode {rounding} in the interpreter")
    return _cast(builder, source, target)


def _arithmetic(method: Callable[..., Any]) -> Callable[..., Any]:
    """A builder method on operands widened to f32 where numpy lacks their format, its result rounded once.

    That is what the GPU computes too: f32 carries enough digits for the second rounding to be harmless.
    """

    @wraps(method)
    def wide(builder: Any, *args: Any) -> Any:
        coded = [arg.dtype.scalar for arg in args if isinstance(arg, Handle) and arg.dtype.scalar in CODED]
        result = method(builder, *map(_widened, args)) if coded else method(builder, *args)
        if result.data.dtype == np.bool_:
            return Handle(result.data, tl.int1)
        if coded and result.dtype.scalar == tl.float32:
            return Handle(encode(result.data, coded[0]), coded[0])
        return result

    return wide


def _widened(arg: Any) -> Any:
    if not isinstance(arg, Handle) or arg.dtype.scalar not in CODED:
        return arg
    return Handle(convert(arg.data, arg.dtype.scalar, tl.float32), tl.float32)


def _fused_multiply_add(_builder: Any, x: Any, y: Any, z: Any) -> Any:
    product = x.data.astype(np.float64) * y.data.astype(np.float64)
    return Handle((product + z.data.astype(np.float64)).astype(z.data.dtype), z.dtype.scalar)


def _dot(_builder: Any, a: Any, b: Any, accumulator: Any, *_precision: object) -> Any:
    product = np.matmul(_widened(a).data, _widened(b).data, dtype=accumulator.data.dtype)
    return Handle(product + accumulator.data, accumulator.dtype.scalar)


def _function(builder: Any, arg: Any, operation: Any) -> Any:
    """A function of one number. Numpy computes some in another way where elements are apart: here they never are."""
    return _stock_function(builder, Handle(np.ascontiguousarray(arg.data), arg.dtype), operation)


_stock_function = Builder.unary_op


def _float_remainder(x: Array, y: Array) -> Array:
    """The GPU's `%`: the quotient is rounded before it is cut, so the result is poor where the quotient is large."""
    return np.where(np.isinf(y) & np.isfinite(x), x, x - np.trunc(x / y) * y)


def _clamp(builder: Any, x: Any, low: Any, high: Any, propagate_nan: Any) -> Any:
    keep = propagate_nan == stock._ir.PROPAGATE_NAN.ALL
    above, below = (np.maximum, np.minimum) if keep else (np.fmax, np.fmin)
    return builder.binary_op(builder.binary_op(x, low, above), high, below)


_METHODS: dict[str, Callable[..., Any]] = {
    "cast_impl": _cast,
    "create_fp_to_fp": _float_to_float,
    "binary_op": _arithmetic(Builder.binary_op),
    "ternary_op": _arithmetic(Builder.ternary_op),
    "unary_op": _arithmetic(_function),
    "create_rsqrt": _arithmetic(Builder.create_rsqrt),
    "create_fma": _arithmetic(_fused_multiply_add),
    "create_dot": _dot,
    "create_clampf": _clamp,
    "create_frem": lambda self, x, y: self.binary_op(x, y, _float_remainder),
    "create_minnumf": lambda self, x, y: self.binary_op(x, y, np.fmin),
    "create_maxnumf": lambda self, x, y: self.binary_op(x, y, np.fmax),
    "get_bf16": lambda self, value: Handle(encode(np.array([value], np.float32), tl.bfloat16), tl.bfloat16),
}


def _reduce(self: Any, inputs: tuple[Any, ...]) -> Any:
    """Combine neighbours until one is left, as a GPU's threads do: log2(n) roundings, each in the type of the input."""
    try:
        with mock.patch.object(tl.tensor, "__bool__", _truth):
            return _reduce_blocks(self, inputs)
    except _BlockHasNoTruthError:
        abreast.require_alone("a combine function that asks for truth")
        return _stock_reduce(self, inputs)


def _reduce_blocks(reduction: Any, inputs: tuple[Any, ...]) -> list[Any]:
    rank, axis = len(inputs[0].shape), reduction.axis
    values = inputs if axis is not None else tuple(map(_flat, inputs))
    place = abreast.lead() + (axis or 0)
    while values[0].handle.data.shape[place] > 1:
        first = (_every_second(value, place, 0) for value in values)
        second = (_every_second(value, place, 1) for value in values)
        combined = reduction.combine_fn.fn(*first, *second)
        values = combined if isinstance(combined, tuple) else (combined,)
    return [_reduced(reduction, value, rank, place) for value in values]


_stock_reduce = stock.ReduceOps.apply_impl
_stock_scan = stock.ScanOps.apply_impl


def _scan(self: Any, inputs: tuple[Any, ...]) -> Any:
    abreast.require_alone("a scan")
    return _stock_scan(self, inputs)


class _BlockHasNoTruthError(Exception):
    """A combine function says `and`, `or` or `if`: Python cannot do that for many elements at once."""


def _truth(value: Any) -> bool:
    if value.handle.data.size != 1:
        raise _BlockHasNoTruthError
    return bool(value.handle.data.item())


def _flat(value: Any) -> Any:
    data = value.handle.data
    return _block(data.reshape(*data.shape[: abreast.lead()], -1), value.dtype)


def _every_second(value: Any, place: int, start: int) -> Any:
    return _block(value.handle.data[(slice(None),) * place + (slice(start, None, 2),)], value.dtype)


def _reduced(reduction: Any, value: Any, rank: int, place: int) -> Any:
    data = value.handle.data
    if reduction.keep_dims:
        ones = (*data.shape[: abreast.lead()], *[1] * rank)
        return _block(data.reshape(ones) if reduction.axis is None else data, value.dtype)
    data = np.squeeze(data, place)
    if data.ndim > abreast.lead():
        return _block(data, value.dtype)
    return tl.tensor(Handle(data.reshape(-1), value.dtype), value.dtype)


def _block(data: Array, dtype: tl.dtype) -> Any:
    return tl.tensor(Handle(data, dtype), tl.block_type(dtype, list(data.shape[abreast.lead() :])))


_stock_patch_tensor = stock._patch_lang_tensor


def _patch_tensor(tensor: Any, scope: Any) -> None:
    """Numbers that loops and branches ask for are those of all programs."""
    _stock_patch_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda value: int(abreast.agreed(value.handle.data)))
    scope.set_attr(tensor, "__bool__", _branch)


def _branch(value: Any) -> bool:
    """The truth of a scalar. In the interpreter a block of several elements is true."""
    return bool(abreast.agreed(value.handle.data)) if value.numel.value == 1 else True
