"""The process in which `fusec verify` calls a function of somebody: what goes wrong there takes no more down."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from fusec.commands import sizes
from fusec.commands.outcome import UsageError
from fusec.commands.timing import time_calls
from fusec.driver.compile import compile_file
from fusec.driver.load import load_module
from fusec.driver.specs import read_spec
from fusec.driver.store import default_folder
from fusec.interpreter import interpreting
from fusec.ir.graph import Graph
from fusec.testing.callers import Caller, CallerError
from fusec.testing.cases import build
from fusec.testing.checking import find_program
from fusec.testing.foreign import Narrow, judge_function
from fusec.workers import answer


def do(job: dict[str, Any], _folder: Path) -> dict[str, Any]:
    """The report of a job as plain values with its text, or why there is none."""
    try:
        function = load(Path(job["file"]), job["function"])
        program = find_program(job["op"], job["spec"])
        device = torch.device("cpu" if interpreting() or not torch.cuda.is_available() else "cuda")
        narrow = Narrow(job["dtypes"], job["sizes"])
        report = judge_function(function, program, device=device, calls=job["calls"], narrow=narrow)
        times = timed(function, program.graph, job) if device.type == "cuda" and report.ok else {}
    except (CallerError, UsageError, LookupError) as error:
        return {"usage": str(error)}
    return {"ok": report.ok, "text": str(report), "report": plain(asdict(report)), "times": times}


def load(path: Path, name: str) -> Callable[..., Any]:
    """The function of that name of a Python file. Raises `UsageError` where there is none to be had."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path.name} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        own = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        close = get_close_matches(name, own, n=1)
        raise UsageError(f"{path.name} has no function {name}" + (f"; did you mean {close[0]}?" if close else ""))
    found: Callable[..., Any] = function
    return found


def timed(function: Callable[..., Any], graph: Graph, job: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Microseconds of the device for the function and for our op, at a usual size."""
    path = Path(job["path"])
    module = load_module(read_spec(path), path.parent, compile_file, default_folder())
    caller = Caller.of(function, graph)
    given = [f"{name}={extent}" for name, extent in job["sizes"].items()]
    case = caller.narrowed(graph, sizes.choose(graph, given, job["dtypes"]))
    arguments = build(graph, case, "cuda").arguments
    own = getattr(module, job["op"])
    calls = {job["function"]: lambda: caller(arguments), "fusec": lambda: own(**arguments)}
    return {repr(case): {name: timing.device for name, timing in time_calls(calls).items()}}


def plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    answer(do)
