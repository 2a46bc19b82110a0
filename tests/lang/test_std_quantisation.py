"""Quantising functions of the standard library against PyTorch's arithmetic in f32 and its casts, bit for bit.

A value is allowed to be the cast of what lies two ulp beside the quotient, for quotients are not rounded exactly on a
GPU; scales that are powers of two leave no such room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from compiled import compiled
from quantised_rows import COLUMNS, KINDS, ROWS, ULP, draw
from torch import Tensor

R, L = 4, 16
P, G = ROWS // R, COLUMNS // L
TINY = 2.0**-96
E4M3, E5M2, I8, U8 = torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8
NAMES = {E4M3: "f8e4m3", E5M2: "f8e5m2", I8: "i8", U8: "u8"}
BOUND = 2.5


@dataclass(frozen=True)
class Scope:
    """What shares a scale: how a spec says it, and the dimensions of `[P, R, G, L]` that PyTorch reduces."""

    over: str
    scales: str
    dims: tuple[int, ...]


SCOPES = {
    "tensor": Scope("(P, R, G, L)", "", (0, 1, 2, 3)),
    "row": Scope("(G, L)", "P*R", (2, 3)),
    "column": Scope("(P, R)", "G*L", (0, 1)),
    "group": Scope("L", "P*R, G", (3,)),
    "block": Scope("(R, L)", "P, G", (1, 3)),
}


def largest(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).max if dtype.is_floating_point else torch.iinfo(dtype).max


def stored(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The cast of PyTorch, saturating; NaN is 0 in an integer."""
    if dtype.is_floating_point:
        return x.clamp(-largest(dtype), largest(dtype)).to(dtype)
    limits = torch.iinfo(dtype)
    return x.round().nan_to_num(0, limits.max, limits.min).clamp(limits.min, limits.max).to(dtype)


