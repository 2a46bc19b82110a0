"""The cases of the row benchmark: shapes of published models, formulas, and who computes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import generated

EPS = 1e-6
WIDE_ROWS = (4096, 5120, 8192, 18944)
AWKWARD = (1001, 3000, 6144, 11008)
"""Row lengths far from a power of two, in the first case with rows that are not aligned."""


@dataclass
class Case:
    """One op at one size. `formula` is its meaning in PyTorch, also run in f64 as the judge of every candidate."""

    name: str
    nbytes: int
    inputs: Callable[[], tuple[Tensor, ...]]
    formula: Callable[..., Any]
    candidates: dict[str, Callable[..., Any]]


def all_cases() -> Iterator[Case]:
    """Every case, large ones first."""
    for shape, width in (((8, 2048, 4096), 64), ((4, 4096, 8192), 128)):
        yield rmsnorm_rope(shape, width)
    for columns in (4096, 8192):
        yield rmsnorm_quantize(16384, columns)
    for columns in WIDE_ROWS:
        yield from (op(16384, columns) for op in (rmsnorm, add_rmsnorm, softmax, layernorm))
    for columns in AWKWARD:
        yield from (op(8192, columns) for op in (rmsnorm, add_rmsnorm, softmax, layernorm))
    yield quantize_rows(16384, 8192)
    yield quantize_tensor(16384, 8192)
    yield gated(16384, 14336)
    for rows in (1, 8, 64):
        for columns in (4096, 8192, 18944):
            yield from (op(rows, columns) for op in (rmsnorm, add_rmsnorm, softmax, layernorm))
    for columns in (896, 1536, 2048, 3072, 3584, 4096):
        yield rmsnorm(2048, columns)
    for tokens in (512, 1024, 2048, 4096, 8192):
        yield rope(tokens)
        yield rope(tokens, heads_first=True)
    for columns in (4096, 8192, 11008, 14336, 18944):
        yield gated(2048, columns)


def eager_rmsnorm(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS) * weight).to(x.dtype)


def rmsnorm(rows: int, columns: int) -> Case:
    size = columns

    def functional(x: Tensor, w: Tensor) -> Tensor:
        return F.rms_norm(x, (size,), w, EPS)

    return Case(
        f"rmsnorm {rows}x{columns}",
        2 * (2 * rows * columns + columns),
        lambda: (random(rows, columns), random(columns)),
        eager_rmsnorm,
        {
            "fusec": generated.rmsnorm,
            "compile": compiled(eager_rmsnorm),
            "F": functional,
            **liger("rms_norm", "LigerRMSNormFunction", lambda f: lambda x, w: f.apply(x, w, EPS, 0.0, "llama", False)),
            **eager(rows, eager_rmsnorm),
        },
    )


def add_rmsnorm(rows: int, columns: int) -> Case:
    def formula(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        total = x + residual
        return total, eager_rmsnorm(total, weight)

    def two(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        total = x + residual
        return total, F.rms_norm(total, (columns,), weight, EPS)

    def fused(f: Any) -> Callable[..., Any]:
        return lambda x, r, w: f.apply(x, r, w, EPS, 0.0, "llama", False)[::-1]

    return Case(
        f"add_rmsnorm {rows}x{columns}",
        2 * (4 * rows * columns + columns),
        lambda: (random(rows, columns), random(rows, columns), random(columns)),
        formula,
        {
            "fusec": generated.add_rmsnorm,
            "compile": compiled(formula),
            "add+F": two,
            **liger("fused_add_rms_norm", "LigerFusedAddRMSNormFunction", fused),
        },
    )


def softmax(rows: int, columns: int) -> Case:
    def formula(x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return torch.softmax(wide, -1).to(x.dtype)

    return Case(
        f"softmax {rows}x{columns}",
        2 * 2 * rows * columns,
        lambda: (random(rows, columns),),
        formula,
        {
            "fusec": generated.softmax,
            "compile": compiled(formula),
            "F": lambda x: F.softmax(x, -1),
            **liger("softmax", "LigerSoftmaxFunction", lambda f: lambda x: f.apply(x)),
        },
    )


def layernorm(rows: int, columns: int) -> Case:
    def formula(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        centred = wide - wide.mean(-1, keepdim=True)
        scaled = centred * torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-5)
        return (scaled * weight + bias).to(x.dtype)

    return Case(
        f"layernorm {rows}x{columns}",
        2 * (2 * rows * columns + 2 * columns),
        lambda: (random(rows, columns), random(columns), random(columns)),
        formula,
        {
            "fusec": lambda x, w, b: generated.layernorm(x, w, b, eps=1e-5),
            "compile": compiled(formula),
            "F": lambda x, w, b: F.layer_norm(x, (columns,), w, b, 1e-5),
            **liger("layer_norm", "LigerLayerNormFunction", lambda f: lambda x, w, b: f.apply(x, w, b, 1e-5)),
        },
    )


def rmsnorm_rope(shape: tuple[int, int, int], width: int) -> Case:
    batch, tokens, hidden = shape

    def formula(x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        n = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS) * weight
        heads = n.view(batch, tokens, hidden // width, width)
        a, b = heads.chunk(2, -1)
        turned = torch.cat((-b, a), -1)
        out = heads * cos[None, :, None] + turned * sin[None, :, None]
        return out.reshape(x.shape).to(x.dtype)

    count = batch * tokens * hidden
    return Case(
        f"rmsnorm_rope {shape} D={width}",
        2 * (2 * count + hidden + 2 * tokens * width),
        lambda: (random(*shape), random(hidden), random(tokens, width), random(tokens, width)),
        formula,
        {"fusec": generated.fused_rmsnorm_rope, "compile": compiled(formula), "eager": formula},
    )


def quantized(n: Tensor, scope: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    scale = n.abs().amax(scope, keepdim=True).clamp_min(2.0**-96) / 448.0
    scaled = n / scale
    values = scaled if n.dtype == torch.float64 else scaled.to(torch.float8_e4m3fn)
    return values, scale.squeeze(scope)


def rmsnorm_quantize(rows: int, columns: int) -> Case:
    def formula(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return quantized(wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS) * weight, (-1,))

    return Case(
        f"rmsnorm_quantize {rows}x{columns}",
        3 * rows * columns + 2 * columns + 4 * rows,
        lambda: (random(rows, columns), random(columns)),
        formula,
        {"fusec": generated.rmsnorm_quantize, "compile": compiled(formula), "eager": formula},
    )


def quantize_rows(rows: int, columns: int) -> Case:
    def formula(x: Tensor) -> tuple[Tensor, Tensor]:
        return quantized(x.to(torch.promote_types(x.dtype, torch.float32)), (-1,))

    return Case(
        f"quantize_fp8_rows {rows}x{columns}",
        3 * rows * columns + 4 * rows,
        lambda: (random(rows, columns),),
        formula,
        {"fusec": generated.quantize_fp8_rows, "compile": compiled(formula)},
    )


def quantize_tensor(rows: int, columns: int) -> Case:
    def formula(x: Tensor) -> tuple[Tensor, Tensor]:
        return quantized(x.to(torch.promote_types(x.dtype, torch.float32)), (0, 1))

    return Case(
        f"quantize_fp8 {rows}x{columns}",
        5 * rows * columns,
        lambda: (random(rows, columns),),
        formula,
        {"fusec": generated.quantize_fp8, "compile": compiled(formula)},
    )


def gated(rows: int, columns: int) -> Case:
    def formula(gate: Tensor, up: Tensor) -> Tensor:
        wide = gate.to(torch.promote_types(gate.dtype, torch.float32))
        return (wide * torch.sigmoid(wide) * up).to(gate.dtype)

    def two(gate: Tensor, up: Tensor) -> Tensor:
        return F.silu(gate) * up

    return Case(
        f"gated_activation {rows}x{columns}",
        2 * 3 * rows * columns,
        lambda: (random(rows, columns), random(rows, columns)),
        formula,
        {
            "fusec": generated.gated_activation,
            "compile": compiled(formula),
            "eager": two,
            **liger("swiglu", "LigerSiLUMulFunction", lambda f: lambda a, b: f.apply(a, b)),
        },
    )


def rope(tokens: int, heads_first: bool = False) -> Case:
    heads, width = 32, 128
    at = (None, None) if heads_first else (None, slice(None), None)

    def formula(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        def turn(x: Tensor) -> Tensor:
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            a, b = wide.chunk(2, -1)
            out = wide * cos[at] + torch.cat((-b, a), -1) * sin[at]
            return out.to(x.dtype)

        return turn(q), turn(k)

    op = generated.rope_qk_heads_first if heads_first else generated.rope_qk
    shape = (1, heads, tokens, width) if heads_first else (1, tokens, heads, width)
    return Case(
        f"{op.__name__} {'x'.join(map(str, shape))}",
        2 * (4 * tokens * heads * width + 2 * tokens * width),
        lambda: (random(*shape), random(*shape), random(tokens, width), random(tokens, width)),
        formula,
        {"fusec": op, "compile": compiled(formula), "eager": formula},
    )


def random(*shape: int) -> Tensor:
    """Random normal bf16."""
    return torch.randn(*shape, device="cuda", dtype=torch.float32).to(torch.bfloat16)


def compiled(formula: Callable[..., Any]) -> Callable[..., Any]:
    """torch.compile of the formula, compiled for each size as a user of fixed shapes would have it."""
    return torch.compile(formula, dynamic=False)


def eager(rows: int, formula: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Eager PyTorch, for the table of the seeds."""
    return {"eager": formula} if rows == 2048 else {}


def liger(module: str, name: str, call: Callable[[Any], Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Liger's kernel when it is installed."""
    try:
        found = __import__(f"liger_kernel.ops.{module}", fromlist=[name])
    except ImportError:
        return {}
    return {"liger": call(getattr(found, name))}
