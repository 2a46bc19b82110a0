"""RMSNorm, rotary embedding and gated activation at the sizes of a table, in f16 as there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

import generated
from benchmarks.compared import Compared

EPS = 1e-6
ROWS = 4 * 512
HIDDEN = (896, 1536, 2048, 3072, 3584, 4096)
TOKENS = (512, 1024, 2048, 4096, 8192)
WIDTHS = (4096, 8192, 11008, 14336, 18944)
HEADS, HEAD = 32, 128


def normal(*shape: int, device: str = "cuda", dtype: torch.dtype = torch.float16, scale: float = 1.0) -> Tensor:
    return (torch.randn(*shape, device=device) * scale).to(dtype)


def tables(tokens: int, width: int, device: str) -> tuple[Tensor, Tensor]:
    """Cosines and sines in f32, every angle of a row twice, the halves one after the other."""
    inverse = 10000.0 ** (-torch.arange(0, width, 2, device=device) / width)
    angles = torch.outer(torch.arange(tokens, device=device), inverse)
    return torch.cat((angles.cos(), angles.cos()), -1), torch.cat((angles.sin(), angles.sin()), -1)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS) * weight).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads before tokens."""
    left, right = x.to(cos.dtype).chunk(2, -1)
    c, s = (table[:, : x.shape[-1] // 2] for table in (cos, sin))
    return torch.cat((left * c - right * s, left * s + right * c), -1).to(x.dtype)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return functional.silu(gate) * up


def rmsnorms(
    hidden: Sequence[int] = HIDDEN, rows: int = ROWS, device: str = "cuda", dtype: torch.dtype = torch.float16
) -> Iterator[Compared]:
    for size in hidden:
        yield Compared(
            "rmsnorm",
            f"{rows}x{size}",
            rows,
            lambda size=size: (
                normal(rows, size, device=device, dtype=dtype),
                normal(size, device=device, dtype=dtype),
            ),
            rms_norm,
            generated.rmsnorm,
            rms_norm,
        )


def ropes(
    tokens: Sequence[int] = TOKENS, heads: int = HEADS, device: str = "cuda", dtype: torch.dtype = torch.float16
) -> Iterator[Compared]:
    for count in tokens:
        yield Compared(
            "rope",
            f"1x{heads}x{count}x{HEAD}",
            count,
            lambda count=count: (
                normal(1, heads, count, HEAD, device=device, dtype=dtype),
                *tables(count, HEAD, device),
            ),
            rotate,
            generated.rope_heads_first,
            rotate,
        )


def gates(
    widths: Sequence[int] = WIDTHS, rows: int = ROWS, device: str = "cuda", dtype: torch.dtype = torch.float16
) -> Iterator[Compared]:
    for width in widths:
        yield Compared(
            "swiglu",
            f"{rows}x{width}",
            rows,
            lambda width=width: tuple(normal(rows, width, device=device, dtype=dtype) for _ in range(2)),
            swiglu,
            generated.gated_activation,
            swiglu,
        )
