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

    @property
    def is_by_rows(self) -> bool:
        """Whether its rows are gapless, and stand behind one another."""
        return self.strides[-1] == 1 and self.strides[-2] >= max(1, self.shape[-1])

    @property
    def is_by_columns(self) -> bool:
        """Whether its columns are."""
        return self.strides[-2] == 1 and self.strides[-1] >= max(1, self.shape[-2])


def with_lengths(matrix: Matrix) -> Matrix:
    """The same elements, row-major or column-major also where there is but one row or one column.

    The stride of an axis of one element says nothing, and is often 0. PyTorch passes it on as the length of the rows
    or columns in memory all the same, which the library then refuses, or copies the operand to get another one.
    """
    rows, columns = matrix.shape[-2:]
    *steps, row, column = matrix.strides
    if rows == 1:
        row, column = (columns, 1) if column == 1 else (1, column)
    if columns == 1:
        row, column = (1, rows) if row == 1 else (row, 1)
    return replace(matrix, strides=(*steps, row, column))


def lies_along(addend: Matrix, out: Matrix) -> bool:
    """Whether the library adds a matrix to `out`: its lines are gapless where those of `out` are, or one for all."""
    along, across = (-1, -2) if out.is_by_rows else (-2, -1)
    step = addend.strides[across]
    return addend.strides[along] == 1 and (step == 0 or step >= max(1, addend.shape[along]))


@dataclass(frozen=True, slots=True)
class Product:
    """`out = a @ b` for a: [..., M, K], b: [..., K, N] and out: [..., M, N], all with a batch axis or all without.

    The sum over K is kept in f32 (in f64 for f64) and rounded once, to the dtype of `out`: that of `a` and `b`, or
    float32 for those of 16 bits. `tf32` lets the library round operands in float32 to 10 bits of fraction first. No
    sum is no launch: with K = 0 the result is all zeros. Raises `ShapeMismatchError`.

    Operands may be `in_8_bits`: "f8", or "fast" where sums may have fewer digits than f32, both with `scales` of rows
    and of columns, or of all of `a` and `b`, in float32; or "i8", whose `out` is int32. What is summed may be so many
    `groups`, each with scales of its own: of rows and columns, or of blocks of them.

    To any other product an `addend` of the shape and dtype of `out` may be added before it is rounded.
    """

    a: Matrix
    b: Matrix
    out: Matrix
    tf32: bool = False
    in_8_bits: str = ""
    scales: tuple[Matrix | None, Matrix | None] = (None, None)
    groups: int = 0
    addend: Matrix | None = None

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
        return (self.a, self.b, *(each for each in (*self.scales, self.addend) if each is not None))

    @property
    def is_sum(self) -> bool:
        """Whether the library adds what is to be added."""
        return self.addend is None or lies_along(with_lengths(self.addend), with_lengths(self.out))

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
        addend = moved(self.addend) if self.addend is not None else None
        a, b, out = map(moved, (self.a, self.b, self.out))
        return replace(self, a=a, b=b, out=out, scales=(rows, columns), addend=addend)


def matmul(
    a: str,
    b: str,
    out: str,
    addend: str = "",
    *,
    batch: Strided = (),
    rows: Strided = (),
    columns: Strided = (),
    inner: Strided = (),
    offsets: Sequence[int] | None = None,
    tf32: bool = False,
) -> Product | None:
    """The product of the buffers `a` and `b` and an `addend`, or None where their strides make no matrices of them.

    Every axis is its size and its strides, in elements: those of `batch` in a, b, out and the addend, of `rows` in a,
    out and the addend, of `columns` in b, out and the addend, of `inner`, which are summed over, in a and b. Several
    axes count as one where they lie evenly in memory; where they do not, the outer one of two rows or columns becomes
    the batch. `offsets` moves the first element of a, b, out and the addend; `tf32` is as in `Product`.
    """
    batches = join_axes(batch)
    lines = join_axes((size, of_a, 0, *others) for size, of_a, *others in rows)
    posts = join_axes((size, 0, of_b, *others) for size, of_b, *others in columns)
    steps = join_axes((size, of_a, of_b) for size, of_a, of_b in inner)
    if not batches:
        for axes in (lines, posts):
            if len(axes) == 2 and not batches:
                batches.append(axes.pop(0))
    if max(map(len, (batches, lines, posts, steps))) > 1:
        return None
    one = (1, (0,) * 4)
    (count, each), (height, down), (width, across), (depth, along) = (
        axes[0] if axes else one for axes in (batches, lines, posts, steps)
    )
    first, second, third, *fourth = offsets or (0,) * 4
    shape = (count, height, width)
    added = Matrix(addend, shape, (each[3], down[3], across[3]), fourth[0]) if addend else None
    return Product(
        Matrix(a, (count, height, depth), (each[0], down[0], along[0]), first),
        Matrix(b, (count, depth, width), (each[1], along[1], across[1]), second),
        Matrix(out, shape, (each[2], down[2], across[2]), third),
        tf32,
        addend=added,
    )
