"""GEMM by cuBLASLt with all but the addresses made once: what `torch.addmm` runs, without its host time.

A call of PyTorch parses arguments, dispatches, checks shapes and looks for an algorithm anew for each product. Here the
descriptors and the algorithm are kept, and a call fills in addresses and a stream. The precision of the sum is
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
from fusec.runtime.product import Matrix, lies_along

# Values of cuBLAS's enumerations, and the types of its functions, from its public headers.
_DATA = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 14}
_COMPUTE_32F, _COMPUTE_32F_FAST_TF32, _COMPUTE_64F = 68, 77, 70
_SCALE_32F, _SCALE_64F = 0, 1
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
        return self.matrix.is_by_rows

    def stored(self, transposed: bool) -> tuple[int, int, int]:
        """How long a contiguous line of it is, how many there are, and the stride between them."""
        (rows, columns), (down, across) = self.matrix.shape[-2:], self.matrix.strides[-2:]
        return (columns, rows, down) if transposed else (rows, columns, across)

    @property
    def fits(self) -> bool:
        """Whether it is a matrix to cuBLASLt."""
        lines = self.matrix.is_by_rows or self.matrix.is_by_columns
        return lines and self.dtype in _DATA and max(self.stored(self.transposed)) <= _MOST

    def is_added_to(self, out: Operand) -> bool:
        """Whether cuBLASLt adds it before it rounds to `out`."""
        fits = self.dtype == out.dtype and lies_along(self.matrix, out.matrix)
        return fits and max(self.stored(out.transposed)) <= _MOST

    @property
    def step(self) -> int:
        """The stride of a batch, in elements."""
        return self.matrix.strides[0] if len(self.matrix.shape) == 3 else 0

    @property
    def shift(self) -> int:
        """Bytes from the address to the first element."""
        return self.matrix.offset * self.dtype.itemsize

    @property
    def first(self) -> int:
        """Where the first element is."""
        return self.address + self.shift

    @property
    def alignment(self) -> int:
        """A power of two that divides the addresses of all matrices of a batch."""
        return gcd(_ALIGNMENT, self.first, self.step * self.dtype.itemsize)


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
    """`out = a @ b + addend` on the current device, of which all is known but where the matrices lie.

    The sum is kept in f32 (in f64 for f64) and rounded once, to the dtype of out, which is that of an addend; `tf32`
    lets operands in f32 be rounded to 10 bits of fraction first. Raises `RefusedError` where these do not fit the
    library.

    A bias is the matrix that is added, of lines that lie at one place. The library has an epilogue for it, too, which
    some of its algorithms make a second kernel of: that adds it to what is rounded already.
    """

    def __init__(self, lt: Any, handle: int, operands: Sequence[Operand], tf32: bool, device: torch.device) -> None:
        """`operands` are a, b, an addend if there is one, and out."""
        a, b, *addends, out = operands
        _require(all(operand.fits for operand in (a, b, out)))
        # Columns are written: a row-major result is the transposed product, of the other operand first.
        self._turned = out.transposed
        self._factors = (b, a) if self._turned else (a, b)
        _require(len(addends) <= 1 and all(each.is_added_to(out) for each in addends))
        summed = (*addends, out)[0]
        described = self._described(lt, tf32)
        layouts = [_layout(lt, each, each.transposed) for each in self._factors]
        layouts += [_layout(lt, each, out.transposed) for each in (summed, out)]
        aligned = [operand.alignment for operand in (*self._factors, summed, out)]
        found = _heuristic(lt, handle, described, layouts, aligned)
        scalar = c_double if a.dtype == torch.float64 else c_float
        self._scalars = (byref(scalar(1)), byref(scalar(len(addends))))
        self._algorithm = (byref(found.algorithm), c_size_t.from_param(found.workspace))
        self._layouts = [_address(layout.pointer.value or 0) for layout in layouts]
        self._about = _address(described.pointer.value or 0)
        self._owned = (described, layouts)
        self._handle = _address(handle)
        self._needed = int(found.workspace)
        self._shifts = [operand.shift for operand in operands]
        self._call = lt.cublasLtMatmul
        self._device = device
        self._given: BoundedCache[tuple[Any, ...]] = BoundedCache(_MOST_GIVEN)

    def multiply(self, stream: int, addresses: tuple[int, ...]) -> bool:
        """Multiply on a stream what lies at the addresses of the operands. Whether the library could."""
        given = self._given.get((stream, addresses))
        if given is not None:
            return not self._call(*given)
        if not self._needed:
            return not self._call(*self._given.put((stream, addresses), self._arguments(stream, addresses, 0)))
        # Others may get it as soon as this call is under way: what they launch comes behind it on the stream.
        workspace = allocate.empty((self._needed,), (1,), torch.uint8, self._device)
        return not self._call(*self._arguments(stream, addresses, workspace.data_ptr()))

    def _arguments(self, stream: int, addresses: tuple[int, ...], workspace: int) -> tuple[Any, ...]:
        """What `cublasLtMatmul` takes. These are numbers: they own nothing of a call."""
        a, b, *added = map(_address, map(add, addresses, self._shifts))
        first, second = (b, a) if self._turned else (a, b)
        of_first, of_second, of_summed, of_out = self._layouts
        one, beta = self._scalars
        algorithm, size = self._algorithm
        factors = (first, of_first, second, of_second)
        where = (algorithm, _address(workspace), size, _address(stream))
        return (self._handle, self._about, one, *factors, beta, added[0], of_summed, added[-1], of_out, *where)

    def _described(self, lt: Any, tf32: bool) -> _Made:
        """What is done to the matrices."""
        first, second = self._factors
        double = first.dtype == torch.float64
        single = _COMPUTE_32F_FAST_TF32 if tf32 and first.dtype == torch.float32 else _COMPUTE_32F
        made = _Made(lt, "MatmulDesc", _COMPUTE_64F if double else single, _SCALE_64F if double else _SCALE_32F)
        made.set(_TRANSA, c_int(self._turned ^ first.transposed))
        made.set(_TRANSB, c_int(self._turned ^ second.transposed))
        return made


class RefusedError(Exception):
    """cuBLASLt does not multiply these."""


def _require(fits: bool) -> None:
    if not fits:
        raise RefusedError


def _layout(lt: Any, operand: Operand, transposed: bool) -> _Made:
    layout = _Made(lt, "MatrixLayout", _DATA[operand.dtype], *operand.stored(transposed))
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
    given = (
        handle,
        about.pointer,
        *(layout.pointer for layout in layouts),
        wanted.pointer,
        1,
        byref(found),
        byref(count),
    )
    status = lt.cublasLtMatmulAlgoGetHeuristic(*given)
    _require(status == 0 and count.value == 1 and found.state == 0)
    return found
