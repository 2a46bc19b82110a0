"""Row ops at lengths of every kind beside a copy of the same bytes, and beside the ops of an earlier revision.

    python -m benchmarks.before_after prepare REVISION          # where git is: writes .before/
    python -m benchmarks.rows.lengths --out lengths.json [--columns 1001 3000 ...] [--rounds 15] [--plans row_tiles ...]

Beside the plan that the rules take, calls may be forced to others. How, is in `benchmarks.rows.run`. The copy is one of
as many bytes as an op reads and writes, in the same rounds. All kernels are compiled before, by several processes, so
that little time of the GPU goes into it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib import import_module
from pathlib import Path

import torch

from benchmarks.before_after import FOLDER, cases_of
from benchmarks.cold import ColdTimer, about, called, captured, interleaved, listed, relative_error
from benchmarks.rows.cases import Case
from fusec.runtime import Op, PlanError

ROWS = 8192
COLUMNS = (515, 701, 1001, 1002, 1535, 2001, 3000, 3001, 3002, 5001, 5002, 5004, 5120, 6144, 7777, 11001, 11004, 11008)
COLUMNS += (15001, 16001, 18944, 19999)
OPS = ("rmsnorm", "layernorm", "softmax", "add_rmsnorm", "rmsnorm_quantize")
PACKAGES = {"before": "before_generated", "after": "generated"}
WORKERS = 14


def made(package: str, columns: int) -> list[Case]:
    """The cases of one length, with the ops of a package."""
    cases = cases_of("rows", import_module(PACKAGES.get(package, "generated")))
    return [getattr(cases, op)(ROWS, columns) for op in OPS]


def compile_share(worker: int, packages: list[str], lengths: list[int]) -> None:
    """Call every so many-th op once, so that its kernels are in Triton's cache."""
    jobs = [(columns, package, place) for columns in lengths for package in packages for place in range(len(OPS))]
    for columns, package, place in jobs[worker::WORKERS]:
        case = made(package, columns)[place]
        with suppress(PlanError), way(package, case.candidates["fusec"]):
            case.candidates["fusec"](*case.inputs())
    torch.cuda.synchronize()
    os._exit(0)


def way(package: str, op: Callable[..., object]) -> AbstractContextManager[None]:
    """Calls of an op within take the plan that a package is called by, if it is called by one."""
    if package in PACKAGES:
        return nullcontext()
    known = vars(sys.modules[op.__module__]).values()
    return next(each for each in known if isinstance(each, Op) and each.name == op.__name__).forced(package)


def measure(columns: int, packages: list[str], timer: ColdTimer, rounds: int) -> dict[str, dict[str, object]]:
    """Times and errors of the ops at one length, and the time of a copy."""
    found: dict[str, dict[str, object]] = {}
    for alike in zip(*(made(package, columns) for package in packages), strict=True):
        inputs = alike[0].inputs()
        exact = listed(alike[0].formula(*(t.double() for t in inputs)))
        # A copy that is no multiple of 16 bytes long is a slow one.
        source = torch.randn(alike[0].nbytes // 4096, 1024, device="cuda").to(torch.bfloat16)
        target = torch.empty_like(source)
        target.copy_(source)
        graphs = {"copy": captured(lambda source=source, target=target: target.copy_(source))}
        errors: dict[str, float] = {}
        for package, case in zip(packages, alike, strict=True):
            op = case.candidates["fusec"]
            with suppress(PlanError), way(package, op):
                got = [listed(op(*inputs)) for _ in range(2)][-1]
                errors[package] = max(relative_error(g, e) for g, e in zip(got, exact, strict=True))
                graphs[package] = captured(lambda op=op, inputs=inputs: op(*inputs))
        times = interleaved(graphs, timer, rounds)
        found[alike[0].name] = {"times": times, "errors": errors}
        shares = ", ".join(f"{p} {us:.1f} us = {times['copy'] / us:.2f}" for p, us in times.items() if p != "copy")
        print(
            f"{alike[0].name:24} copy {times['copy']:6.1f} us, {shares}, error {max(errors.values()):.1e}", flush=True
        )
    return found


def main() -> None:
    """Compile, measure, write the raw figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--columns", nargs="*", type=int, default=COLUMNS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--plans", nargs="*", default=[])
    arguments = parser.parse_args()
    sys.path.insert(0, str(FOLDER))
    packages = [name for name in PACKAGES if name == "after" or FOLDER.exists()] + arguments.plans
    lengths = list(arguments.columns)
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=compile_share, args=(place, packages, lengths)) for place in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    torch.manual_seed(0)
    timer, results = ColdTimer(), {}
    with torch.no_grad():
        for columns in lengths:
            results |= measure(columns, packages, timer, arguments.rounds)
            torch.cuda.empty_cache()
            notes = about(called("benchmarks.rows.lengths"), arguments.rounds)
            Path(arguments.out).write_text(json.dumps({"about": notes, "results": results}, indent=1))


if __name__ == "__main__":
    main()
