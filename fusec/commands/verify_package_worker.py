"""The process in which `fusec build --verify` runs ops: on a GPU, or in the interpreter made exact."""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from math import floor, isinf
from pathlib import Path
from typing import Any

import torch

from fusec.codegen.variant import OP
from fusec.diagnostics import Source
from fusec.driver.plan import Planned, plan_source
from fusec.driver.store import write_whole
from fusec.interpreter import exact, interpreting
from fusec.ir.program import Program
from fusec.testing import interpreter_selftest
from fusec.testing.exercise import Effort, Record, exercise
from fusec.workers import answer


def do(job: dict[str, Any], _folder: Path) -> dict[str, Any]:
    """What `verify` finds, or why something is wrong; no failure where the interpreter is only probed, or the GPU."""
    if "gpu" in job:
        return {"gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None}
    with exact():
        try:
            if interpreting():
                interpreter_selftest.check()
            return {"failure": None} if "probe" in job else verify(job)
        except Exception as error:
            return {"worst": None, "failure": told(error), "errors": {}, "not_run": (), "bounded": None}


def verify(job: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `Verification` of an op: the worst errors as parts of the bound, and what was not seen."""
    planned = _planned(job["spec"], job["plans"])
    ops = zip(planned.graphs, planned.programs, strict=True)
    graph, program = next((graph, program) for graph, program in ops if graph.name == job["op"])
    module = _module(Path(job["package"]), job["module"])
    device = torch.device("cpu" if interpreting() else "cuda")
    record, failure = Record(), None
    try:
        others = planned.programs[: planned.programs.index(program)]
        exercise(module, program, Effort(**job["effort"]), device, record, _kernels_of(others, module))
    except Exception as error:
        failure = told(error)
    errors = {name: None if isinf(worst) else worst for name, worst in sorted(record.worst.items())}
    seen = [worst for worst in errors.values() if worst is not None]
    return {
        "worst": None if failure else max(seen, default=None),
        "failure": failure or unbounded(record.share, graph.bounded),
        "errors": errors,
        "not_run": sorted({kernel.name for kernel in program.kernels} - errors.keys()),
        "bounded": record.share,
    }


def told(error: Exception) -> str:
    """What went wrong, in words; for a fault of ours, also where."""
    if isinstance(error, AssertionError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error}"


def unbounded(share: float | None, least: float) -> str | None:
    """What is wrong where too few elements of results had a bound."""
    if share is None or share >= least:
        return None
    return (
        f"only {share:.0%} of the elements of its results had a bound, {least:.0%} are asked for: with ordinary "
        f"arguments the rest may be anything, or is NaN or infinite; if that is so by intent, say "
        f"`bounded({floor(share * 10) / 10:g})` in the op"
    )


def _kernels_of(programs: Sequence[Program], module: Any) -> frozenset[str]:
    """The kernels of some ops of a file, but for those that compute something else for each op."""
    names = {kernel.name for program in programs for kernel in program.kernels}
    return frozenset(name for name in names if OP not in getattr(vars(module).get(name), "arg_names", (OP,)))


@cache
def _planned(spec: str, plans: str) -> Planned:
    """The ops of a spec, which one of the workers plans and leaves in the folder `plans` for the others."""
    path, kept = Path(spec), Path(plans) / f"{Path(spec).stem}.pickle"
    if kept.exists():
        left: Planned = pickle.loads(kept.read_bytes())
        return left
    planned = plan_source(Source(path.name, path.read_text(encoding="utf-8")), path.parent)
    write_whole(kept, pickle.dumps(planned))
    return planned


def _module(package: Path, name: str) -> Any:
    if str(package.parent) not in sys.path:
        sys.path.insert(0, str(package.parent))
    return import_module(f"{package.name}.{name}")


if __name__ == "__main__":
    answer(do)
