"""GEMM by cuBLASLt with all but the addresses made once: what `torch.mm` runs, without its host time.

PyTorch's call parses arguments, dispatches, checks shapes and looks for an algorithm anew for each product. Here the
descriptors and the algorithm are kept, and a call fills in three addresses and a stream. The precision of the sum is
part of the descriptors: no setting of the process is read or changed. A workspace, where the algorithm needs one, comes
from PyTorch's caching allocator in each call, so that streams, threads and CUDA graphs share nothing.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable, Sequence
from ctypes import byref, c_double, c_float, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from functools import cache
from math import gcd
from operator import add
from typing import Any

import torch

from fusec.runtime import allocate
from fusec.runtime.cache import BoundedCache
from fusec.runtime.product import Matrix

# Values of cuBLAS's enumerations, and the types of its functions, from its public headers.
_DATA = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 14}
_COMPUTE_32F, _COMPUTE_32F_FAST_TF32, _COMPUTE_64F = 68, 77, 70
_TRANSA, _TRANSB = 3, 4
_BATCH_COUNT, _STRIDED_BATCH_OFFSET = 5, 6
_MAX_WORKSPACE_BYTES, _REDUCTION_SCHEME_MASK = 1, 3
_MIN_ALIGNMENTS = (5, 6, 7, 8)
"""Of a, b, c and d = a @ b + c."""

_IN_COMPUTE_TYPE = 2
"""Parts of a sum that several programs share are added in f32, in a fixed order."""

_MOST = 2**31 - 1
_WORKSPACE = 32 * 2**20
"""As many bytes of workspace as PyTorch gives the library on Hopper; few algorithms need any."""

_ALIGNMENT = 16
"""No kernel looks at more of an address, and a plan knows no more of those of its tensors."""

_MOST_GIVEN = 512
"""Addresses and streams for which a product keeps its arguments: to make them takes as long as to pass them."""

_POINTER = c_void_p
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cublasLtMatmulDescCreate": (_POINTER, c_int, c_int),
    "cublasLtMatmulDescSetAttribute": (_POINTER, c_int, _POINTER, c_size_t),
    "cublasLtMatmulDescDestroy": (_POINTER,),
    "cublasLtMatrixLayoutCreate": (_POINTER, c_int, c_uint64, c_uint64, c_int64),
    "cublasLtMatrixLayoutSetAttribute": (_POINTER, c_int, _POINTER, c_size_t),
    "cublasLtMatrixLayoutDestroy": (_POINTER,),
    "cublasLtMatmulPreferenceCreate": (_POINTER,),
    "cublasLtMatmulPreferenceSetAttribute": (_POINTER, c_int, _POINTER, c_size_t),
    "cublasLtMatmulPreferenceDestroy": (_POINTER,),
    "cublasLtMatmulAlgoGetHeuristic": (*[_POINTER] * 7, c_int, _POINTER, _POINTER),
}
"""All but `cublasLtMatmul`, whose arguments are made beforehand."""

_address: Callable[[int], Any] = c_void_p.from_param
_handle: Callable[[], int] | None = getattr(torch._C, "_cuda_getCurrentBlasHandle", None)


@cache
def library() -> Any | None:
    """The cuBLASLt that PyTorch has loaded; None where it has none, or one that is part of itself."""
    if torch.version.cuda is None or _handle is None:
        return None
    try:
        loaded = ctypes.CDLL(f"libcublasLt.so.{torch.version.cuda.partition('.')[0]}", mode=os.RTLD_NOLOAD)
        for name, types in _FUNCTIONS.items():
            getattr(loaded, name).argtypes = types
        return loaded if hasattr(loaded, "cublasLtMatmul") else None
    except (OSError, AttributeError):
        return None


def handle() -> int:
    """PyTorch's handle of the current device, which it never destroys. A thread needs none of its own for cuBLASLt."""
    assert _handle is not None
    return _handle()


@dataclass(frozen=True, slots=True)
class Operand:
    """A matrix of a product, and an address at which it may lie: others are the same, modulo 16."""

    matrix: Matrix
    dtype: torch.dtype
    address: int

    @property
    def transposed(self) -> bool:
        """Whether cuBLASLt, to which columns are contiguous, sees it transposed."""
        return self.matrix.strides[-1] == 1 and self.matrix.strides[-2] >= max(1, self.matrix.shape[-1])

    @property
    def stored(self) -> tuple[int, int, int]:
        """How long a contiguous line of it is, how many there are, and the stride between them."""
        (rows, columns), (down, across) = self.matrix.shape[-2:], self.matrix.strides[-2:]
        return (columns, rows, down) if self.transposed else (rows, columns, across)

    @property
    def fits(self) -> bool:
        """Whether it is a matrix to cuBLASLt."""
        length, _, leading = self.stored
        lines = self.transposed or (self.matrix.strides[-2] == 1 and leading >= max(1, length))
        return lines and self.dtype in _DATA and max(self.stored) <= _MOST

    @property
    def step(self) -> int:
        """The stride of a batch, in elements."""
        return self.matrix.strides[0] if len(self.matrix.shape) == 3 else 0

    @property
    def shift(self) -> int:
        """Bytes from the address to the first element."""
        return self.matrix.offset * self.dtype.itemsize

    @property
    def alignment(self) -> int:
        """A power of two that divides the addresses of all matrices of a batch."""
        return gcd(_ALIGNMENT, self.address + self.shift, self.step * self.dtype.itemsize)


class _Found(ctypes.Structure):
    """An algorithm, and what it needs."""

    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


