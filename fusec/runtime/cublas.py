"""GEMM by cuBLAS called directly: the handle, kernels and results of `torch.mm` without its host time.

PyTorch's own call parses arguments, dispatches and checks shapes for each product anew. Here the arguments are made
once, and a call fills in three addresses. The handle, its stream and its workspace are PyTorch's, so CUDA graphs,
streams and devices work as they do there. The precision of the sum is an argument of each call: no setting of the
process is read or changed. Where a product does not fit, `fusec.runtime.product` calls PyTorch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import byref, c_double, c_float, c_int, c_longlong, c_void_p
from functools import cache
from typing import Any, Protocol, TypeAlias

import torch

from fusec.runtime.errors import DeviceError

Gemm: TypeAlias = Callable[[int, int, int], None]
"""Multiplies what lies at the addresses of a and b, and writes to that of out, on PyTorch's current stream."""


class Strided(Protocol):
    """A matrix as [rows, columns] or [batch, rows, columns], with strides in elements."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes."""

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides."""

    @property
    def offset(self) -> int:
        """Elements in front of the first one."""


# Values of cuBLAS's enumerations, from its public headers.
_DATA = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 14}
_COMPUTE_32F, _COMPUTE_32F_FAST_TF32, _COMPUTE_64F = 68, 77, 70
_PLAIN, _TRANSPOSED = 0, 1
_ANY_ALGORITHM = 99
# Parts of a sum that several programs share are added in f32.
_DISALLOW_REDUCED_PRECISION_REDUCTION = 16
_MOST = 2**31 - 1

_handle: Callable[[], int] | None = getattr(torch._C, "_cuda_getCurrentBlasHandle", None)


@cache
def library() -> Any | None:
    """The cuBLAS that PyTorch has loaded; None where there is none, or where its symbols are not to be seen."""
    symbols = ctypes.CDLL(None)
    names = ("cublasGemmEx", "cublasGemmStridedBatchedEx", "cublasSetMathMode")
    return symbols if _handle is not None and all(hasattr(symbols, name) for name in names) else None


def gemm(cublas: Any, matrices: Sequence[Strided], dtypes: Sequence[torch.dtype], tf32: bool) -> Gemm | None:
    """`out = a @ b` for these three matrices as one call of cuBLAS; None where their strides or sizes do not fit it.

    The sum is kept in f32 (in f64 for f64) and rounded once, to the dtype of out; `tf32` lets operands in f32 be
    rounded to 10 bits of fraction first. The call raises `DeviceError` with the status of cuBLAS where that fails.
    """
    a, b, out = map(_columns, matrices)
    if a is None or b is None or out is None or not set(dtypes) <= set(_DATA):
        return None
    (rows, inner), columns = matrices[0].shape[-2:], matrices[1].shape[-1]
    # cuBLAS writes columns: a row-major result is the transposed product, of the other operand first.
    turned = out[0] == _TRANSPOSED
    first, second = (b, a) if turned else (a, b)
    sizes = (columns, rows, inner) if turned else (rows, columns, inner)
    kinds = (dtypes[1], dtypes[0]) if turned else (dtypes[0], dtypes[1])
    batched = len(matrices[-1].shape) == 3
    steps = [matrix.strides[0] if batched else 0 for matrix in matrices]
    if max(*sizes, first[1], second[1], out[1]) > _MOST:
        return None
    double, single = dtypes[0] == torch.float64, dtypes[0] == torch.float32
    compute = _COMPUTE_64F if double else _COMPUTE_32F_FAST_TF32 if single and tf32 else _COMPUTE_32F
    one, zero = (c_double(1), c_double(0)) if double else (c_float(1), c_float(0))
    call = cublas.cublasGemmStridedBatchedEx if batched else cublas.cublasGemmEx
    operations = (c_int(turned ^ first[0]), c_int(turned ^ second[0]))
    return _bound(
        cublas,
        call,
        (*operations, *map(c_int, sizes), byref(one)),
        _operand(kinds[0], first[1], steps[1] if turned else steps[0], batched),
        _operand(kinds[1], second[1], steps[0] if turned else steps[1], batched),
        byref(zero),
        _operand(dtypes[2], out[1], steps[2], batched),
        (*((c_int(matrices[-1].shape[0]),) if batched else ()), c_int(compute), c_int(_ANY_ALGORITHM)),
        [matrix.offset * dtype.itemsize for matrix, dtype in zip(matrices, dtypes, strict=True)],
        turned,
    )


def _bound(
    cublas: Any,
    call: Callable[..., int],
    head: tuple[Any, ...],
    first: tuple[Any, ...],
    second: tuple[Any, ...],
    beta: Any,
    out: tuple[Any, ...],
    tail: tuple[Any, ...],
    offsets: list[int],
    turned: bool,
) -> Gemm:
    set_mode, exact = cublas.cublasSetMathMode, c_int(_DISALLOW_REDUCED_PRECISION_REDUCTION)
    of_a, of_b, of_out = offsets

    def multiply(a: int, b: int, result: int) -> None:
        assert _handle is not None
        # PyTorch puts the mode of its handle back whenever it asks for it.
        handle = c_void_p(_handle())
        set_mode(handle, exact)
        left, right = c_void_p(a + of_a), c_void_p(b + of_b)
        if turned:
            left, right = right, left
        status = call(handle, *head, left, *first, right, *second, beta, c_void_p(result + of_out), *out, *tail)
        if status:
            raise DeviceError(f"cuBLAS could not multiply: status {status}", None, "status 0", status)

    return multiply


def _operand(dtype: torch.dtype, leading: int, step: int, batched: bool) -> tuple[Any, ...]:
    """What follows the address of a matrix: its dtype, its leading dimension and, in a batch, the stride of that."""
    described = (c_int(_DATA[dtype]), c_int(leading))
    return (*described, c_longlong(step)) if batched else described


def _columns(matrix: Strided) -> tuple[int, int] | None:
    """How cuBLAS, for which columns are contiguous, sees a matrix: plain or transposed, and its leading dimension."""
    (rows, columns), (down, across) = matrix.shape[-2:], matrix.strides[-2:]
    if down == 1 and across >= max(1, rows):
        return _PLAIN, across
    if across == 1 and down >= max(1, columns):
        return _TRANSPOSED, down
    return None
