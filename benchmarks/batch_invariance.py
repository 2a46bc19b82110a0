"""What batch invariance costs: shipped ops within `fusec.batch_invariant()` and without, from 1 row to 4096.

    python -m benchmarks.batch_invariance --out batch_invariance.json [--rounds 11] [--seconds 40]

Both are CUDA graphs, replayed by turns with a cold L2; the median of the rounds counts. The rows of every invariant
result are held to those of the longest call, to the last bit. No case begins behind `--seconds`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch

import fusec
import generated
from benchmarks.cold import ColdTimer, about, captured, interleaved, listed

ROWS = (1, 8, 64, 256, 1024, 4096)

Call: TypeAlias = Callable[[torch.Tensor], Any]


def drawn(*shape: int) -> torch.Tensor:
    """Numbers whose products with others of a row are about 1."""
    return (torch.randn(*shape, device=DEVICE) / shape[-1] ** 0.5).bfloat16()


DEVICE = "cuda"


def linear(columns: int, outputs: int) -> Call:
    return partial(_behind, generated.linear, drawn(outputs, columns))


def rmsnorm_linear(columns: int, outputs: int) -> Call:
    return partial(_behind, generated.rmsnorm_linear, drawn(columns), drawn(outputs, columns))


def gated_mlp(columns: int, outputs: int) -> Call:
    return partial(_behind, generated.fused_gated_mlp, drawn(outputs, columns), drawn(outputs, columns))


def linear_add_rmsnorm(columns: int, outputs: int) -> Call:
    weight, residual, gain = drawn(outputs, columns), drawn(max(ROWS), outputs), drawn(outputs)
    return lambda x: generated.linear_add_rmsnorm(x, weight, residual[: len(x)], gain)


def rmsnorm(columns: int) -> Call:
    return partial(_behind, generated.rmsnorm, drawn(columns))


def add_rmsnorm(columns: int) -> Call:
    residual, gain = drawn(max(ROWS), columns), drawn(columns)
    return lambda x: generated.add_rmsnorm(x, residual[: len(x)], gain)


def softmax(columns: int) -> Call:
    return generated.softmax


def _behind(op: Callable[..., Any], *others: torch.Tensor) -> Any:
    """An op of rows and the tensors that all of them share."""
    *weights, x = others
    return op(x, *weights)


CASES: dict[str, tuple[int, Callable[[], Call]]] = {
    "rmsnorm 4096": (4096, partial(rmsnorm, 4096)),
    "add_rmsnorm 8192": (8192, partial(add_rmsnorm, 8192)),
    "softmax 32000": (32000, partial(softmax, 32000)),
    "linear 4096 to 4096": (4096, partial(linear, 4096, 4096)),
    "rmsnorm_linear 4096 to 6144": (4096, partial(rmsnorm_linear, 4096, 6144)),
    "linear_add_rmsnorm 4096 to 4096": (4096, partial(linear_add_rmsnorm, 4096, 4096)),
    "fused_gated_mlp 4096 to 14336": (4096, partial(gated_mlp, 4096, 14336)),
}
"""The columns of x, and an op that has its other arguments."""


def invariant(call: Call, x: torch.Tensor) -> Any:
    """A call whose rows do not depend on each other."""
    with fusec.batch_invariant():
        return call(x)


def measured(columns: int, call: Call, timer: ColdTimer, rounds: int, until: float) -> dict[str, Any]:
    """Microseconds by rows, and whether the rows have the bits that they have in the longest call."""
    x = drawn(max(ROWS), columns)
    wanted = listed(invariant(call, x))
    found: dict[str, Any] = {}
    for rows in ROWS:
        if time.monotonic() > until:
            break
        calls = {"any": partial(call, x[:rows]), "invariant": partial(invariant, call, x[:rows])}
        results = {name: listed(run()) for name, run in calls.items()}
        same = all(torch.equal(got, all_[:rows]) for got, all_ in zip(results["invariant"], wanted, strict=True))
        graphs = {name: captured(run) for name, run in calls.items()}
        found[str(rows)] = {"same bits": same, "microseconds": interleaved(graphs, timer, rounds)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=40)
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.seconds
    timer, found = ColdTimer(), {}
    for name, (columns, made) in CASES.items():
        if time.monotonic() > until:
            break
        case = found[name] = measured(columns, made(), timer, arguments.rounds, until)
        for rows, each in case.items():
            us = each["microseconds"]
            times = f"{us['any']:8.1f} us  invariant {us['invariant']:8.1f}  {us['invariant'] / us['any']:.2f} times"
            print(f"{name}, {rows} rows".ljust(44), times, "" if each["same bits"] else "OTHER BITS", flush=True)
        result = {"about": about("python -m benchmarks.batch_invariance --out OUT", arguments.rounds), "cases": found}
        with open(arguments.out, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
