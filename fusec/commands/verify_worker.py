"""The process in which `fusec build --verify` runs ops: on a GPU, or in the interpreter made exact."""

from __future__ import annotations

import sys
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings

from fusec import crew
from fusec.diagnostics import Source
from fusec.driver.compile import Compiled, compile_source
from fusec.runtime.interpreter import exact, interpreting
from fusec.testing import agreement
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.strategies import cases


def do(job: dict[str, Any], _folder: Path) -> dict[str, Any]:
    """The worst error of an op as a part of its bound, or why it is wrong."""
    with exact():
        try:
            if interpreting():
                agreement.check()
            return {"worst": None if "probe" in job else verify(job), "failure": None}
        except AssertionError as error:
            return {"worst": None, "failure": str(error)}
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            return {"worst": None, "failure": f"{type(error).__name__} at {where}: {error}"}


def verify(job: dict[str, Any]) -> float:
    """Call the op on drawn arguments and hold each result against its bound. Raises what the op or the comparison does.

    The arguments are the same every time; those of a failure are made as small as they can be.
    """
    compiled = next(one for one in _compiled(job["spec"]) if one.graph.name == job["op"])
    op = getattr(_module(Path(job["package"]), job["module"]), job["op"])
    device = torch.device("cpu" if interpreting() else "cuda")
    worst = [0.0]

    @settings(
        max_examples=job["calls"],
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(compiled.graph))
    def call(case: Case) -> None:
        worst.append(run_and_compare(op, compiled.program.forms, case, device=device).ratio)

    call()
    return max(worst)


@cache
def _compiled(spec: str) -> tuple[Compiled, ...]:
    path = Path(spec)
    return compile_source(Source(path.name, path.read_text(encoding="utf-8")), path.parent)


def _module(package: Path, name: str) -> Any:
    if str(package.parent) not in sys.path:
        sys.path.insert(0, str(package.parent))
    return import_module(f"{package.name}.{name}")


if __name__ == "__main__":
    crew.answer(do)
