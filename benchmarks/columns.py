"""Rows with column sums, the gradients of norms, beside ATen, `torch.compile` and a copy of the same bytes.

    python -m benchmarks.columns --out columns.json [--rounds 11] [--alone]

All candidates of a case are CUDA graphs, replayed by turns with a cold L2; the median of the rounds counts. Each result
is held to the gradient in f64 on the tensors that are timed. The copy reads and writes what the gradient does: it adds
two tensors. Runs `--alone` leave the others out, which take most of the time to compile.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch

import generated
from benchmarks.cold import ColdTimer, about, called, captured, interleaved, relative_error

SIZES = ((16384, 4096), (4096, 8192), (131072, 128), (8192, 1024), (2048, 4096), (4096, 5120), (8192, 1001))
EPS = 1e-5

Gradients: TypeAlias = tuple[torch.Tensor, ...]


def rms(dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> Gradients:
    """Of RMSNorm, in PyTorch."""
    wide, dy, weight = x.float(), dy.float(), weight.float()
    inverse = (wide.square().mean(-1, keepdim=True) + EPS).rsqrt()
    normed, scaled = wide * inverse, dy * weight
    dx = (scaled - normed * (scaled * normed).mean(-1, keepdim=True)) * inverse
    return dx.to(x.dtype), (dy * normed).sum(0).to(x.dtype)


def layer(dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> Gradients:
    """Of LayerNorm, in PyTorch."""
    wide, dy, weight = x.float(), dy.float(), weight.float()
    centred = wide - wide.mean(-1, keepdim=True)
    inverse = (centred.square().mean(-1, keepdim=True) + EPS).rsqrt()
    normed, scaled = centred * inverse, dy * weight
    dx = (scaled - scaled.mean(-1, keepdim=True) - normed * (scaled * normed).mean(-1, keepdim=True)) * inverse
    return dx.to(x.dtype), (dy * normed).sum(0).to(x.dtype), dy.sum(0).to(x.dtype)


def exact(of: Callable[..., Gradients], *given: torch.Tensor) -> Gradients:
    """The same in f64."""
    dy, x, weight = (tensor.double().requires_grad_(tensor.dtype.is_floating_point) for tensor in given)
    bias = torch.zeros_like(weight, requires_grad=True)
    shape = x.shape[-1:]
    norm = torch.nn.functional
    y = norm.rms_norm(x, shape, weight, EPS) if of is rms else norm.layer_norm(x, shape, weight, bias, EPS)
    wanted = (x, weight) if of is rms else (x, weight, bias)
    return torch.autograd.grad(y, wanted, dy)


def aten(of: Callable[..., Gradients], dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> Callable[[], Any]:
    """ATen's own kernel, given the statistics that its forward kept."""
    shape = list(x.shape[-1:])
    if of is rms:
        _, inverse = torch.ops.aten._fused_rms_norm(x, shape, weight, EPS)
        return lambda: torch.ops.aten._fused_rms_norm_backward(dy, x, shape, inverse, weight, [True, True])
    bias = torch.zeros_like(weight)
    _, mean, inverse = torch.ops.aten.native_layer_norm(x, shape, weight, bias, EPS)
    return lambda: torch.ops.aten.native_layer_norm_backward(
        dy, x, shape, mean, inverse, weight, bias, [True, True, True]
    )


OURS = {rms: generated.rmsnorm_gradient, layer: generated.layernorm_gradient}


def measured(
    of: Callable[..., Gradients], rows: int, columns: int, timer: ColdTimer, rounds: int, alone: bool
) -> dict[str, Any]:
    """Microseconds of each candidate, and how far its results are off."""
    dy, x = (torch.randn(rows, columns, device="cuda").bfloat16() for _ in range(2))
    weight = torch.rand(columns, device="cuda").bfloat16() + 0.5
    wanted = exact(of, dy, x, weight)
    calls: dict[str, Callable[[], Any]] = {"fusec": partial(OURS[of], dy, x, weight, eps=EPS)}
    if not alone:
        calls["torch.compile"] = partial(torch.compile(of, dynamic=False), dy, x, weight)
        calls["ATen"] = aten(of, dy, x, weight)
    found: dict[str, Any] = {}
    found["errors"] = {
        name: [relative_error(got, exact) for got, exact in zip(call(), wanted, strict=True)]
        for name, call in calls.items()
    }
    out = torch.empty_like(x)
    calls["copy"] = lambda: torch.add(dy, x, out=out)
    calls["copy"]()
    graphs = {name: captured(call) for name, call in calls.items()}
    found["microseconds"] = interleaved(graphs, timer, rounds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_args()
    timer, found = ColdTimer(), {}
    for of, name in ((rms, "rmsnorm"), (layer, "layernorm")):
        for rows, columns in SIZES:
            case = found[f"{name} {rows}x{columns}"] = measured(
                of, rows, columns, timer, arguments.rounds, arguments.alone
            )
            times = case["microseconds"]
            print(
                f"{name} {rows}x{columns}".ljust(24),
                f"of the copy {times['copy'] / times['fusec']:.2f}",
                "  ".join(f"{who} {us:.1f}" for who, us in times.items()),
                f"error {max(case['errors']['fusec']):.1e}",
                flush=True,
            )
    result = {
        "about": about(called("benchmarks.columns"), arguments.rounds),
        "cases": found,
    }
    with open(arguments.out, "w") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
