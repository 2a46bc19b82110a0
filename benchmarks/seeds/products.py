"""Products at the sizes of tables: behind a norm, a gated MLP, and matrices of 16 and 8 bits with scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

import generated
from benchmarks.compared import Compared
from benchmarks.seeds.rows import normal, rms_norm, tables

F8 = torch.float8_e4m3fn
GROUP = 128
TOKENS = (1, 4, 16, 64, 256, 512, 1024, 2048)
SQUARES = (1024, 2048, 4096)


def rmsnorm_linears(
    tokens: Sequence[int] = TOKENS, hidden: int = 3584, columns: Sequence[int] = (3584, 18944), device: str = "cuda"
) -> Iterator[Compared]:
    """A projection behind a norm: the sizes of Qwen2.5-7B."""

    def written(x: Tensor, gain: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(rms_norm(x, gain), weight)

    for n in columns:
        for m in tokens:
            yield Compared(
                f"rmsnorm_linear to {n}",
                f"{m}x{hidden}x{n}",
                m,
                lambda m=m, n=n: (
                    normal(m, hidden, device=device),
                    normal(hidden, device=device),
                    normal(n, hidden, device=device, scale=hidden**-0.5),
                ),
                written,
                generated.rmsnorm_linear,
                written,
                flops=2 * m * hidden * n,
            )


def norm_and_rope(tokens: int = 128, hidden: int = 4096, width: int = 64, device: str = "cuda") -> Compared:
    """RMSNorm over the hidden size, then rotation of its heads."""

    def written(x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        heads = rms_norm(x, weight).unflatten(-1, (-1, width))
        left, right = heads.chunk(2, -1)
        turned = heads * cos[:, None] + torch.cat((-right, left), -1) * sin[:, None]
        return turned.flatten(-2).to(x.dtype)

    def arguments() -> tuple[Tensor, ...]:
        cos, sin = (table.half() for table in tables(tokens, width, device))
        return normal(2, tokens, hidden, device=device), normal(hidden, device=device), cos, sin

    size = f"2x{tokens}x{hidden} D={width}"
    return Compared("rmsnorm_rope", size, 2 * tokens, arguments, written, generated.fused_rmsnorm_rope, written)


def gated_mlp(tokens: int = 128, hidden: int = 4096, columns: int = 11008, device: str = "cuda") -> Compared:
    """The expansion of a gated MLP."""

    def written(x: Tensor, gate: Tensor, up: Tensor) -> Tensor:
        return functional.silu(functional.linear(x, gate)) * functional.linear(x, up)

    return Compared(
        "gated_mlp",
        f"2x{tokens}x{hidden}x{columns}",
        2 * tokens,
        lambda: (
            normal(2, tokens, hidden, device=device),
            *(normal(columns, hidden, device=device, scale=hidden**-0.5) for _ in range(2)),
        ),
        written,
        generated.fused_gated_mlp,
        written,
        flops=8 * tokens * hidden * columns,
    )


def quantized(x: Tensor) -> tuple[Tensor, Tensor]:
    """FP8 with one scale for all."""
    scale = x.abs().max().to(torch.promote_types(x.dtype, torch.float32)) / 448
    return (x / scale).to(F8), scale


def fp8_gemm(m: int = 256, k: int = 4096, n: int = 4096, device: str = "cuda") -> Compared:
    """Both operands quantised in the call, with a scale each."""

    def formula(a: Tensor, b: Tensor) -> Tensor:
        (p, s), (q, t) = quantized(a), quantized(b)
        return p.double() @ q.double() * s * t

    def written(a: Tensor, b: Tensor) -> Tensor:
        (p, s), (q, t) = quantized(a), quantized(b)
        columns = q.t().contiguous().t()
        return torch._scaled_mm(p, columns, s, t, out_dtype=a.dtype)

    given = (m, k), (k, n)
    return Compared(
        "fp8_gemm",
        f"{m}x{k}x{n}",
        m,
        lambda: tuple(normal(*shape, device=device) for shape in given),
        formula,
        generated.fp8_gemm,
        written,
        flops=2 * m * k * n,
        bits=8,
    )


def squares(sizes: Sequence[int] = SQUARES, device: str = "cuda") -> Iterator[Compared]:
    """Square matrices: of bf16, of 8 bits with a scale for each row, and for each group of 128."""
    for n in sizes:
        yield Compared(
            "matmul bf16",
            f"{n}^3",
            n,
            lambda n=n: tuple(normal(n, n, device=device, dtype=torch.bfloat16) for _ in range(2)),
            lambda a, b: a @ b.t(),
            generated.linear,
            lambda a, b: a @ b.t(),
            flops=2 * n**3,
        )
        yield _scaled("matmul f8, rows", n, lambda n=n: (_eight(n, device), _eight(n, device), *_rows(n, device)))
        yield _scaled("matmul i8, rows", n, lambda n=n: (_int8(n, device), _int8(n, device), *_rows(n, device)))
        yield _grouped(n, device)


def _eight(n: int, device: str) -> Tensor:
    return torch.randn(n, n, device=device).to(F8)


def _int8(n: int, device: str) -> Tensor:
    return torch.randint(-127, 128, (n, n), device=device, dtype=torch.int8)


def _rows(n: int, device: str) -> tuple[Tensor, Tensor]:
    return torch.rand(n, device=device) + 0.5, torch.rand(n, device=device) + 0.5


def _scaled(name: str, n: int, arguments: object) -> Compared:
    def written(a: Tensor, b: Tensor, s: Tensor, t: Tensor) -> Tensor:
        if a.dtype == torch.int8:
            return (torch._int_mm(a, b.t()) * s[:, None] * t).to(torch.bfloat16)
        return torch._scaled_mm(a, b.t(), s[:, None], t[None], out_dtype=torch.bfloat16)

    def formula(a: Tensor, b: Tensor, s: Tensor, t: Tensor) -> Tensor:
        return a @ b.t() * s[:, None] * t

    ours = generated.scaled_mm_int8 if " i8" in name else generated.scaled_mm
    return Compared(name, f"{n}^3", n, arguments, formula, ours, written, flops=2 * n**3, bits=8)  # type: ignore[arg-type]


def _grouped(n: int, device: str) -> Compared:
    groups = n // GROUP

    def formula(a: Tensor, b: Tensor, s: Tensor, t: Tensor) -> Tensor:
        across = t.repeat_interleave(GROUP, 0).repeat_interleave(GROUP, 1)
        return (a * s.repeat_interleave(GROUP, 1)) @ (b * across).t()

    def written(a: Tensor, b: Tensor, s: Tensor, t: Tensor) -> Tensor:
        left = s.t().contiguous().t()
        return torch._scaled_mm(a, b.t(), left, t.t(), out_dtype=torch.bfloat16)

    return Compared(
        "matmul f8, groups",
        f"{n}^3",
        n,
        lambda: (
            _eight(n, device),
            _eight(n, device),
            torch.rand(n, groups, device=device) + 0.5,
            torch.rand(groups, groups, device=device) + 0.5,
        ),
        formula,
        generated.block_scaled_mm,
        written,
        flops=2 * n**3,
        bits=8,
    )
