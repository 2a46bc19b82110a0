"""The tests without a fault: which of them hold, in how many seconds, and which lines of fusec each reaches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from fusec.testing.mutation.farm import Copy, Farm

Masks: TypeAlias = Mapping[str, int]
"""Lines by path, as the bits of a number."""

UNASKED = ("tests/ops/shipped_specs.py", "tests/cases/refused_specs.py")
"""Tests that are made for this alone: pytest does not find them by itself."""

_LEFT_OUT = (
    # They look for faults that are planted, and take minutes.
    "tests/testing/test_mutation.py",
    "tests/ops/test_planted_faults.py",
    # They look at files, not at what runs.
    "tests/structure/test_files.py",
    "tests/structure/test_layers.py",
    "tests/lang/test_document.py",
    "tests/examples/test_readme.py",
)


@dataclass(frozen=True, slots=True)
class Known:
    """A test that holds, as pytest names it: the seconds it takes alone, and the lines that it reaches."""

    name: str
    seconds: float
    lines: Masks

    @property
    def file(self) -> str:
        return self.name.partition("::")[0]


@dataclass(slots=True)
class Baseline:
    """The tests of a repository; `modules` are the seconds in which a file of tests is loaded, with what they share."""

    digest: str
    tests: list[Known] = field(default_factory=list)
    modules: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    _by_name: dict[str, Known] = field(default_factory=dict)

    def allowed(self, name: str) -> float:
        """The seconds after which a test, or a file, is taken to hang."""
        if not self._by_name:
            self._by_name = {each.name: each for each in self.tests}
        known = self._by_name.get(name)
        file = self.modules.get(name.partition("::")[0], 10.0)
        return 20.0 + 8.0 * (file + (known.seconds if known else 0.0))

    def add(self, file: str, digest: str, found: _Found) -> None:
        """What became of a file of tests, or of a part of it."""
        self.tests += found.tests
        self.modules[file] = max(found.seconds, self.modules.get(file, 0.0))
        self.left_out += found.left_out
        self.files[file] = digest
        self._by_name = {}


@dataclass(slots=True)
class _Found:
    """What is found of a file of tests."""

    file: str
    seconds: float = 0.0
    tests: list[Known] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def files(root: Path) -> list[str]:
    """Every file of tests."""
    found = [str(path.relative_to(root)) for path in sorted((root / "tests").rglob("test_*.py"))]
    return [each for each in (*found, *(each for each in UNASKED if (root / each).exists())) if each not in _LEFT_OUT]


def measure(
    farmed: Farm, root: Path, known: Baseline, chosen: Sequence[str], limit: float, over: Callable[[], bool]
) -> Iterator[str]:
    """Add every chosen file of tests to what is `known`, long ones in parts, and say so of each.

    A test that takes longer than `limit` is left out, and so is what had not begun when it was `over`.
    """
    jobs = [(file, part, count) for file in chosen for count in [_PARTS.get(file, 1)] for part in range(count)]
    jobs.sort(key=lambda job: (-job[2], -known.modules.get(job[0], 0.0)))

    def run(copy: Copy, job: tuple[str, int, int]) -> _Found:
        file, part, count = job
        if over():
            return _Found(file, left_out=[f"{file} (no time)"])
        return _run(copy, file, (part, count), limit)

    for found in farmed.each(jobs, run):
        known.add(found.file, digest_of([root / found.file]), found)
        seconds = found.seconds + sum(each.seconds for each in found.tests)
        yield f"{found.file}: {len(found.tests)} tests, {seconds:.0f} s"


def _run(copy: Copy, file: str, part: tuple[int, int], limit: float) -> _Found:
    """The tests of a file, or a part of them; those behind one that hangs in a process of their own."""
    found, imported, loading = _Found(file), {}, 0.0
    wanted: list[str] | None = None
    while wanted is None or wanted:
        names, begun, whole = wanted or [file], "", part if wanted is None else (0, 1)
        for told in copy.run(names, lambda _: limit, trace=True, part=whole):
            begun = told.get("begins", begun)
            if "collected" in told:
                wanted = told["collected"]
            elif "module" in told and told["module"] == file:
                loading = told["seconds"]
                found.seconds = max(found.seconds, loading)
                imported = _masks(told["lines"])
            elif "test" in told and told["held"]:
                lines = _joined(_masks(told["lines"]), imported)
                found.tests.append(Known(told["test"], told["seconds"], lines))
                found.seconds = max(found.seconds, loading + told["shared"])
            elif "test" in told and told["held"] is False:
                found.left_out.append(told["test"])
            elif "hangs" in told:
                found.left_out.append(f"{begun or file} (too long)")
        done = wanted.index(begun) + 1 if wanted and begun in wanted else len(wanted or ())
        wanted = (wanted or [])[done:]
    return found


def _masks(lines: dict[str, str]) -> dict[str, int]:
    return {f"fusec/{path}": int(mask, 16) for path, mask in lines.items()}


def _joined(masks: dict[str, int], further: dict[str, int]) -> dict[str, int]:
    return {path: masks.get(path, 0) | further.get(path, 0) for path in {**masks, **further}}


_PARTS = {
    "tests/passes/test_narrowing.py": 16,
    "tests/ops/test_stored_modules.py": 16,
    "tests/ops/test_handwritten_specs.py": 15,
    "tests/ops/test_row_vectors.py": 15,
    "tests/lang/test_std_quantisation.py": 15,
    "tests/ops/test_properties.py": 10,
    "tests/ops/test_scatters.py": 8,
    "tests/ops/test_tma.py": 8,
    "tests/ops/test_wide_offsets.py": 8,
    "tests/ops/shipped_specs.py": 7,
    "tests/ops/test_spills.py": 7,
    "tests/driver/test_gate.py": 6,
    "tests/passes/test_meaning_is_kept.py": 6,
    "tests/passes/test_sums_stay_sums.py": 6,
    "tests/ops/test_prepared.py": 5,
    "tests/ops/test_compiled_random_specs.py": 5,
    "tests/testing/test_random_specs.py": 5,
    "tests/ops/test_narrow_specs.py": 5,
    "tests/ops/test_counted_bytes.py": 5,
    "tests/ops/test_explained_calls.py": 5,
    "tests/ops/test_few_rows.py": 4,
    "tests/ops/test_module_classes.py": 3,
    "tests/lang/test_microscaling.py": 3,
    "tests/runtime/test_operators.py": 3,
    "tests/driver/test_variants.py": 2,
    "tests/cli/test_explain_call.py": 2,
    "tests/cli/test_commands.py": 2,
    "tests/ops/test_long_sums.py": 2,
    "tests/ops/test_names.py": 2,
    "tests/ops/test_eight_bits.py": 2,
}
"""How many processes share a file of tests that takes 40 s or longer, as of 2026-11-30: 20 s each."""


def digest_of(paths: Sequence[Path]) -> str:
    """A hash of the contents of files."""
    return sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def write(known: Baseline, path: Path) -> None:
    """Keep a baseline: a set of lines of a file that several tests reach is written once."""
    paths: dict[str, int] = {}
    masks: dict[int, int] = {}

    def number(table: dict[Any, int], key: Any) -> int:
        return table.setdefault(key, len(table))

    tests = [
        [
            each.name,
            each.seconds,
            [at for path, mask in each.lines.items() for at in (number(paths, path), number(masks, mask))],
        ]
        for each in known.tests
    ]
    kept = {
        "digest": known.digest,
        "paths": list(paths),
        "masks": [f"{mask:x}" for mask in masks],
        "tests": tests,
        "modules": known.modules,
        "left out": known.left_out,
        "files": known.files,
    }
    path.write_text(json.dumps(kept, separators=(",", ":")) + "\n")


def read(path: Path) -> Baseline:
    """The baseline that was written to `path`."""
    kept = json.loads(path.read_text())
    paths, masks = kept["paths"], [int(mask, 16) for mask in kept["masks"]]
    tests = [
        Known(name, seconds, {paths[p]: masks[m] for p, m in zip(at[::2], at[1::2], strict=True)})
        for name, seconds, at in kept["tests"]
    ]
    return Baseline(kept["digest"], tests, kept["modules"], kept["left out"], kept["files"])
