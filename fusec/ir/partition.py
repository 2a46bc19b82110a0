"""Partition: an op as steps that run one after another, and the tensors it keeps between them."""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.flow import Affine
from fusec.ir.graph import Graph
from fusec.ir.types import Axis, Dim, Storage


@dataclass(frozen=True, slots=True)
class Matrix:
    """A tensor as a product sees it: where along each stored dimension the elements stand that it reads or writes."""

    tensor: str
    positions: tuple[Affine, ...]


@dataclass(frozen=True, slots=True)
class Intermediate:
    """A row-major tensor that an op allocates and keeps between two of its steps."""

    name: str
    element: Storage
    dims: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """An op in two graphs: what is computed `once` for its weights, and what `each` call makes of that.

    The outputs of `once`, if there is anything to compute once, are tensors of `each`. Its parameters are the weights
    it reads, and extents that these do not tell.
    """

    once: Graph | None
    each: Graph


@dataclass(frozen=True, slots=True)
class LibraryProduct:
    """A product by the vendor's library, a step of a plan: `out = sum(a * b, over=inner)` for each position of `batch`.

    `rows` are the axes of `out` that `a` alone has, `columns` those that `b` alone has. `precision` is that of its dot.
    """

    a: Matrix
    b: Matrix
    out: Matrix
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    inner: tuple[Axis, ...]
    precision: str


@dataclass(frozen=True, slots=True)
class Chain:
    """An op whose products are left to the library: graphs and products in the order they run, and what is `held`."""

    held: tuple[Intermediate, ...]
    steps: tuple[Graph | LibraryProduct, ...]
