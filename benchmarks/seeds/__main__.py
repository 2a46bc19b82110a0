"""The tables of the texts that fusec grew from, on this GPU: PyTorch, torch.compile, our ops, and their own code.

    python -m benchmarks.seeds --out seeds.json [--checkout PATH ...] [--only NAME ...] [--rounds 7]

A checkout is that of MemoryWorld/cuda-kernels, LessUp/triton-fused-ops or gau-nernst/gn-kernels, unmodified. Device
time is of CUDA graphs with a cold cache; host time is what a call costs Python, which the tables of these texts show.
`fusec bench --from seeds.json --report FOLDER` makes a page of it, and `fusec bench --limits` the table of ceilings.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.compared import Compared, about, run, tell
from benchmarks.seeds import products, rows
from benchmarks.seeds.checkouts import added, opened
from fusec.commands.timing import time_calls


def cases(device: str = "cuda") -> Iterator[Compared]:
    """Every table."""
    yield from rows.rmsnorms(device=device)
    yield from rows.ropes(device=device)
    yield from rows.gates(device=device)
    yield from products.rmsnorm_linears(device=device)
    yield products.norm_and_rope(device=device)
    yield products.gated_mlp(device=device)
    yield products.fp8_gemm(device=device)
    yield from products.squares(device=device)


def chosen(every: Iterator[Compared], only: Sequence[str], checkouts: Sequence[Path]) -> Iterator[Compared]:
    """Those whose names have one of the words, with what the checkouts have for them."""
    work = {name: found for path in checkouts for name, found in opened(path).items()}
    if len(checkouts) > 1:
        work = {f"{name}, {path.name}": found for path in checkouts for name, found in opened(path).items()}
    wanted = (case for case in every if any(word in f"{case.op} {case.size}" for word in only))
    return added(wanted, work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkout", type=Path, action="append", default=[])
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true")
    given = parser.parse_args()
    torch.manual_seed(0)
    wanted = chosen(cases(), given.only, given.checkout)
    with torch.no_grad():
        tell(
            run(wanted, partial(time_calls, rounds=given.rounds), about("benchmarks.seeds"), not given.no_compile),
            given.out,
        )


if __name__ == "__main__":
    main()
