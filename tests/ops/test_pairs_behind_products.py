"""Neighbours behind a product: what is rotated, taken apart or put together there is right in every plan."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fusec.testing.random_run import hold_text

HEAD = "op f(x: T[..., K], w: T[K, N], c: f32[..., N], s: T[..., N], h: f32[..., N/2], t: T[N])"
TYPES = "where T in {bf16, f32}, N % 2 == 0:\n    p = dot(x, w, over=K)\n    "

FORMS = {
    "tables in pairs": ("y: T[..., N]", "y = rope_interleaved_full(p, c, s, over=N)"),
    "tables of half": ("y: f32[..., N]", "y = rope_interleaved(p, h, h * 2, over=N)"),
    "halves": ("y: T[..., N]", "y = rope(p, c, s, over=N)"),
    "the product itself as well": (
        "(y: T[..., N], z: f32[..., N])",
        "y = rope_interleaved_full(p, c, s, over=N)\n    z = p + c",
    ),
    "a gate of neighbours": ("y: T[..., N/2]", "a, b = pairs(p, over=N)\n    y = silu(a) * b + h"),
    "a gate of neighbours of a residual": (
        "y: T[..., N/2]",
        "a, b = pairs(p + s, over=N)\n    u, v = pairs(t, over=N)\n    y = a * u + b * v",
    ),
    "halves put together as pairs": ("y: T[..., N]", "a, b = halves(p, over=N)\n    y = interleave(a, b * h, over=N)"),
    "pairs of what every row reads": ("y: T[..., N]", "a, b = pairs(t, over=N)\n    y = p * interleave(b, a, over=N)"),
    "pairs, quantised in fours": (
        "q: i4[..., N]",
        "q = cast(rope_interleaved_full(p, c, s, over=N), i4)",
    ),
}


@pytest.mark.parametrize("shape", ["row_loop", "split_rows", "library", "swap_ab", "tma"])
@pytest.mark.parametrize("form", FORMS)
def test_every_plan_has_neighbours_right(form: str, shape: str, tmp_path: Path, device: torch.device) -> None:
    results, body = FORMS[form]
    ran = hold_text(f"{HEAD} -> {results}\n{TYPES}{body}\n", 1, tmp_path, device, calls=3, shape=shape)
    assert ran == 1 or shape == "tma"
