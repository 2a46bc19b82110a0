"""`fusec verify`: a kernel of anybody, held to the bound of an op that it stands for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fusec.commands.exits import Exit
from fusec.commands.find import find_op
from fusec.commands.outcome import DebugOption, JsonOption, UsageError, print_json, reporting
from fusec.commands.pairs import DTYPES, pairs
from fusec.commands.sizes import parse
from fusec.commands.verify_package import INTERPRETED, gpu_name
from fusec.driver.shipped import shipped_specs
from fusec.workers import Failed, run_jobs

EPILOG = """[bold]Examples[/bold]

fusec verify my_kernels.py::rmsnorm --as rmsnorm

fusec verify my_kernels.py::attention_scores --as scores --spec my_specs/scores.fuse

fusec verify liger.py::rmsnorm --as rmsnorm --dtype T=bf16 --size N=4096

[bold]Exit codes[/bold]

0 right · 1 the spec is wrong · 2 wrong usage · 3 the function is wrong · 4 a fault of fusec"""

WORKER = "fusec.commands.verify_worker"

TIME_LIMIT = 1800.0
"""Seconds that all calls may take: in the interpreter a kernel of many programs is slow."""


def run(
    function: Annotated[str, typer.Argument(help="FILE.py::NAME, a function of the op's arguments.")],
    op: Annotated[str, typer.Option("--as", help="The op that it stands for.")],
    spec: Annotated[Path | None, typer.Option(help="The spec of the op; else those that come with fusec.")] = None,
    calls: Annotated[int, typer.Option(min=1, help="Calls of each group.")] = 20,
    size: Annotated[list[str] | None, typer.Option(help="The extent of an axis that it is made for.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="The dtype of a type variable that it is made for.")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Hold a function to the error bound of an op: Triton, CUDA, PyTorch, written by hand or by a machine.

    Drawn calls go through its ordinary work, other strides, ends of formats, empty axes, larger calls, long sums.
    Inputs and what lies beside tensors must not change, memory that is allocated is poisoned, and a second call has to
    give the same bits. On a GPU its time stands beside ours; without one, kernels run in Triton's interpreter.
    """
    with reporting(as_json, debug):
        file, colons, name = function.rpartition("::")
        if not colons or not Path(file).is_file():
            raise UsageError(f"{function}: name a function as FILE.py::NAME" + (f"; no file {file}" if colons else ""))
        folder = spec or shipped_specs()
        path, _, _ = find_op(op, folder)
        extents, _ = parse(size or [])
        job = {
            "file": str(Path(file).resolve()),
            "function": name,
            "op": op,
            "spec": str(folder.resolve()),
            "path": str(path.resolve()),
            "calls": calls,
            "sizes": extents,
            "dtypes": pairs("--dtype", dtype or [], DTYPES),
        }
        environment = dict(os.environ) if gpu_name() else INTERPRETED
        (answer,) = run_jobs(WORKER, [job], 1, TIME_LIMIT, lambda _: None, environment)
        found = _told(answer)
        if as_json:
            print_json(found)
        else:
            print(found["text"])
            for case, times in found["times"].items():
                print(f"  {case}: " + ", ".join(f"{who} {us:.1f} us" for who, us in times.items()))
        if not found["ok"]:
            raise typer.Exit(Exit.FAILED)


def _told(answer: Failed | dict[str, Any]) -> dict[str, Any]:
    """The report; a process that died is a finding too."""
    if isinstance(answer, Failed):
        return {"ok": False, "text": f"WRONG: the process that called it {answer.reason}", "report": None, "times": {}}
    if "usage" in answer:
        raise UsageError(answer["usage"])
    return answer
