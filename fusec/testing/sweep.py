"""Random specs by the thousand: `python -m fusec.testing.sweep --seeds 0:3000 --out sweep.json`.

Each seed is compiled and run on a few drawn calls, on the GPU where there is one, else in the interpreter. The result
lists what failed, with the text of the spec; `--shrink` makes that as small as it gets. A process that a seed ends is
replaced, so that the next seeds are not hit. Exits with 1 when a seed failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import triton

from fusec.testing.command_line import command_line
from fusec.testing.random_specs import text
from fusec.workers import Failed, worker_pool

_LIMIT = 180.0
"""Seconds that one seed may take."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _options(arguments)
    seeds = range(*map(int, options.seeds.split(":")))
    started = time.monotonic()
    deadline = started + 60 * options.minutes if options.minutes else float("inf")
    failures: dict[int, dict[str, Any]] = {}
    done = 0

    def note(job: dict[str, Any], answer: Any) -> None:
        nonlocal done
        done += 1
        seed = job["seed"]
        if isinstance(answer, Failed):
            answer = {"kind": "lost", "message": answer.reason, "text": text(seed)}
        if answer is not None:
            failures[seed] = answer
            print(f"seed {seed}: {answer['kind']}: {answer['message'].splitlines()[0][:150]}", flush=True)

    with worker_pool("fusec.testing.sweep_worker", options.jobs, _environment()) as pool:
        batch = 8 * options.jobs
        for start in range(0, len(seeds), batch):
            if time.monotonic() > deadline:
                break
            jobs = [{"seed": s, "calls": options.calls, "shrink": options.shrink} for s in seeds[start : start + batch]]
            pool.do(jobs, _LIMIT * (5 if options.shrink else 1), note)
    result = {
        "command": command_line("fusec.testing.sweep", options),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "Triton interpreter",
        "versions": {"torch": torch.__version__, "triton": triton.__version__},
        "seeds": [seeds.start, seeds.start + done],
        "calls": options.calls,
        "seconds": round(time.monotonic() - started, 1),
        "failed": len(failures),
        "kinds": dict(Counter(each["kind"] for each in failures.values())),
        "failures": {str(seed): failures[seed] for seed in sorted(failures)},
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{done} of {len(seeds)} seeds, {len(failures)} failed, {result['seconds']} s, on {result['device']}")
    return 1 if failures else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fusec.testing.sweep", description="Random specs by the thousand.")
    parser.add_argument("--seeds", default="0:3000", metavar="A:B", help="the first seed, and the one after the last")
    parser.add_argument("--calls", type=int, default=3, help="drawn calls of each spec (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--minutes", type=float, help="begin no further seeds after so long")
    parser.add_argument("--shrink", action="store_true", help="make what failed as small as it gets")
    parser.add_argument("--out", type=Path, help="where to write the result, as JSON")
    return parser.parse_args(arguments)


def _environment() -> Mapping[str, str]:
    """Processes whose kernels are interpreted where there is no GPU."""
    environment = dict(os.environ)
    if not torch.cuda.is_available():
        environment["TRITON_INTERPRET"] = "1"
    return environment


if __name__ == "__main__":
    sys.exit(main())
