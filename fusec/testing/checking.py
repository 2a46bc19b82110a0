"""`fusec.testing.check`: a function of anybody, held to an op by its derived bound, from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import torch

from fusec.driver.find import defining, given_specs
from fusec.driver.plan import plan_source
from fusec.interpreter import interpreting
from fusec.ir.program import Program
from fusec.testing.cases import Case
from fusec.testing.compare import ResultError
from fusec.testing.foreign import CALLS, Narrow, Report, judge_function


def check(
    function: Callable[..., Any],
    op: str | Callable[..., Any],
    *,
    spec: str | PathLike[str] | None = None,
    calls: int = CALLS,
    dtypes: Mapping[str, str] | None = None,
    sizes: Mapping[str, int] | None = None,
    device: torch.device | str | None = None,
    cases: Sequence[Case] = (),
) -> Report:
    """Hold `function` to `op` over drawn shapes, strides, dtypes and values; raises `ResultError` where it is wrong.

    `op` is the name of an op, or the op itself, of `spec`: the path of a `.fuse` file, the text of one, or None for the
    specs that come with fusec. `function` takes the op's arguments by their names, else in their order. Of each group
    there are so many `calls`; `dtypes` ({"T": "bf16"}) and `sizes` ({"N": 4096}) are what it is made for where it does
    not take all; `cases` are calls of an earlier report, made again alone. Memory is guarded, and every access watched
    in Triton's interpreter (TRITON_INTERPRET=1), which kernels need on a machine without a GPU.

    Raises `LookupError` for an op that the specs do not have, `ValueError` where the function does not take what the op
    needs. Returns the report where nothing is wrong.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() and not interpreting() else "cpu"))
    name = op if isinstance(op, str) else op.__name__
    narrow = Narrow(dtypes or {}, sizes or {})
    report = judge_function(function, find_program(name, spec), device=where, calls=calls, narrow=narrow, only=cases)
    if not report.ok:
        raise ResultError(str(report))
    return report


def find_program(op: str, spec: str | PathLike[str] | None) -> Program:
    """The op of that name, in a file, a folder or a text of specs, else in those that come with fusec."""
    try:
        path, source, _ = defining(op, given_specs(spec))
    except LookupError as error:
        where = "the specs of fusec" if spec is None else "that spec"
        raise LookupError(f"no op {op} in {where}; {error}") from error
    return plan_source(source, path.parent if path else None).program(op)
