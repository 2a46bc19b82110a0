"""Faults planted in the compiler are single and are Python, and what small specs are made of fails still shows."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest

import fusec
from fusec.testing.mutation.faults import mutants, sample
from fusec.testing.mutation.items import items, passes
from fusec.testing.mutation.run import Baseline, judged
from fusec.testing.mutation.worker import traced
from fusec.testing.random_specs import text
from fusec.testing.shrink import shrunk

ROOT = Path(fusec.__file__).parents[1]

SOURCE = '''"""What it is."""

SIZE = 4


@cache
def f(a: int = 3, b: bool = True) -> int:
    """A text 5 < 6."""
    if a < b and not a == 2:
        note(a, b)
        a += 1
    for each in range(a - 1):
        continue
    raise ValueError(f"{a + 1} is wrong")
'''


def test_every_kind_of_fault_is_planted_once_at_each_place() -> None:
    found = {(each.kind, each.line, each.text) for each in mutants(SOURCE)}
    assert found == {
        ("constant", 3, "5"),
        ("constant", 7, "4"),
        ("constant", 7, "False"),
        ("boolean", 9, "(not (a < b and (not a == 2)))"),
        ("boolean", 9, "((a < b) or (not a == 2))"),
        ("comparison", 9, "(a <= b)"),
        ("boolean", 9, "(a == 2)"),
        ("comparison", 9, "(a != 2)"),
        ("constant", 9, "3"),
        ("removed statement", 10, "pass"),
        ("swapped arguments", 10, "note(b, a)"),
        ("removed statement", 11, "pass"),
        ("constant", 11, "2"),
        ("arithmetic", 12, "(a + 1)"),
        ("constant", 12, "2"),
        ("removed statement", 13, "pass"),
    }


def test_a_mutant_differs_in_one_place() -> None:
    for mutant in mutants(SOURCE):
        blocks = difflib.SequenceMatcher(None, SOURCE, mutant.applied(SOURCE), autojunk=False).get_matching_blocks()
        assert mutant.applied(SOURCE)[: mutant.start] == SOURCE[: mutant.start]
        assert sum(block.size for block in blocks) >= len(SOURCE) - len(mutant.old)


def test_a_sample_is_of_lines_and_always_the_same() -> None:
    sources = {"a.py": SOURCE, "b.py": SOURCE}
    found = sample(sources, 9, 1)
    assert found == sample(dict(reversed(sources.items())), 9, 1)
    assert found != sample(sources, 9, 2)
    assert len({(path, mutant.line) for path, mutant in found}) == 9


def test_the_lines_that_run_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines: dict[str, set[int]] = {}
    with traced(lines):
        assert passes("random 0")
    reached = {path: len(found) for path, found in lines.items() if found}
    assert {"fusec/passes/pipeline.py", "fusec/codegen/emit.py", "fusec/runtime/op.py"} <= reached.keys()
    assert all(path.startswith(("fusec/passes/", "fusec/codegen/", "fusec/runtime/")) for path in reached)


def test_items_are_there() -> None:
    found = list(items(ROOT))
    assert len(found) == len(set(found))
    named = [item.split()[1] for item in found if item.startswith(("tests", "texts"))]
    assert all(Path(ROOT, name).is_file() for name in named)
    assert {item.split()[0] for item in found} == {"random", "shipped", "tests", "texts"}


class Told:
    """A farm of one copy, in whose processes the items of `failing` fail."""

    def __init__(self, copy: Path, failing: set[str]) -> None:
        self.copy = copy
        self.failing = failing

    def each(self, jobs, do):  # type: ignore[no-untyped-def]
        return [do(self.copy, job) for job in jobs]

    def items(self, copy, chosen, limit):  # type: ignore[no-untyped-def]
        assert copy == self.copy
        end = next((place for place, item in enumerate(chosen) if item in self.failing), len(chosen))
        return [{"item": each, "passes": each not in self.failing, "seconds": 1.0} for each in chosen[: end + 1]]


@pytest.mark.parametrize(
    ("failing", "outcome"),
    [({"random 1"}, "behaviour"), ({"texts a"}, "texts"), ({"random 2"}, "survived"), (set(), "survived")],
)
def test_who_tells_a_mutant(failing: set[str], outcome: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    line = {"a.py": frozenset({9})}
    known = [Baseline("texts a", 0.5, line), Baseline("random 1", 1.0, line), Baseline("random 2", 1.0)]
    farmed = Told(tmp_path, failing)
    (mutant, *_) = (each for each in mutants(SOURCE) if each.line == 9)
    (verdict,) = judged(farmed, tmp_path, [("a.py", mutant)], known, 100)  # type: ignore[arg-type]
    assert verdict is not None
    assert verdict.outcome == outcome
    assert (tmp_path / "a.py").read_text() == SOURCE


def test_a_spec_is_made_as_small_as_its_fault_allows() -> None:
    spec = next(text(number) for number in range(200) if "softmax(" in text(number) and "dot(" in text(number))
    small = shrunk(spec, lambda candidate: "softmax(" in candidate and "dot(" in candidate, 400)
    assert len(small) < len(spec) / 2
    assert os.linesep.join(small.splitlines()).count("=") < spec.count("=")
