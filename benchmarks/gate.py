"""What the resource gate leaves out, measured all the same: whether one that it takes for light ever needs much.

    python -m benchmarks.gate --out gate.json [--jobs 2] [NAME...]

Every variant of the files of `specs/`, or of those named, is compiled for sm_80 and sm_90; then the gate is replayed on
these figures. For each variant that another stands for the result has the registers of both. No GPU takes part; all
files take an hour of one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusec.codegen import gate
from fusec.codegen.variant import MOST_REGISTERS
from fusec.driver.compile import compile_file
from fusec.driver.figures import variants
from fusec.driver.specs import read_specs
from fusec.runtime.select.chip import TARGETS


class Known(gate.Pool):
    """Compilers that know every answer."""

    def __init__(self, answers: Mapping[str, dict[str, Any]]) -> None:
        self._answers = answers

    def do(self, jobs: Sequence[Any], limit: float, done: Callable[..., None], at_once: int | None = None) -> list[Any]:
        return [{} if job.get("front") else self._answers[_key(job)] for job in jobs]


def _key(job: Mapping[str, Any]) -> str:
    return repr((job["module"], job["variant"], job["target"]))


def left_out(jobs: Sequence[gate.Job], full: Sequence[gate.Verdict]) -> tuple[int, list[dict[str, Any]]]:
    """How many variants the gate measures, and those that it does not, with their figures and those of what stands."""
    answers = {_key(gate._told(job)): asdict(v.resources) for job, v in zip(jobs, full, strict=True) if v.resources}
    told = gate.measure_in(Known(answers), jobs, lambda _: None)
    figures: dict[tuple[str, str | None], int] = {}
    for job, verdict in zip(jobs, told, strict=True):
        if verdict.resources:
            place = (job.module, verdict.label)
            figures[place] = max(verdict.resources.registers, figures.get(place, 0))
    found = [
        {
            "module": job.module,
            "label": verdict.label,
            "target": verdict.target,
            "stands": verdict.like,
            "registers": measured.resources.registers,
            "spills": measured.resources.spills,
            "of what stands": figures[job.module, verdict.like],
        }
        for job, verdict, measured in zip(jobs, told, full, strict=True)
        if verdict.like and measured.resources
    ]
    return sum(verdict.resources is not None for verdict in told), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="files of specs/, else all")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    sources = {p: s for p, s in read_specs(Path("specs")).items() if not options.names or p.stem in options.names}
    files = [compile_file(source, path.parent) for path, source in sources.items()]
    with gate.compilers(options.jobs) as pool:
        known = variants(files, pool)
        jobs = [
            gate.Job(record.module, record.text, variant, TARGETS[target])
            for record in files
            for variant in {repr(each): each for op in record.ops for each in known[op.name]}.values()
            for target in ("sm_80", "sm_90")
        ]
        full = gate.measure_in(pool, jobs, lambda _: None, every=True)
    measured, rest = left_out(jobs, full)
    rest.sort(key=lambda each: each["registers"] / each["of what stands"], reverse=True)
    options.out.write_text(json.dumps({"measured": measured, "left out": rest}, indent=1) + "\n", encoding="utf-8")
    wrong = [each for each in rest if each["spills"]]
    most = max((each["registers"] for each in rest), default=0)
    print(f"{measured} measured, {len(rest)} left out; of these {len(wrong)} spill; the most registers are {most}")
    print(f"where {MOST_REGISTERS} of what stands are enough. The most beside what stands:")
    for each in [*wrong, *rest[:5]]:
        print(f"  {each['registers']} and {each['of what stands']}: {each['module']} {each['label']} {each['target']}")


if __name__ == "__main__":
    main()
