"""One seed of a sweep: what is wrong with it, or None."""

from __future__ import annotations

import re
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from fusec.diagnostics import SpecError
from fusec.interpreter import exact, interpreting
from fusec.testing import interpreter_selftest
from fusec.testing.random_run import hold_text
from fusec.testing.random_specs import text
from fusec.testing.shrink import shrunk
from fusec.workers import answer


def check(job: dict[str, Any], folder: Path) -> dict[str, str] | None:
    """Run one seed. What leaves the GPU unusable ends the process, and is told by what it says last."""
    seed, spec = job["seed"], text(job["seed"])
    found = _fault(spec, seed, folder, job["calls"])
    if found is not None and job["shrink"]:
        kind = found["kind"]
        small = shrunk(spec, lambda t: (_fault(t, seed, folder, job["calls"]) or {}).get("kind") == kind, 300)
        found = {**(_fault(small, seed, folder, job["calls"]) or found), "text": small}
    return found


def _fault(spec: str, seed: int, folder: Path, calls: int) -> dict[str, str] | None:
    try:
        hold_text(spec, seed, folder, torch.device("cpu" if interpreting() else "cuda"), calls)
    except Exception as error:
        found = {"kind": _kind(error), "message": _message(error)[:2000], "text": spec}
        try:
            if not interpreting():
                torch.cuda.synchronize()
        except Exception:
            print(found, file=sys.stderr)
            sys.exit(f"{found['kind']}: {found['message']}".replace("\n", " ")[:1000])
        return found
    return None


def _message(error: Exception) -> str:
    return error.diagnostics[0].message if isinstance(error, SpecError) else str(error)


def _kind(error: Exception) -> str:
    """What went wrong, without what differs from one spec to another."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    first = (_message(error).splitlines() or [""])[0]
    words = "is outside of its bound" if " is outside of [" in first else re.sub(r"\S*\d\S*|`[^`]*`", "_", first)
    return f"{type(error).__name__} in {last.name}: {words[:100]}"


if __name__ == "__main__":
    with exact():
        if interpreting():
            interpreter_selftest.check()
        answer(check)
