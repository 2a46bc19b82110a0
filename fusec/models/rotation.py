"""How the heads of q and k are rotated: which positions make a pair, and what the tables of angles hold."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from fusec import ops

Rotation = Literal["halves", "neighbours", "neighbours_of_halves", "none"]

ROTATIONS: tuple[Rotation, ...] = ("halves", "neighbours", "neighbours_of_halves", "none")
"""Pairs i, i + R/2 as Llama has them; 2i, 2i + 1 with tables of every angle twice, side by side (Cohere); the same with
the tables of `halves` (GLM); and layers that do not rotate."""


class Tables:
    """Cosines and sines of the tokens of a call, [P, R], where token s of every sequence takes row s.

    Where sequences have positions `of_their_own`, all tokens are one sequence to the ops, and no row is looked up.
    """

    __slots__ = ("cos", "of_their_own", "sin")

    def __init__(self, cos: Tensor, sin: Tensor) -> None:
        self.of_their_own = cos.ndim > 2 and cos.shape[0] != 1
        self.cos, self.sin = cos.flatten(0, -2), sin.flatten(0, -2)

    def joined(self, x: Tensor) -> Tensor:
        """x, [B, S, ...], as ops take it."""
        return x.flatten(0, 1)[None] if self.of_their_own else x

    def parted(self, x: Tensor, batch: int) -> Tensor:
        """What ops made of it, as [B, S, ...] again."""
        return x[0].view(batch, -1, *x.shape[2:]) if self.of_their_own else x

    @property
    def width(self) -> int:
        """How many positions of a head are rotated."""
        return self.cos.shape[-1]

    def once(self, how: Rotation) -> tuple[Tensor, Tensor]:
        """The tables with every angle once."""
        part = slice(None, None, 2) if how == "neighbours" else slice(self.width // 2)
        return self.cos[:, part], self.sin[:, part]


def rotated(how: Rotation, q: Tensor, k: Tensor, tables: Tables) -> tuple[Tensor, Tensor]:
    """Heads of q and k, [B, S, heads, D], rotated in one launch."""
    cos, sin = tables.cos, tables.sin
    if how == "none":
        return q, k
    if how == "halves":
        op = ops.rope_qk if tables.width == q.shape[-1] else ops.rope_qk_partial
    else:
        op = ops.rope_qk_interleaved
        cos, sin = tables.once(how)
    turned: tuple[Tensor, Tensor] = op(q, k, cos, sin)
    return turned
