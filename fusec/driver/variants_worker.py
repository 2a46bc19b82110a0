"""The process that asks generated launchers which kernel variants they would launch.

It is one of its own because it imports files before they are written, with Triton compiling and not interpreting.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.driver.variants import variants
from fusec.workers import answer


def do(job: dict[str, Any], _folder: Path) -> dict[str, Any]:
    """The variants of every op of a spec by its name, or `{"error": why}`."""
    try:
        compiled = compile_source(Source(job["name"], job["text"]), Path(job["folder"]))
        module = PurePath(job["name"]).stem
        return {one.graph.name: [asdict(v) for v in variants(one.program, module, one.text)] for one in compiled}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    answer(do)