class _Made:
    """A descriptor, a layout or a preference, which lives as long as this."""

    def __init__(self, lt: Any, kind: str, *arguments: int) -> None:
        self._set = getattr(lt, f"cublasLt{kind}SetAttribute")
        self.pointer = c_void_p()
        _require(getattr(lt, f"cublasLt{kind}Create")(byref(self.pointer), *arguments) == 0)
        weakref.finalize(self, getattr(lt, f"cublasLt{kind}Destroy"), self.pointer).atexit = False

    def set(self, attribute: int, value: Any) -> None:
        _require(self._set(self.pointer, attribute, byref(value), ctypes.sizeof(value)) == 0)


class Gemm:
    """`out = a @ b` for three matrices on the current device, of which all is known but where they lie.

    The sum is kept in f32 (in f64 for f64) and rounded once, to the dtype of out; `tf32` lets operands in f32 be
    rounded to 10 bits of fraction first. Raises `RefusedError` where they do not fit the library.
    """

    __slots__ = (
        "_about", "_call", "_device", "_given", "_handle", "_needed", "_numbers", "_owned", "_shifts", "_turned",
    )  # fmt: skip

    def __init__(self, lt: Any, handle: int, operands: Sequence[Operand], tf32: bool, device: torch.device) -> None:
        _require(all(operand.fits for operand in operands))
        a, b, out = operands
        # Columns are written: a row-major result is the transposed product, of the other operand first.
        self._turned = out.transposed
        first, second = (b, a) if self._turned else (a, b)
        double = a.dtype == torch.float64
        compute = _COMPUTE_64F if double else _COMPUTE_32F_FAST_TF32 if _may_round(a.dtype, tf32) else _COMPUTE_32F
        about = _Made(lt, "MatmulDesc", compute, _DATA[torch.float64 if double else torch.float32])
        about.set(_TRANSA, c_int(self._turned ^ first.transposed))
        about.set(_TRANSB, c_int(self._turned ^ second.transposed))
        layouts = [_layout(lt, operand) for operand in (first, second, out)]
        alignments = [operand.alignment for operand in (first, second, out, out)]
        found = _heuristic(lt, handle, about, layouts, alignments)
        one, zero = (c_double(1), c_double(0)) if double else (c_float(1), c_float(0))
        self._about = tuple(_address(made.pointer.value or 0) for made in (about, *layouts))
        self._numbers = (byref(one), byref(zero), byref(found.algorithm), c_size_t.from_param(found.workspace))
        self._owned = (about, *layouts)
        self._handle = _address(handle)
        self._needed = int(found.workspace)
        self._shifts = [operand.shift for operand in operands]
        self._call = lt.cublasLtMatmul
        self._device = device
        self._given: BoundedCache[tuple[Any, ...]] = BoundedCache(_MOST_GIVEN)

    def multiply(self, stream: int, addresses: tuple[int, ...]) -> bool:
        """Multiply what lies at the addresses of a and b into that of out, on a stream. Whether the library could."""
        given = self._given.get((stream, addresses))
        if given is not None:
            return not self._call(*given)
        if not self._needed:
            return not self._call(*self._given.put((stream, addresses), self._arguments(stream, addresses, 0)))
        # Others may get it as soon as this call is under way: what they launch comes behind it on the stream.
        workspace = allocate.empty((self._needed,), (1,), torch.uint8, self._device)
        return not self._call(*self._arguments(stream, addresses, workspace.data_ptr()))

    def _arguments(self, stream: int, addresses: tuple[int, ...], workspace: int) -> tuple[Any, ...]:
        """What `cublasLtMatmul` takes. It owns nothing of a call: these are numbers, in the form that is passed on."""
        first, second, out = map(_address, map(add, addresses, self._shifts))
        if self._turned:
            first, second = second, first
        about, of_first, of_second, of_out = self._about
        one, zero, algorithm, size = self._numbers
        factors = (first, of_first, second, of_second)
        where = (algorithm, _address(workspace), size, _address(stream))
        return (self._handle, about, one, *factors, zero, out, of_out, out, of_out, *where)


class RefusedError(Exception):
    """cuBLASLt does not multiply these."""


def _require(fits: bool) -> None:
    if not fits:
        raise RefusedError


def _may_round(dtype: torch.dtype, tf32: bool) -> bool:
    return tf32 and dtype == torch.float32


def _layout(lt: Any, operand: Operand) -> _Made:
    layout = _Made(lt, "MatrixLayout", _DATA[operand.dtype], *operand.stored)
    if len(operand.matrix.shape) == 3:
        layout.set(_BATCH_COUNT, c_int(operand.matrix.shape[0]))
        layout.set(_STRIDED_BATCH_OFFSET, c_int64(operand.step))
    return layout


def _heuristic(lt: Any, handle: int, about: _Made, layouts: Sequence[_Made], alignments: Sequence[int]) -> _Found:
    """The algorithm that the library takes to be the fastest."""
    wanted = _Made(lt, "MatmulPreference")
    wanted.set(_MAX_WORKSPACE_BYTES, c_uint64(_WORKSPACE))
    wanted.set(_REDUCTION_SCHEME_MASK, c_uint32(_IN_COMPUTE_TYPE))
    for attribute, alignment in zip(_MIN_ALIGNMENTS, alignments, strict=True):
        wanted.set(attribute, c_uint32(alignment))
    found, count = _Found(), c_int()
    first, second, out = (layout.pointer for layout in layouts)
    given = (handle, about.pointer, first, second, out, out, wanted.pointer, 1, byref(found), byref(count))
    status = lt.cublasLtMatmulAlgoGetHeuristic(*given)
    _require(status == 0 and count.value == 1 and found.state == 0)
    return found
