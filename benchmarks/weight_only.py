"""Linear layers whose weights have 4 or 8 bits, beside `torch.mm` in bf16 and PyTorch's product of int4.

    python -m benchmarks.weight_only --out weight_only.json [--only NAME ...] [--rounds 9]

Candidates of a case are CUDA graphs, replayed by turns with a cold L2; the median of the rounds counts. Each has
two: of one call, and of eight calls in a row with eight weights, of which an eighth is the time of one. Each result
is held to f64 on the weights that are timed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import torch

import generated
from benchmarks.cold import ColdTimer, about, called, captured, interleaved, relative_error

BF16, F8 = torch.bfloat16, torch.float8_e4m3fn
GROUP, TIMES = 128, 8

Call: TypeAlias = Callable[[int], torch.Tensor]
"""The product with one of the weights."""
Candidates: TypeAlias = tuple[dict[str, Call], torch.Tensor, int]
"""What is timed, what it should give with the first weight, and the bytes of a weight."""


def several(weight: torch.Tensor) -> list[torch.Tensor]:
    return [weight.clone() for _ in range(TIMES)]


def int4(m: int, n: int, k: int, zeros: bool = False) -> Candidates:
    numbers = torch.randint(0, 16, (n, k), device="cuda", dtype=torch.uint8)
    x = torch.randn(m, k, device="cuda").to(BF16)
    scale = (torch.rand(k // GROUP, n, device="cuda") * 0.02 + 0.01).to(BF16)
    zero = torch.randint(0, 16, (k // GROUP, n), device="cuda", dtype=torch.uint8) if zeros else None
    away = 8.0 if zero is None else zero.T.double().repeat_interleave(GROUP, 1)
    weight = (numbers.double() - away) * scale.T.double().repeat_interleave(GROUP, 1)
    exact = x.double() @ weight.T
    in_bf16 = several(weight.to(BF16))
    packed = several(numbers[:, 0::2] | numbers[:, 1::2] << 4)
    calls: dict[str, Call] = {
        "fusec": lambda i: generated.int4_linear(x, packed[i], scale, zero),
        "torch.mm in bf16": lambda i: torch.mm(x, in_bf16[i].T),
    }
    if m <= 16:
        # Its bytes have the first number in the high digits, and its zero points are added to numbers less 8.
        raw = torch._convert_weight_to_int4pack(numbers[:, 0::2] << 4 | numbers[:, 1::2], 8)
        added = torch.zeros_like(scale) if zero is None else ((8.0 - zero.float()) * scale.float()).to(BF16)
        both, tiled = torch.stack((scale, added), -1).contiguous(), several(raw)
        calls["torch int4"] = lambda i: torch.ops.aten._weight_int4pack_mm(x, tiled[i], GROUP, both)
    return calls, exact, n * k // 2


def in_8_bits(m: int, n: int, k: int, f8: bool) -> Candidates:
    x = torch.randn(m, k, device="cuda").to(BF16)
    drawn = torch.randn(n, k, device="cuda")
    weight = drawn.to(F8) if f8 else (drawn * 40).clamp(-127, 127).to(torch.int8)
    scale = torch.rand(n, device="cuda") + 0.5
    exact = (x.double() @ weight.double().T) * scale.double()
    op = generated.fp8_weight_only_linear if f8 else generated.int8_weight_only_linear
    weights = several(weight)
    in_bf16 = several((weight.float() * scale[:, None]).to(BF16))
    calls: dict[str, Call] = {
        "fusec": lambda i: op(x, weights[i], scale),
        "torch.mm in bf16": lambda i: torch.mm(x, in_bf16[i].T),
    }
    return calls, exact, n * k


def cases() -> Iterator[tuple[str, Callable[[], Candidates]]]:
    for n, k in ((8192, 8192), (14336, 4096)):
        for m in (1, 16, 64, 512):
            yield f"int4 {m}x{k}x{n}", partial(int4, m, n, k)
        for m in (1, 16):
            yield f"int4 {m}x{k}x{n} with zero points", partial(int4, m, n, k, zeros=True)
    for m in (1, 16, 64):
        yield f"int8 {m}x8192x8192", partial(in_8_bits, m, 8192, 8192, f8=False)
        yield f"f8 {m}x8192x8192", partial(in_8_bits, m, 8192, 8192, f8=True)


def in_a_row(call: Call) -> None:
    for number in range(TIMES):
        call(number)


def measured(candidates: Candidates, timer: ColdTimer, rounds: int) -> dict[str, Any]:
    """The times of one call and of one of eight, in us, the rate at which these read the weight, and the errors."""
    calls, exact, size = candidates
    errors = {who: relative_error(call(0), exact) for who, call in calls.items()}
    graphs = {who: captured(partial(call, 0)) for who, call in calls.items()}
    graphs |= {f"{who}, in a row": captured(partial(in_a_row, call)) for who, call in calls.items()}
    times = interleaved(graphs, timer, rounds)
    alone = {who: times[who] for who in calls}
    row = {who: times[f"{who}, in a row"] / TIMES for who in calls}
    return {
        "microseconds": alone,
        "in a row": row,
        "TB/s": {who: size / us / 1e6 for who, us in row.items()},
        "errors": errors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    timer, found = ColdTimer(), {}
    for name, make in cases():
        if not any(word in name for word in arguments.only):
            continue
        found[name] = each = measured(make(), timer, arguments.rounds)
        for who, us in sorted(each["microseconds"].items(), key=lambda pair: pair[1]):
            row, error = each["in a row"][who], each["errors"][who]
            print(
                f"{name:36} {who:18} {us:7.1f} us, in a row {row:7.1f} {each['TB/s'][who]:.2f} TB/s error {error:.1e}",
                flush=True,
            )
    with open(arguments.out, "w") as file:
        json.dump({"about": about(called("benchmarks.weight_only"), arguments.rounds), "cases": found}, file, indent=1)


if __name__ == "__main__":
    main()