def peak(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return x.abs().amax(dims, keepdim=True)


def plain(x: Tensor, dtype: torch.dtype, dims: tuple[int, ...]) -> Tensor:
    return peak(x, dims).clamp(min=TINY) / largest(dtype)


def bounded(x: Tensor, dtype: torch.dtype, dims: tuple[int, ...]) -> Tensor:
    return peak(x, dims).clamp(max=BOUND).clamp(min=TINY) / largest(dtype)


def pow2(x: Tensor, dtype: torch.dtype, dims: tuple[int, ...]) -> Tensor:
    """The scale of DeepSeek: the bits of a number of f32 rounded up to a power of two."""
    scale = plain(x, dtype, dims)
    bits = scale.view(torch.int32)
    up = ((bits + 0x7FFFFF) & ~0x7FFFFF).view(torch.float32)
    return torch.where(scale.isfinite(), up, scale)


@dataclass(frozen=True)
class Way:
    """A function of the library with the formula of its scale."""

    call: str
    scale: Callable[[Tensor, torch.dtype, tuple[int, ...]], Tensor]
    exact: bool = False


WAYS = {
    "quantize": Way("quantize(x, {dtype}, over={over})", plain),
    "quantize_bounded": Way(f"quantize_bounded(x, {BOUND}, {{dtype}}, over={{over}})", bounded),
    "quantize_pow2": Way("quantize_pow2(x, {dtype}, over={over})", pow2, exact=True),
}


FORMS = [
    *(("quantize", scope, E4M3) for scope in SCOPES),
    *((way, "row", dtype) for way in WAYS for dtype in (E5M2, I8)),
    ("quantize_bounded", "group", E4M3),
    ("quantize_pow2", "group", E4M3),
    ("quantize_pow2", "block", E4M3),
]


def name_of(way: str, scope: str, dtype: torch.dtype) -> str:
    return f"{way}_{scope}_{NAMES[dtype]}"


def text_of(way: str, scope: str, dtype: torch.dtype) -> str:
    name, scale = NAMES[dtype], SCOPES[scope].scales
    call = WAYS[way].call.format(dtype=name, over=SCOPES[scope].over)
    return (
        f"op {name_of(way, scope, dtype)}(x: f32[P*R, G*L]) -> (q: {name}[P*R, G*L], scale: f32[{scale}])\n"
        f"where R == {R}, L == {L}:\n    q, scale = {call}\n"
    )


ASYMMETRIC = """
op spread_{dtype}(x: f32[M, N]) -> (q: {dtype}[M, N], scale: f32[M], zero: i32[M], back: f32[M, N]):
    q, scale, z = quantize_asymmetric(x, {dtype}, over=N)
    zero = z
    back = dequantize_asymmetric(q, scale, z)
"""


@cache
def ops() -> dict[str, Any]:
    text = "\n".join([*(text_of(*form) for form in FORMS), *(ASYMMETRIC.format(dtype=name) for name in ("i8", "u8"))])
    return {op.program.graph.name: op.call for op in compiled(text, Path(mkdtemp()))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: name_of(*form))
def test_values_and_scales_are_those_of_torch(
    form: tuple[str, str, torch.dtype], kind: str, device: torch.device
) -> None:
    way, scope, dtype = form
    dims = SCOPES[scope].dims
    x = draw(kind)
    q, scale = (found.cpu() for found in ops()[name_of(*form)](x.to(device)))
    parts = x.reshape(P, R, G, L)
    expected = WAYS[way].scale(parts, dtype, dims)
    room = 0.0 if WAYS[way].exact or device.type == "cpu" else 2 * ULP
    torch.testing.assert_close(scale, expected.reshape(scale.shape), rtol=room, atol=0.0, equal_nan=True)
    assert scale.isnan().any() == (kind == "nan")
    quotient = parts.double() / scale.double().reshape(expected.shape)
    assert_between(q, quotient.reshape(x.shape), 0.0 if WAYS[way].exact else 2 * ULP, dtype)
    if kind.startswith("zero"):
        back = q.float().reshape(parts.shape) * scale.reshape(expected.shape)
        assert torch.equal(back[parts == 0], torch.zeros_like(back[parts == 0]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [I8, U8])
def test_integers_with_a_zero_point(dtype: torch.dtype, kind: str, device: torch.device) -> None:
    x = draw(kind)
    q, scale, zero, back = (found.cpu() for found in ops()[f"spread_{NAMES[dtype]}"](x.to(device)))
    least = torch.iinfo(dtype).min
    low, high = x.amin(1).clamp(max=0), x.amax(1).clamp(min=0)
    expected = (high - low).clamp(min=TINY) / 255
    room = 0.0 if device.type == "cpu" else 2 * ULP
    torch.testing.assert_close(scale, expected, rtol=room, atol=0.0, equal_nan=True)
    assert_between(zero, least - low.double() / scale, 4 * ULP, dtype)
    quotient = x.double() / scale[:, None]
    ends = [stored((quotient * (1 + side * 2 * ULP)).round() + zero[:, None], dtype).int() for side in (-1, 1)]
    assert bool(((q >= torch.minimum(*ends)) & (q <= torch.maximum(*ends))).all())
    whole = scale.isfinite()
    assert torch.equal(back[x == 0], torch.zeros_like(back[x == 0]))
    off = (back - x).abs()[whole]
    assert bool((off <= scale[whole, None] * (1 + 2**-12)).all()), "a step of the values and no more"
    assert bool((back[~whole].isnan() | back[~whole].isinf()).all())


def assert_between(found: Tensor, exact: Tensor, room: float, dtype: torch.dtype) -> None:
    """Each is the cast of a number no farther from the exact one than a share `room` of it."""
    ends = [stored((exact * (1 + side * room)).float(), dtype).float() for side in (-1, 1)]
    got = found.float()
    inside = (got >= torch.minimum(*ends)) & (got <= torch.maximum(*ends))
    wrong = ~(inside | (got.isnan() & exact.isnan()))
    assert not bool(wrong.any()), f"{got[wrong].tolist()} of {exact[wrong].tolist()}"
