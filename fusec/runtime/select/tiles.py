"""Contractions and their tiles, as rules and time model see them.

Sizes go by the letters of a product: `m` rows, `n` columns, `k` steps of a sum; those of a tile are its blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from fusec.runtime.select.chip import MMA
from fusec.runtime.select.sizes import cdiv, padded


@dataclass(frozen=True, slots=True)
class Contraction:
    """What is to be made: `batches` of `m` by `n`, of sums of `k` products, for each of so many `dots`.

    A tile has the columns of as many accumulators as there are `parts`; `halves` of them, of a single dot, are next to
    each other. So many batches multiply the same rows `again`. Registers are `crowded` if much has to be read
    behind the products. Elements have `itemsize` bytes; those of f32 may be `tf32`. Sums `in_parts` stand
    beside what is added up already; others are of `integers`.
    """

    batches: int
    m: int
    n: int
    k: int
    itemsize: int = 2
    dots: int = 1
    halves: int = 1
    again: int = 1
    crowded: bool = False
    tf32: bool = False
    in_parts: bool = False
    integers: bool = False

    @property
    def parts(self) -> int:
        """Accumulators of a tile."""
        return padded(self.dots) * self.halves

    @property
    def matrices(self) -> int:
        """Bytes of the operands."""
        many = self.batches // self.again * self.m
        return self.itemsize * self.k * (many + self.batches * self.n * self.parts // self.halves)

    @property
    def least_k(self) -> int:
        """The least steps of a tile that a tensor core multiplies."""
        return MMA * 2 if self.itemsize == 1 else MMA

    @property
    def threads(self) -> bool:
        """Whether threads multiply, for want of a tensor core that does."""
        return self.itemsize > 2 and not self.tf32

    def tiles(self, block_m: int, block_n: int) -> int:
        """How many tiles there are."""
        return self.batches * cdiv(self.m, block_m) * cdiv(self.n, block_n * self.halves)


@dataclass(frozen=True, slots=True)
class GemmTile:
    """The tile of a contraction: `block_m` by `block_n` of the output, `block_k` of what is contracted at a time.

    Split-K: the steps are shared by as many programs as there are `splits`.
    """

    block_m: int
    block_n: int
    block_k: int
    options: tuple[dict[str, int], ...]
    splits: int = 1


@dataclass(frozen=True, slots=True)
class RowTile:
    """What a program of rows takes: so many `rows`, a `block` of each at a time; as many as `splits` share a row.

    What is 1 is decided otherwise.
    """

    options: tuple[dict[str, int], ...]
    rows: int = 1
    block: int = 1
    splits: int = 1


@dataclass(frozen=True, slots=True)
class Wave:
    """One launch of a persistent gemm: `programs` make the tiles from `begin` to `end`.

    Of `block_n` columns each are made what stands behind the products: of those of every dot, or of two halves of one.
    Tiles are counted by larger ones, of `down` by `across` of them, `group_m` of which are under way together, one
    below the other: what they share is then in the cache.
    """

    block_m: int
    block_n: int
    block_k: int
    begin: int
    end: int
    programs: int
    options: tuple[dict[str, int], ...]
    group_m: int = 8
    down: int = 1
    across: int = 1

    @property
    def tile(self) -> GemmTile:
        """One of its tiles."""
        return GemmTile(self.block_m, self.block_n, self.block_k, self.options)
