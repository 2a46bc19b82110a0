"""A product of matrices by the vendor's library, as a step of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

from fusec.runtime.errors import ShapeMismatchError
from fusec.runtime.layout import join_axes

Strided: TypeAlias = Sequence[tuple[int, ...]]
"""Axes, each as its size and its stride in several buffers."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """How a product sees a buffer: as [rows, columns] or [batch, rows, columns].

    `strides`, in elements, may be anything, so a transposed operand has its two strides swapped and an operand that a
    batch shares has stride 0. `offset` moves the first element.
    """

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Product:
    """`out = a @ b` for a: [..., M, K], b: [..., K, N] and out: [..., M, N], all with a batch axis or all without.

    The sum over K is kept in f32 (in f64 for f64) and rounded once, to the dtype of `out`: that of `a` and `b`, or
    float32 for those of 16 bits. `tf32` lets the library round operands in float32 to 10 bits of fraction first. No
    sum is no launch: with K = 0 the result is all zeros. Raises `ShapeMismatchError`.

    Operands may be `in_8_bits`: "f8", or "fast" where sums may have fewer digits than f32, both with `scales` of rows
    and of columns, or of all of `a` and `b`, in float32; or "i8", whose `out` is int32.
    """

    a: Matrix
    b: Matrix
    out: Matrix
    tf32: bool = False
    in_8_bits: str = ""
    scales: tuple[Matrix | None, Matrix | None] = (None, None)

    def __post_init__(self) -> None:
        *batch, rows, inner = self.a.shape
        if self.b.shape != (*batch, inner, self.out.shape[-1]) or self.out.shape[:-1] != (*batch, rows):
            raise ShapeMismatchError(
                f"no product: `{self.a.name}` is {list(self.a.shape)}, `{self.b.name}` is {list(self.b.shape)} and "
                f"`{self.out.name}` is {list(self.out.shape)}"
            )

    @property
    def read(self) -> tuple[Matrix, ...]:
        """All that it reads."""
        return (self.a, self.b, *(scale for scale in self.scales if scale is not None))

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compute."""
        return 0 in self.out.shape

    @property
    def work(self) -> int:
        """Multiplications in all."""
        return prod(self.out.shape) * self.a.shape[-1]

    def at(self, offsets: Mapping[str, int]) -> Product:
        """The same product of matrices that lie so many elements further on, by the name of their buffer."""

        def moved(matrix: Matrix) -> Matrix:
            return replace(matrix, offset=matrix.offset + offsets.get(matrix.name, 0))

        rows, columns = (moved(scale) if scale is not None else None for scale in self.scales)
        return replace(self, a=moved(self.a), b=moved(self.b), out=moved(self.out), scales=(rows, columns))


def matmul(
    a: str,
    b: str,
    out: str,
    *,
    batch: Strided = (),
    rows: Strided = (),
    columns: Strided = (),
    inner: Strided = (),
    offsets: tuple[int, int, int] = (0, 0, 0),
    tf32: bool = False,
) -> Product | None:
    """The product of the buffers `a` and `b`, or None where their strides make no matrices of them.

    Every axis is its size and its strides, in elements: those of `batch` in a, b and out, of `rows` in a and out, of
    `columns` in b and out, of `inner`, which are summed over, in a and b. Several axes count as one where they lie
    evenly in memory; where they do not, the outer one of two rows or columns becomes the batch. `offsets` moves the
    first element of a, b and out; `tf32` is as in `Product`.
    """
    batches = join_axes(batch)
    lines = join_axes((size, of_a, 0, of_out) for size, of_a, of_out in rows)
    posts = join_axes((size, 0, of_b, of_out) for size, of_b, of_out in columns)
    steps = join_axes((size, of_a, of_b, 0) for size, of_a, of_b in inner)
    if not batches:
        for axes in (lines, posts):
            if len(axes) == 2 and not batches:
                batches.append(axes.pop(0))
    if max(map(len, (batches, lines, posts, steps))) > 1:
        return None
    one = (1, (0, 0, 0))
    (count, each), (height, down), (width, across), (depth, along) = (
        axes[0] if axes else one for axes in (batches, lines, posts, steps)
    )
    first, second, third = offsets
    return Product(
        Matrix(a, (count, height, depth), (each[0], down[0], along[0]), first),
        Matrix(b, (count, depth, width), (each[1], along[1], across[1]), second),
        Matrix(out, (count, height, width), (each[2], down[2], across[2]), third),
        tf32,
    )
