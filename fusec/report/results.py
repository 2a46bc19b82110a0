"""What a benchmark measured, as data: ops at sizes, who took how long, on what, and how far results were off.

A run is a JSON document of these fields, so a report can be made again from it on a machine without a GPU.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMAT = "fusec bench 1"
"""The first field of a run, which says how the others are to be read."""

JSON = "report.json"
"""The file of a report that holds its figures."""

OWN = "fusec"
COPY = "copy"
"""The op itself among the candidates, and a copy of as many bytes as the op moves at least."""

AROUND = "cuBLAS and what is around it"
"""The library's product, and one call after another for all that an op does beside it."""


class FormatError(ValueError):
    """A file is no run of `fusec bench`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One op at one size. Times are microseconds, by who took them; `errors` are relative to the result in f64."""

    op: str
    size: str
    rows: int
    """Tokens, or whatever else is many where there is much to do."""
    bytes: int
    """The least that the op can move: what it is given read once, its results written once."""
    device: Mapping[str, float]
    flops: int = 0
    """Operations of the products in it."""
    bits: int = 16
    """Of the operands of its products."""
    host: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    rounds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The raw times whose medians `device` holds."""

    @property
    def peers(self) -> dict[str, float]:
        """Who else did the work, the fastest first."""
        others = {who: us for who, us in self.device.items() if who not in (OWN, COPY)}
        return dict(sorted(others.items(), key=lambda each: each[1]))

    def times(self, who: str) -> float:
        """How many times as long as the op a peer takes."""
        return self.device[who] / self.device[OWN]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a whole model: milliseconds by who ran it, called from Python and as a CUDA graph."""

    model: str
    step: str
    wall: Mapping[str, float]
    graph: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one command measured. `about` has the device, the versions and the command."""

    about: Mapping[str, str]
    cases: tuple[Measured, ...] = ()
    copy_rate: float = 0.0
    """Bytes a second of a large copy, reads and writes counted."""
    ceilings: Mapping[str, float] = field(default_factory=dict)
    """10^12 operations a second of the library's largest products, by the type of their operands."""
    steps: tuple[Step, ...] = ()

    @property
    def made_with(self) -> str:
        """The device and the versions, in a line."""
        words = (f"{name} {self.about[name]}" for name in ("torch", "triton", "fusec") if name in self.about)
        return "  ·  ".join((self.about.get("device", "?"), *words))

    def share(self, case: Measured, who: str) -> float:
        """The rate at which a candidate moves the least bytes, as a part of a copy's, of as many bytes where timed."""
        if COPY in case.device:
            return case.device[COPY] / case.device[who]
        return case.bytes / (case.device[who] * 1e-6) / self.copy_rate

    def of(self, ops: Iterable[str]) -> tuple[Measured, ...]:
        """The cases of some ops that the op itself could run."""
        wanted = set(ops)
        return tuple(case for case in self.cases if case.op in wanted and OWN in case.device)

    @property
    def products(self) -> tuple[Measured, ...]:
        """The cases that multiply matrices."""
        return tuple(case for case in self.cases if case.flops and OWN in case.device)

    @property
    def row_ops(self) -> tuple[Measured, ...]:
        """The cases that only move data."""
        return tuple(case for case in self.cases if not case.flops and OWN in case.device)


def to_json(run: Run) -> str:
    """A run as a document."""
    return json.dumps({"format": FORMAT, **asdict(run)}, indent=1)


def from_json(text: str, name: str) -> Run:
    """The run of a document; `name` says whose text it is. Raises `FormatError` for any other text."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{name} is no JSON: {error}") from None
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise FormatError(f"{name} is no result of `fusec bench --report` ({FORMAT!r} is missing)")
    try:
        return _run(given)
    except (KeyError, TypeError) as error:
        raise FormatError(f"{name} is no whole result of `fusec bench --report`: {error}") from None


def read(path: Path) -> Run:
    """The run that a file holds. Raises `FormatError`, and `OSError` as reading does."""
    return from_json(path.read_text(encoding="utf-8"), str(path))


def _run(given: Mapping[str, Any]) -> Run:
    return Run(
        about=given["about"],
        cases=tuple(Measured(**{**case, "rounds": _tuples(case.get("rounds", {}))}) for case in given["cases"]),
        copy_rate=given["copy_rate"],
        ceilings=given["ceilings"],
        steps=tuple(Step(**step) for step in given["steps"]),
    )


def _tuples(rounds: Mapping[str, list[float]]) -> dict[str, tuple[float, ...]]:
    return {who: tuple(times) for who, times in rounds.items()}
