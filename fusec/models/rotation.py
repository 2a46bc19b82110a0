"""How the heads of q and k are rotated: which positions make a pair, and what the tables of angles hold."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from fusec import ops
from fusec.models.recorded import is_recorded

Rotation = Literal["halves", "neighbours", "neighbours_of_halves", "none"]

ROTATIONS: tuple[Rotation, ...] = ("halves", "neighbours", "neighbours_of_halves", "none")
"""Pairs i, i + R/2 as Llama has them; 2i, 2i + 1 with tables of every angle twice, side by side (Cohere); the same with
the tables of `halves` (GLM); and layers that do not rotate."""


class Tables:
    """Cosines and sines of the tokens of a call, [P, R], and the row that each token takes, where it is not its own."""

    __slots__ = ("cos", "rows", "sin")

    rows: Tensor | None

    def __init__(self, x: Tensor, cos: Tensor, sin: Tensor) -> None:
        self.cos, self.sin = cos.flatten(0, -2), sin.flatten(0, -2)
        shared = cos.ndim == 2 or cos.shape[0] == 1
        if shared:
            self.rows = None
        else:
            make = _numbers if is_recorded(x) else _kept_numbers
            self.rows = make(x.shape[0], x.shape[1], x.device)

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
    cos, sin, rows = tables.cos, tables.sin, tables.rows
    if how == "none":
        return q, k
    if how == "halves":
        op = ops.rope_qk if tables.width == q.shape[-1] else ops.rope_qk_partial
    else:
        op = ops.rope_qk_interleaved
        cos, sin = tables.once(how)
    turned: tuple[Tensor, Tensor] = op(q, k, cos, sin, rows)
    return turned


def _numbers(batch: int, length: int, device: torch.device) -> Tensor:
    return torch.arange(batch * length, device=device).view(batch, length)


_kept_numbers = lru_cache(maxsize=8)(_numbers)
