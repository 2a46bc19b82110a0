"""The ops of an earlier revision beside those of this one: every case of rows and contractions, on one GPU, in one run.

    python -m benchmarks.before_after prepare REVISION          # where git is: writes .before/
    python -m benchmarks.before_after run --out before_after.json [--only NAME ...] [--rounds 15]

`prepare` copies the generated package and the runtime of REVISION to `.before/`, under names of their own. `run`
captures both ops of a case as CUDA graphs and replays them on the same buffers, one after the other in an order
shuffled for every round, with the L2 cache swept before each replay; the figure is the median over rounds, in
microseconds. Both are held against the formula in f64 first. A case whose kernels did not change tells how far two
equal ops differ.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchmarks.cold import ColdTimer, about, captured, interleaved, listed, relative_error

FOLDER = Path(__file__).parents[1] / ".before"
_WORD = re.compile(r"\bfusec\b")
SHORT = 100.0
"""Microseconds up to which a case gets three times as many rounds."""


def prepare(revision: str) -> None:
    """Write `.before/before_generated` and `.before/before_fusec/runtime` of a revision."""
    command = ["git", "archive", revision, "generated", "fusec/runtime", "fusec/ir", "fusec/diagnostics.py"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            content = files.extractfile(member)
            if content is None:
                continue
            path = FOLDER / f"before_{member.name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = content.read().decode()
            path.write_text(_WORD.sub("before_fusec", text) if path.suffix == ".py" else text)
    (FOLDER / "before_fusec" / "__init__.py").write_text("")
    # Relative to the package the names are what they were; by its own name it is another one.
    for path in (FOLDER / "before_generated").rglob("*.py"):
        path.write_text(re.sub(r"\bfrom generated\b", "from before_generated", path.read_text()))


def pairs() -> Iterator[tuple[str, Callable[[], tuple[Any, ...]], Callable[..., Any], dict[str, Callable[..., Any]]]]:
    """Of every case its name, arguments, formula, and the op before and after."""
    sys.path.insert(0, str(FOLDER))
    earlier = import_module("before_generated")
    for name, arguments, formula in (("rows", "inputs", "formula"), ("contractions", "arguments", "formula")):
        of_each = (cases_of(name, package).all_cases() for package in (earlier, import_module("generated")))
        for before, after in zip(*of_each, strict=True):
            ops = {"before": _op(before), "after": _op(after)}
            yield after.name, getattr(after, arguments), getattr(after, formula), ops


def cases_of(name: str, package: ModuleType) -> ModuleType:
    """The cases of this name with the ops of a package: a module of its own, for some look them up when called."""
    found = find_spec(f"benchmarks.{name}.cases")
    assert found is not None
    assert found.loader is not None
    import_module(found.name)
    cases = module_from_spec(found)
    found.loader.exec_module(cases)
    vars(cases)["generated"] = package
    return cases


def _op(case: Any) -> Callable[..., Any]:
    op: Callable[..., Any] = case.candidates.get("fusec") or case.fusec
    return op


def measure(
    arguments: tuple[Any, ...],
    formula: Callable[..., Any],
    ops: dict[str, Callable[..., Any]],
    timer: ColdTimer,
    rounds: int,
) -> dict[str, Any]:
    """The median time and the error of each op, or why it failed."""
    wide = [a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in arguments]
    exact = listed(formula(*wide))
    found: dict[str, Any] = {"times": {}, "errors": {}, "failed": {}}
    graphs: dict[str, torch.cuda.CUDAGraph] = {}
    for who, op in ops.items():
        try:
            for _ in range(3):
                got = listed(op(*arguments))
            same = [(g, e) for g, e in zip(got, exact, strict=False) if g.shape == e.shape]
            found["errors"][who] = max(relative_error(g, e) for g, e in same)
            graphs[who] = captured(lambda op=op: op(*arguments))
        except Exception as error:  # one that cannot run a case is reported, not fatal
            found["failed"][who] = f"{type(error).__name__}: {str(error)[:200]}"
    first = max((timer(graph.replay) for graph in graphs.values()), default=0.0)
    found["times"] = interleaved(graphs, timer, rounds if first > SHORT else 3 * rounds)
    return found


def run(out: str, only: list[str], rounds: int) -> None:
    """Time all cases, write the raw figures, print what changed most, and the geometric mean."""
    torch.manual_seed(0)
    timer, results = ColdTimer(), {}
    with torch.no_grad():
        for name, arguments, formula, ops in pairs():
            if any(word in name for word in only):
                results[name] = measure(arguments(), formula, ops, timer, rounds)
                torch.cuda.empty_cache()
                made = about(f"python -m benchmarks.before_after run --out OUT --rounds {rounds}", rounds)
                Path(out).write_text(json.dumps({"about": made, "results": results}, indent=1))
    report(results)


def report(results: dict[str, dict[str, Any]]) -> None:
    """Every case, the slowest against before first: times, and how many times as fast as before."""
    ratios = {n: r["times"]["before"] / r["times"]["after"] for n, r in results.items() if len(r["times"]) == 2}
    for name, ratio in sorted(ratios.items(), key=lambda item: item[1]):
        times, errors = results[name]["times"], results[name]["errors"]
        print(f"{name:44} {times['before']:9.1f} {times['after']:9.1f} {ratio:6.3f}x  err {errors['after']:.1e}")
    for name, result in results.items():
        for who, why in result["failed"].items():
            print(f"{name:44} {who} FAILED {why}")
    if ratios:
        print(f"{len(ratios)} cases, geometric mean {math.prod(ratios.values()) ** (1 / len(ratios)):.4f}x")


def main() -> None:
    """`prepare` or `run`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare").add_argument("revision")
    timed = commands.add_parser("run")
    timed.add_argument("--out", required=True)
    timed.add_argument("--only", nargs="*", default=[""])
    timed.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare(arguments.revision)
    else:
        run(arguments.out, arguments.only, arguments.rounds)


if __name__ == "__main__":
    main()
