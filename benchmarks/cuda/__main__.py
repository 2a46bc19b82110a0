"""CUDA C++ written by hand beside the generated Triton: RMSNorm, rotary embedding, silu(gate) * up.

    python -m benchmarks.cuda --out cuda.json [--dtype f16|bf16] [--rounds 7]

The sizes are those of the table that compared the two first. Every kernel is tried in all of its tiles; the fastest
counts, and which that was is told. `fusec bench --from cuda.json --report FOLDER` makes a page of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.compared import Compared, about, run, tell
from benchmarks.cuda.kernels import TILES, build, functions
from benchmarks.seeds import rows
from fusec.commands.timing import time_calls
from fusec.report.results import Measured, Run

WHO = "CUDA C++"
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16}


def cases(library: Any, dtype: torch.dtype, device: str = "cuda") -> Iterator[Compared]:
    """Every size, beside all tiles."""
    every = (rows.rmsnorms(dtype=dtype, device=device), rows.ropes(dtype=dtype, device=device))
    yield from with_tiles(library, (case for family in every for case in family))
    yield from with_tiles(library, rows.gates(dtype=dtype, device=device))


def with_tiles(library: Any, found: Iterable[Compared]) -> Iterator[Compared]:
    """Cases with every tile of our kernel for them."""
    made = functions(library)
    for case in found:
        yield replace(case, others={f"{WHO}, {tile}": made[case.op](tile) for tile in range(TILES[case.op])})


def best(found: Run) -> Run:
    """Of the tiles the fastest alone, under one name; which it was is told in what the run is about."""
    cases, tiles = [], {}
    for case in found.cases:
        tried = [who for who in case.device if who.startswith(f"{WHO}, ")]
        one = min(tried, key=case.device.__getitem__, default=None)
        cases.append(_under_one_name(case, one))
        if one is not None:
            tiles[f"{case.op} {case.size}"] = one.removeprefix(f"{WHO}, ")
    told = ", ".join(f"{name}: {tile}" for name, tile in tiles.items())
    return replace(found, cases=tuple(cases), about={**found.about, "fastest tiles": told})


def _under_one_name(case: Measured, one: str | None) -> Measured:
    """A case whose tiles are gone but for one; a tile that cannot take it is no failure while another can."""

    def kept(figures: Any) -> Any:
        others = {who: each for who, each in figures.items() if not who.startswith(f"{WHO}, ")}
        return others | ({WHO: figures[one]} if one in figures else {})

    failed = {who: why for who, why in case.failed.items() if one is None or not who.startswith(f"{WHO}, ")}
    rounds, host, errors = (kept(figures) for figures in (case.rounds, case.host, case.errors))
    return replace(case, device=kept(case.device), rounds=rounds, host=host, errors=errors, failed=failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dtype", choices=DTYPES, default="f16")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.manual_seed(0)
    wanted = cases(build(), DTYPES[given.dtype])
    with torch.no_grad():
        found = run(wanted, partial(time_calls, rounds=given.rounds), about("benchmarks.cuda"))
        tell(map(best, found), given.out)


if __name__ == "__main__":
    main()
