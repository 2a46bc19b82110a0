"""The contractions that are timed: what each op computes, on which sizes, and what else computes it.

Sizes are those of Llama-2-7B's and Qwen2.5-7B's layers. Weights are drawn so that results are of size one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

import generated

Call = Callable[..., Any]

EPS = 1e-6


@dataclass(frozen=True)
class Case:
    """One op at one size. `formula` is evaluated in f64; `candidates` and the `fusec` op take the same arguments.

    `written` is what torch.compile compiles, if that is timed, too.
    """

    name: str
    arguments: Callable[[], tuple[Any, ...]]
    formula: Call
    fusec: Call
    candidates: dict[str, Call]
    written: Call | None = None


def all_cases() -> Iterator[Case]:
    """Every case."""
    for rows in (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192):
        yield _gated(rows, 4096, 11008)
    for columns in (3584, 18944):
        for rows in (1, 4, 16, 64, 256, 512, 1024, 2048, 8192):
            yield _rmsnorm_linear(rows, 3584, columns)
    for rows in (1, 16, 2048):
        yield _qkv_rope(rows)
    for rows in (1, 16, 2048):
        yield _linear_add_rmsnorm(rows, 3584)
    for rows in (1, 16, 2048):
        yield _rmsnorm_gated(rows, 3584, 18944)
    for activation in ("silu", "gelu"):
        yield _linear_activation(8192, activation)


def _normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return (torch.randn(shape, device="cuda") * scale).to(torch.bfloat16)


def _gain(size: int) -> torch.Tensor:
    return (torch.rand(size, device="cuda") + 0.5).to(torch.bfloat16)


def _rmsnorm(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x, x.shape[-1:], gain, EPS)


_gate = torch.compile(lambda gate, up: F.silu(gate) * up)


def _gated(rows: int, hidden: int, columns: int) -> Case:
    def written(x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        return F.silu(x @ gate.T) * (x @ up.T)

    return Case(
        f"gated_mlp {rows}x{hidden}x{columns}",
        lambda: (_normal(rows, hidden), *(_normal(columns, hidden, scale=hidden**-0.5) for _ in range(2))),
        written,
        generated.fused_gated_mlp,
        {"two mm, activation": lambda x, gate, up: _gate(torch.mm(x, gate.T), torch.mm(x, up.T))},
        written,
    )


def _rmsnorm_linear(rows: int, hidden: int, columns: int) -> Case:
    def written(x: torch.Tensor, gain: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return _rmsnorm(x, gain) @ weight.T

    return Case(
        f"rmsnorm_linear {rows}x{hidden}x{columns}",
        lambda: (_normal(rows, hidden), _gain(hidden), _normal(columns, hidden, scale=hidden**-0.5)),
        written,
        generated.rmsnorm_linear,
        {
            "F.rms_norm, mm": lambda x, gain, weight: torch.mm(_rmsnorm(x, gain), weight.T),
            "fusec rmsnorm, mm": lambda x, gain, weight: torch.mm(generated.rmsnorm(x, gain), weight.T),
        },
        written,
    )


_HEADS, _KV_HEADS, _HEAD = 28, 4, 128


def _rotated(x: torch.Tensor) -> torch.Tensor:
    return torch.cat((-x[..., _HEAD // 2 :], x[..., : _HEAD // 2]), -1)


def _qkv_rope(rows: int) -> Case:
    hidden, columns = _HEADS * _HEAD, (_HEADS + 2 * _KV_HEADS) * _HEAD

    def written(x: Any, gain: Any, weight: Any, cos: Any, sin: Any, bias: Any) -> Any:
        q, k, v = (
            F.linear(_rmsnorm(x, gain), weight, bias)
            .unflatten(-1, (-1, _HEAD))
            .split((_HEADS, _KV_HEADS, _KV_HEADS), 2)
        )
        c, s = cos[: x.shape[1], None], sin[: x.shape[1], None]
        return q * c + _rotated(q) * s, k * c + _rotated(k) * s, v

    return Case(
        f"qkv_rope {rows}x{hidden}",
        lambda: (
            _normal(1, rows, hidden),
            _gain(hidden),
            _normal(columns, hidden, scale=hidden**-0.5),
            *(_normal(4096, _HEAD) for _ in range(2)),
            _normal(columns),
        ),
        written,
        lambda x, gain, weight, cos, sin, bias: generated.qkv_rope(x, gain, weight, cos, sin, _KV_HEADS, bias=bias),
        {},
        written,
    )


def _linear_add_rmsnorm(rows: int, hidden: int) -> Case:
    def written(x: Any, weight: Any, residual: Any, gain: Any) -> Any:
        total = F.linear(x, weight) + residual
        return total, _rmsnorm(total, gain)

    def rounded(x: Any, weight: Any, residual: Any, gain: Any) -> Any:
        total = (x @ weight.T + residual).to(torch.bfloat16).double()
        return total, _rmsnorm(total, gain)

    return Case(
        f"linear_add_rmsnorm {rows}x{hidden}x{hidden}",
        lambda: (
            _normal(rows, hidden),
            _normal(hidden, hidden, scale=hidden**-0.5),
            _normal(rows, hidden),
            _gain(hidden),
        ),
        rounded,
        generated.linear_add_rmsnorm,
        {},
        written,
    )


def _rmsnorm_gated(rows: int, hidden: int, columns: int) -> Case:
    def written(x: Any, gain: Any, gate: Any, up: Any) -> Any:
        normed = _rmsnorm(x, gain)
        return F.silu(normed @ gate.T) * (normed @ up.T)

    def apart(x: Any, gain: Any, gate: Any, up: Any) -> Any:
        normed = generated.rmsnorm(x, gain)
        return _gate(torch.mm(normed, gate.T), torch.mm(normed, up.T))

    return Case(
        f"rmsnorm_gated_mlp {rows}x{hidden}x{columns}",
        lambda: (
            _normal(rows, hidden),
            _gain(hidden),
            *(_normal(columns, hidden, scale=hidden**-0.5) for _ in range(2)),
        ),
        written,
        generated.rmsnorm_gated_mlp,
        {"fusec rmsnorm, two mm, activation": apart},
        written,
    )


def _linear_activation(size: int, activation: str) -> Case:
    act = {"silu": F.silu, "gelu": F.gelu}[activation]
    return Case(
        f"linear_activation {activation} {size}^3",
        lambda: (_normal(size, size), _normal(size, size, scale=size**-0.5), _normal(size)),
        lambda x, weight, bias: act(F.linear(x, weight, bias)),
        lambda x, weight, bias: generated.linear_activation(x, weight, bias, activation=activation),
        {"mm alone": lambda x, weight, bias: torch.mm(x, weight.T)},
    )
