"""What a warm call costs the host, beside the calls of PyTorch that it stands for; of ops of 8 bits beside ours of 16.

    python -m benchmarks.host --out host.json [--rounds 9]

Every round calls each op some hundred times without waiting for the GPU; of the rounds, the median is reported. The
kernels are short, so that the queue of the GPU never fills.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F

import generated
from benchmarks.cold import about

Call: TypeAlias = Callable[..., Any]

CALLS = 200
EPS = 1e-6


Pair: TypeAlias = dict[str, Callable[[], Any]]


def pairs() -> dict[str, Pair]:
    """By what is called, and with how many rows: an op of ours, and what it is held to."""
    x, residual = (torch.randn(128, 4096, device="cuda").bfloat16() for _ in range(2))
    gain = torch.rand(4096, device="cuda").bfloat16()
    weight, up = (torch.randn(4096, 4096, device="cuda").bfloat16() / 64 for _ in range(2))
    given = {
        "rmsnorm": (generated.rmsnorm, norm, (gain,)),
        "linear": (generated.linear, F.linear, (weight,)),
        "linear_residual": (generated.linear_residual, lambda x, w, r: F.linear(x, w) + r, (weight, residual)),
        "fused_gated_mlp": (generated.fused_gated_mlp, gated, (weight, up)),
        "rmsnorm_linear": (generated.rmsnorm_linear, lambda x, g, w: F.linear(norm(x, g), w), (gain, weight)),
        "rmsnorm_gated_mlp": (generated.rmsnorm_gated_mlp, lambda x, g, *w: gated(norm(x, g), *w), (gain, weight, up)),
    }
    of_8_bits = _of_8_bits(weight, up)
    return {
        f"{name} {rows}": _pair(x, residual, rows, *parts)
        for rows in (1, 16, 128)
        for name, parts in (given | of_8_bits).items()
    }


def _of_8_bits(weight: torch.Tensor, up: torch.Tensor) -> dict[str, tuple[Call, Call, tuple[torch.Tensor, ...]]]:
    """The same of ops that quantise: beside them the ops of 16 bits, whose cost for the host they are held to."""
    (q, scale), (up_q, up_scale) = generated.quantize_fp8_rows(weight), generated.quantize_fp8_rows(up)
    codes, code_scale = generated.quantize_int8_rows(weight)
    layer = generated.FP8Linear.from_linear(_linear(weight), drop_master=True)
    return {
        "fp8_linear": (generated.fp8_linear, generated.linear, (weight,)),
        "fp8_linear_quantized": (
            generated.fp8_linear_quantized,
            lambda x, q, s: generated.linear(x, weight),
            (q, scale),
        ),
        "FP8Linear": (layer, lambda x: generated.linear(x, weight), ()),
        "int8_linear": (generated.int8_linear, lambda x, q, s: generated.linear(x, weight), (codes, code_scale)),
        "fp8_gated_mlp": (
            generated.fp8_gated_mlp,
            lambda x, *w: generated.fused_gated_mlp(x, weight, up),
            (q, scale, up_q, up_scale),
        ),
        "quantize_fp8_rows": (generated.quantize_fp8_rows, lambda x: generated.softmax(x), ()),
    }


def _linear(weight: torch.Tensor) -> torch.nn.Linear:
    made = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta", dtype=weight.dtype)
    made.weight = torch.nn.Parameter(weight, requires_grad=False)
    return made


def norm(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """The norm, in PyTorch."""
    return F.rms_norm(x, x.shape[-1:], gain, EPS)


def gated(x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """The gated MLP, in PyTorch."""
    return F.silu(F.linear(x, gate)) * F.linear(x, up)


def _pair(
    x: torch.Tensor, residual: torch.Tensor, rows: int, ours: Call, theirs: Call, others: tuple[torch.Tensor, ...]
) -> Pair:
    arguments = [x[:rows], *(other[:rows] if other is residual else other for other in others)]
    return {"fusec": lambda: ours(*arguments), "peer": lambda: theirs(*arguments)}


def loop(call: Callable[[], Any]) -> float:
    """Microseconds of the host for a call."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with torch.no_grad():
        for name, pair in pairs().items():
            times: dict[str, list[float]] = {who: [] for who in pair}
            for _ in range(arguments.rounds + 1):
                for who in random.sample(list(pair), len(pair)):
                    times[who].append(loop(pair[who]))
            # The first round compiles.
            found[name] = {who: statistics.median(taken[1:]) for who, taken in times.items()}
            print(f"{name:24}", "  ".join(f"{who} {us:.1f}" for who, us in found[name].items()), flush=True)
    result = {"about": about("python -m benchmarks.host --out OUT", arguments.rounds), "microseconds": found}
    with open(arguments.out, "w") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
