"""Products of 8 bits by the vendor's library, as PyTorch calls it: which it takes, and how they are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from fusec.runtime.product import Matrix, Product

ALIGNED = 16
"""What extents, strides and addresses are multiples of, in elements of one byte."""

_NUMBERS = ((1, 1), (1, 1))
"""What scales look like that are a number for each operand."""

_MOST_ROWS_OF_INT_MM = 16
"""`torch._int_mm` takes more rows than this."""


_GROUP = 128
"""Positions of a group with scales of its own; rows of a block that share them."""

_LINE = 4
"""What numbers of scales side by side are multiples of: those of 16 bytes."""

_SCALES_GROUPS = torch.version.cuda is None or tuple(map(int, torch.version.cuda.split(".")[:2])) >= (12, 9)
"""Whether the library that PyTorch was built for scales groups."""


def takes(product: Product, dtypes: tuple[torch.dtype, ...], on_hopper: bool) -> bool:
    """Whether the library multiplies operands of 8 bits that lie so; `dtypes` are those of a, b and out.

    Both operands lie along what is summed up, and the result row by row. Products with scales of rows are of every type
    `on_hopper`, or else of bf16; those with scales of groups are made there alone.
    """
    a, b, out = product.a, product.b, product.out
    count, rows, inner = a.shape
    columns = out.shape[-1]
    lies = a.strides[2] == 1 and b.strides[1] == 1 and (out.strides[2] == 1 or columns == 1)
    steps = (*((a.strides[1],) if rows > 1 else ()), *((b.strides[2],) if columns > 1 else ()), a.offset, b.offset)
    if count != 1 or not lies or any(each % ALIGNED for each in (inner, columns, *steps)) or not inner:
        return False
    if rows > 1 and out.strides[1] != columns:
        return False
    if product.in_8_bits == "i8":
        return rows > _MOST_ROWS_OF_INT_MM
    if product.groups:
        known = dtypes[0] == dtypes[1] == torch.float8_e4m3fn
        return on_hopper and _SCALES_GROUPS and known and _has_scales_of_groups(product)
    sizes = [(max(scale.shape), (rows, columns)[place]) for place, scale in enumerate(product.scales) if scale]
    if any(size > 1 for size, _ in sizes):
        if any(size != wanted for size, wanted in sizes):
            return False
        is_written = on_hopper or dtypes[2] == torch.bfloat16
        return is_written and dtypes[0] == dtypes[1] == torch.float8_e4m3fn
    return torch.float8_e4m3fn in dtypes[:2]


def _has_scales_of_groups(product: Product) -> bool:
    """Whether the library has scales of groups like these: of one operand's rows at least, in whole vectors of memory.

    It reads those of several blocks in lines of a multiple of 4 groups.
    """
    if product.a.shape[-1] != product.groups * _GROUP or None in product.scales:
        return False
    lines = [0]
    for place, scale in enumerate(product.scales):
        assert scale is not None
        size, length = scale.shape[1 + place], product.out.shape[1 + place]
        is_block = size * _GROUP == length
        if not is_block and (size != length or length % _LINE):
            return False
        lines += [product.groups if size > 1 else 0] if is_block else []
    return len(lines) <= 2 and lines[-1] % _LINE == 0


def _steps(scale: Matrix, place: int, length: int) -> tuple[int, int]:
    """The strides that the library wants of scales of groups: rows of one group side by side, or groups of a block."""
    size, groups = scale.shape[1 + place], scale.shape[2 - place]
    own, other = (1, size) if size == length else (groups, 1)
    return (own, other) if place == 0 else (other, own)


def copied(product: Product) -> tuple[tuple[int, int] | None, ...]:
    """The strides that scales of groups are copied to before the library reads them; None for those that lie so."""
    found: list[tuple[int, int] | None] = []
    for place, scale in enumerate(product.scales if product.groups else ()):
        assert scale is not None
        wanted = _steps(scale, place, product.out.shape[1 + place])
        axes = zip(scale.shape[1:], scale.strides[1:], wanted, strict=True)
        found.append(None if all(size <= 1 or step == other for size, step, other in axes) else wanted)
    return tuple(found)


def copies(product: Product) -> bool:
    """Whether scales are copied first, a launch more."""
    return any(steps is not None for steps in copied(product))


@dataclass(frozen=True, slots=True)
class OfEightBits:
    """A product as the library is asked for it: of integers, or with `fast` sums, and scales of these shapes.

    Where one of the two `scales` is not there, the library is given ones. Those of groups may be `copied` first; it
    has exact sums of groups alone, which are asked for where `fast` ones are allowed, too.
    """

    whole: bool
    fast: bool
    scales: tuple[bool, bool]
    shapes: tuple[tuple[int, int], tuple[int, int]]
    copied: tuple[tuple[int, int] | None, ...]

    @staticmethod
    def of(product: Product) -> OfEightBits:
        """What is asked for a product."""
        given = tuple(scale is not None for scale in product.scales)
        rows, columns = product.out.shape[-2:]
        vectors = any(scale is not None and scale.shape[-2:] != (1, 1) for scale in product.scales)
        shapes = ((rows, 1), (1, columns)) if vectors else _NUMBERS
        kind = product.in_8_bits
        fast = kind == "fast" and not product.groups
        return OfEightBits(kind == "i8", fast, (given[0], given[1]), shapes, copied(product))

    def multiplication(self, device: torch.device) -> Callable[..., object]:
        """The function of `a`, `b`, the scales that there are, and `out`."""
        is_stood_in = device.type == "cpu"
        if self.whole:
            return _exactly_whole if is_stood_in else torch._int_mm
        if self.copied:
            return partial(_scaled_in_groups, _exactly_in_groups if is_stood_in else torch._scaled_mm, self.copied)
        ones = tuple(
            None if given else torch.ones(shape, dtype=torch.float32, device=device)
            for given, shape in zip(self.scales, self.shapes, strict=True)
        )
        return partial(_scaled, _exactly if is_stood_in else torch._scaled_mm, ones, self.fast)


def _scaled(
    scaled_mm: Callable[..., object],
    ones: tuple[Tensor | None, ...],
    fast: bool,
    a: Tensor,
    b: Tensor,
    *scales: Tensor,
    out: Tensor,
) -> None:
    left = iter(scales)
    rows, columns = (next(left) if one is None else one for one in ones)
    scaled_mm(a, b, rows, columns, out_dtype=out.dtype, use_fast_accum=fast, out=out)


def _scaled_in_groups(
    scaled_mm: Callable[..., object],
    copied: tuple[tuple[int, int] | None, ...],
    a: Tensor,
    b: Tensor,
    *scales: Tensor,
    out: Tensor,
) -> None:
    rows, columns = (
        scale if steps is None else torch.empty_strided(scale.shape, steps, device=scale.device).copy_(scale)
        for scale, steps in zip(scales, copied, strict=True)
    )
    scaled_mm(a, b, rows, columns, out_dtype=out.dtype, use_fast_accum=False, out=out)


def _exactly_whole(a: Tensor, b: Tensor, out: Tensor) -> None:
    """What stands for `torch._int_mm` on the CPU."""
    _require(a, b, out)
    out.copy_(a.double() @ b.double())


def _exactly(
    a: Tensor, b: Tensor, rows: Tensor, columns: Tensor, *, out_dtype: torch.dtype, use_fast_accum: bool, out: Tensor
) -> None:
    """What stands for `torch._scaled_mm` on the CPU: the exact sum, and its scales in the order of the library.

    First that of a column, then that of a row; or the product of two numbers.
    """
    del out_dtype, use_fast_accum  # Exact sums are within the bound of fast ones.
    _require(a, b, out, rows, columns)
    product = a.double() @ b.double()
    # The product of two numbers as f32, which it may leave.
    scales = (columns * rows,) if rows.numel() == columns.numel() == 1 else (columns, rows)
    for scale in scales:
        product = product.float() * scale
    out.copy_(product)


def _exactly_in_groups(
    a: Tensor, b: Tensor, rows: Tensor, columns: Tensor, *, out_dtype: torch.dtype, use_fast_accum: bool, out: Tensor
) -> None:
    """The same of scales of groups."""
    del out_dtype
    _require(a, b, out, rows, columns)
    if use_fast_accum:
        raise RuntimeError("the library has no fast sums of groups")
    factors = []
    for matrix, scale in ((a, rows), (b, columns)):
        wide = scale.double()
        for axis in (0, 1):
            wide = wide.repeat_interleave(matrix.shape[axis] // scale.shape[axis], axis)
        factors.append(matrix.double() * wide)
    out.copy_(factors[0] @ factors[1])


def _require(a: Tensor, b: Tensor, out: Tensor, *scales: Tensor) -> None:
    """Raise where the library would: its stand-in takes no more than it does."""
    if a.dtype == b.dtype == torch.float8_e5m2:
        raise RuntimeError("the library multiplies no two matrices of e5m2")
    if any(each.data_ptr() % ALIGNED for each in (a, b, out, *scales) if each.numel() > 1):
        raise RuntimeError(f"an operand of the library begins at no multiple of {ALIGNED} bytes")
    if a.stride(1) != 1 or b.stride(0) != 1 or any(each % ALIGNED for each in b.shape):
        raise RuntimeError("operands of the library lie otherwise than it reads them")


def group_scale(
    name: str,
    offset: int,
    place: int,
    axes: list[tuple[int, tuple[int, ...]]],
    groups: list[tuple[int, tuple[int, ...]]],
) -> Matrix | None:
    """Scales of groups as a matrix, of rows by groups (`place` 0) or of groups by columns (1)."""
    if len(axes) > 1 or len(groups) > 1:
        return None
    (size, (step,)), (count, (along,)) = (each[0] if each else (1, (0,)) for each in (axes, groups))
    if place == 0:
        return Matrix(name, (1, size, count), (0, step, along), offset)
    return Matrix(name, (1, count, size), (0, along, step), offset)


def scale(name: str, offset: int, place: int, axes: list[tuple[int, tuple[int, ...]]]) -> Matrix | None:
    """A scale of rows (`place` 0) or columns (1) as a matrix, of its joined axes; None where it lies in strides."""
    if len(axes) > 1:
        return None
    size, steps = axes[0] if axes else (1, (1,))
    if size > 1 and steps != (1,):
        return None
    return Matrix(name, (1, size, 1) if place == 0 else (1, 1, size), (0, 1, 1), offset)
