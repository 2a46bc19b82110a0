"""Mutants run against items: which item tells each of them, in copies of the repository, never in the work tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from fusec.testing.mutation.faults import Mutant

MUTATED = ("fusec/passes", "fusec/codegen", "fusec/runtime")
"""The packages in which faults are planted."""

COPIED = ("fusec", "tests", "specs", "generated", "examples", "docs", "pyproject.toml", "README.md", "CONTRIBUTING.md")

START = 60.0
"""Seconds beside those of its items that a process may take."""

J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Baseline:
    """An item without a fault: its seconds, and the lines it reaches by path."""

    item: str
    seconds: float
    lines: dict[str, frozenset[int]] = field(default_factory=dict)

    def reaches(self, path: str, line: int) -> bool:
        """Whether the item runs a line of a module."""
        return line in self.lines.get(path, ())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: "behaviour", "texts", "survived" or "not reached", and by which item."""

    path: str
    mutant: Mutant
    outcome: str
    item: str = ""
    seconds: float = 0.0
    reached_by: int = 0


class Farm:
    """Copies of a repository, each for one process at a time."""

    def __init__(self, copies: Sequence[Path], environment: dict[str, str]) -> None:
        self._copies = copies
        self._environment = environment

    def each(self, jobs: Sequence[J], do: Callable[[Path, J], R]) -> Iterator[R]:
        """`do(copy, job)` for every job, in order."""
        idle: SimpleQueue[Path] = SimpleQueue()
        for copy in self._copies:
            idle.put(copy)

        def run(job: J) -> R:
            copy = idle.get()
            try:
                return do(copy, job)
            finally:
                idle.put(copy)

        with ThreadPoolExecutor(len(self._copies)) as pool:
            yield from pool.map(run, jobs)

    def items(self, copy: Path, chosen: Sequence[str], limit: float, *, trace: bool = False) -> list[dict[str, Any]]:
        """What the worker says of `chosen` items in a copy; the last one has no verdict if the process did not end."""
        command = [
            sys.executable,
            "-P",
            "-m",
            "fusec.testing.mutation.worker",
            *(["--trace"] if trace else []),
            *chosen,
        ]
        environment = {**self._environment, "PYTHONPATH": str(copy), "TRITON_CACHE_DIR": str(copy / ".triton")}
        process = subprocess.Popen(
            command,
            cwd=copy,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            printed, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            printed, _ = process.communicate()
        return [json.loads(line) for line in printed.decode(errors="replace").splitlines() if line.endswith("}")]


@contextmanager
def farm(root: Path, count: int) -> Iterator[Farm]:
    """So many copies of the repository `root`, gone afterwards."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "TRITON_INTERPRET": "1"}
    with tempfile.TemporaryDirectory(prefix="fusec-mutants-") as folder:
        copies = [Path(folder) / str(number) for number in range(count)]
        for copy in copies:
            copy.mkdir()
            for name in COPIED:
                source = root / name
                if source.is_dir():
                    shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
                elif source.exists():
                    shutil.copy(source, copy / name)
        yield Farm(copies, environment)


def baseline(farmed: Farm, chosen: Sequence[str], limit: float) -> Iterator[Baseline | str]:
    """Every item without a fault; one that does not hold, or takes too long, by its name alone."""

    def measure(copy: Path, few: Sequence[str]) -> list[Baseline | str]:
        told = {
            each["item"]: each for each in farmed.items(copy, few, limit * len(few), trace=True) if "passes" in each
        }
        return [
            Baseline(item, told[item]["seconds"], {path: frozenset(n) for path, n in told[item]["lines"].items()})
            if item in told and told[item]["passes"]
            else item
            for item in few
        ]

    for found in farmed.each(list(_together(chosen)), measure):
        yield from found


def _together(items: Sequence[str], most: int = 6) -> Iterator[list[str]]:
    """Items by process: specs a few at a time, as they are over before a process has begun; tests one by one."""
    specs = [item for item in items if item.split()[0] in ("random", "shipped")]
    yield from ([item] for item in items if item not in specs)
    yield from (specs[start : start + most] for start in range(0, len(specs), most))


def judged(
    farmed: Farm,
    root: Path,
    chosen: Sequence[tuple[str, Mutant]],
    known: Sequence[Baseline],
    most: float,
    over: Callable[[], bool] = lambda: False,
) -> Iterator[Verdict | None]:
    """What becomes of every mutant: the items that reach its line run, quick ones first, for `most` seconds in all.

    None of those that had not begun when it was `over`.
    """

    def judge(copy: Path, job: tuple[str, Mutant]) -> Verdict | None:
        path, mutant = job
        if over():
            return None
        source = (root / path).read_text()
        reaching = sorted((each for each in known if each.reaches(path, mutant.line)), key=lambda each: each.seconds)
        if not reaching:
            return Verdict(path, mutant, "not reached")
        try:
            (copy / path).write_text(mutant.applied(source))
            for outcome, kinds in (("behaviour", ("random", "shipped", "tests")), ("texts", ("texts",))):
                items = _within([each for each in reaching if each.item.split()[0] in kinds], most)
                killer = _killer(farmed, copy, items)
                if killer is not None:
                    return Verdict(path, mutant, outcome, *killer, len(reaching))
        finally:
            (copy / path).write_text(source)
        return Verdict(path, mutant, "survived", reached_by=len(reaching))

    return farmed.each(chosen, judge)


def _within(items: Sequence[Baseline], most: float) -> list[Baseline]:
    """As many of the items, in their order, as fit into so many seconds; the first one whatever it takes."""
    found: list[Baseline] = []
    for item in items:
        if found and sum(each.seconds for each in found) + item.seconds > most:
            break
        found.append(item)
    return found


def _killer(farmed: Farm, copy: Path, items: Sequence[Baseline]) -> tuple[str, float] | None:
    """The item that fails, or does not end, and the seconds until then."""
    if not items:
        return None
    limit = START + 4 * sum(item.seconds for item in items)
    told = farmed.items(copy, [each.item for each in items], limit)
    seconds = sum(each.get("seconds", 0.0) for each in told)
    verdicts = [each for each in told if "passes" in each]
    if len(verdicts) == len(items) and all(each["passes"] for each in verdicts):
        return None
    failed = next((each["item"] for each in verdicts if not each["passes"]), None)
    begun = next((each["begins"] for each in reversed(told) if "begins" in each), "the import of the compiler")
    return failed or f"{begun} (no answer)", seconds
