"""Faults planted in the compiler are single and are Python, and the tests that may tell them are found and believed."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fusec
from fusec.testing.mutation import reach
from fusec.testing.mutation.baseline import UNASKED, Baseline, Known, files, read, write
from fusec.testing.mutation.choose import Sources, ordered, reaching
from fusec.testing.mutation.faults import mutants, sample
from fusec.testing.mutation.judge import TEXTS, Verdict, doubted, judged
from fusec.testing.mutation.report import untold, write_since
from fusec.testing.mutation.report import write as write_report
from fusec.testing.random_specs import text
from fusec.testing.shrink import shrunk

ROOT = Path(fusec.__file__).parents[1]

SOURCE = '''"""What it is."""

SIZE, WIDTH = 4, 120


@cache
def f(a: int = 3, b: bool = True) -> int:
    """A text 5 < 6."""
    if a < b and not a == 2:
        note(a, b)
        a += 1
    for each in range(a - 1):
        continue
    if a > b:
        return InternalError("f", 3)
    raise ValueError(f"{a + 1} is wrong")
'''


def test_every_kind_of_fault_is_planted_once_at_each_place() -> None:
    found = {(each.kind, each.line, each.text) for each in mutants(SOURCE)}
    assert found == {
        ("constant", 3, "5"),
        ("constant", 3, "240"),
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
        ("boolean", 14, "(not (a > b))"),
        ("comparison", 14, "(a >= b)"),
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


STARTED = """import runpy, sys
runpy.run_path({reach!r})["follow_started"]()
sys.path.insert(0, {folder!r})
import module
module.f(True)
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "module.py").write_text("def f(a):\n    if a:\n        return 1\n    return 2\n\n\nSIZE = f(0)\n")
    return tmp_path


def test_the_lines_of_functions_are_noted_each_time_anew(module: Path) -> None:
    # In a process of its own: whatever follows the lines of this one is left alone.
    code = f"""import runpy, sys
lines = runpy.run_path({reach.__file__!r})["Lines"]({str(module)!r})
lines.follow()
sys.path.insert(0, {str(module)!r})
import module
found = [lines.take()]
for call in (True, True, False):
    module.f(call)
    found.append(lines.take())
print(found)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    one, other = {"module.py": {2, 3}}, {"module.py": {2, 4}}
    assert done.stdout == f"{[other, one, one, other]}\n"


def test_lines_of_processes_that_tests_start_are_noted(module: Path) -> None:
    file = module / "lines"
    code = STARTED.format(reach=reach.__file__, folder=str(module))
    environment = {**os.environ, reach.TO: str(file), reach.OF: str(module)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert reach.started(str(file)) == {"module.py": {2, 3, 4}}
    assert reach.started(str(file)) == {}


def test_every_test_of_texts_is_there() -> None:
    found = files(ROOT)
    assert {*UNASKED} <= {*found}
    for place in TEXTS:
        assert any(each.startswith(place) for each in found)
    assert not any(each.startswith(TEXTS) for each in UNASKED)


def known(name: str, seconds: float, *lines: int, path: str = "fusec/a.py") -> Known:
    return Known(name, seconds, {path: sum(1 << line for line in lines)} if lines else {})


def test_a_baseline_is_kept(tmp_path: Path) -> None:
    tests = [known("tests/a.py::one", 0.5, 1, 3), known("tests/b.py::two", 1.5, 3, path="fusec/b.py")]
    kept = Baseline("digest", tests, {"tests/a.py": 1.0}, ["tests/c.py::three"], {"tests/a.py": "text"})
    write(kept, tmp_path / "kept")
    assert read(tmp_path / "kept") == kept


def lines_for(line: int, **others: str) -> list[dict[str, list[int]]]:
    """The sets of lines that are asked for the first mutant on a line, as numbers."""
    sources = Sources({"fusec/a.py": SOURCE, **{f"fusec/{name}.py": text for name, text in others.items()}})
    mutant = next(each for each in mutants(SOURCE) if each.line == line)
    return [
        {path: [bit for bit in range(40) if mask >> bit & 1] for path, mask in found.items()}
        for found in sources.reached("fusec/a.py", mutant)
    ]


def test_a_line_of_a_function_is_told_by_who_runs_it() -> None:
    own, statement, names, _ = lines_for(9)
    assert own == statement == {"fusec/a.py": [9]}
    assert names == {}


def test_what_runs_at_import_is_told_by_who_uses_what_it_makes() -> None:
    *_, names, _ = lines_for(3, b="from a import SIZE\n\ndef g():\n    return SIZE\n", c="def h():\n    return a.SIZE")
    assert names == {"fusec/b.py": [4], "fusec/c.py": [2], "fusec/a.py": [3]}
    *_, names, _ = lines_for(7, b="y = f(1)\n")
    assert names == {"fusec/b.py": [1]}


def test_a_test_that_runs_the_line_goes_before_one_that_runs_the_statement() -> None:
    source = "def f(a):\n    return g(\n        a + 1,\n        b,\n    )\n"
    sources = Sources({"fusec/a.py": source})
    mutant = next(each for each in mutants(source) if each.kind == "arithmetic")
    tests = [known("one", 1, 3), known("two", 1, 4), known("three", 1, 1)]
    assert [each.name for each in reaching(Baseline("", tests), sources, "fusec/a.py", mutant)] == ["one"]
    assert [each.name for each in reaching(Baseline("", tests[1:]), sources, "fusec/a.py", mutant)] == ["two"]


def test_tests_that_run_different_lines_of_the_module_go_first() -> None:
    tests = [known(f"tests/a.py::{number}", 1, 1, 2) for number in range(50)]
    tests += [known("tests/a.py::odd", 1, 1, 3), known("tests/a.py::other", 1, 1, path="fusec/b.py")]
    found = [each.name for each in ordered(Baseline("", tests), tests, "fusec/a.py", 6.0)]
    assert {"tests/a.py::odd", "tests/a.py::other"} <= {*found[:4]}
    assert len(found) == 6


def test_tests_of_every_file_run_and_no_longer_than_asked() -> None:
    tests = [known(f"tests/{file}.py::{number}", number, 1) for file in "abc" for number in (4, 3, 2, 1)]
    loading = {"tests/a.py": 0.5, "tests/b.py": 0.0, "tests/c.py": 90.0}
    found = [each.name for each in ordered(Baseline("", tests, loading), tests, "fusec/a.py", 9.5)]
    assert len(found) == len({*found})
    assert {"tests/a.py::1", "tests/b.py::1", "tests/b.py::2"} <= {*found[:4]}
    assert not any(each.startswith("tests/c.py") for each in found)
    long = [known("tests/a.py::1", 100, 1)]
    assert ordered(Baseline("", long), long, "fusec/a.py", 10) == long


class Told:
    """A farm of one copy, in which the tests `failing` fail as often as they are given."""

    def __init__(self, folder: Path, failing: dict[str, int], ends: int = 0) -> None:
        self.folder = folder
        self.failing = failing
        self.ends = ends

    def each(self, jobs, do):  # type: ignore[no-untyped-def]
        return [do(self, job) for job in jobs]

    @contextmanager
    def planted(self, path: str, source: str) -> Iterator[None]:
        assert source != (self.folder / path).read_text()
        yield

    def run(self, tests: list[str], allowed: Any) -> Iterator[dict[str, Any]]:
        if self.ends:
            yield {"ended": self.ends}
            return
        yield {"loaded": {}}
        for each in tests:
            yield {"begins": each}
            self.failing[each] = self.failing.get(each, 0) - 1
            if self.failing[each] >= 0:
                yield {"test": each, "held": False}
                break
            yield {"test": each, "held": True}
        yield {"ended": 0}


@pytest.mark.parametrize(
    ("failing", "outcome", "by"),
    [
        ({"tests/b.py::1": 2}, "behaviour", "tests/b.py::1"),
        ({"tests/structure/a.py::1": 2}, "texts", "tests/structure/a.py::1"),
        # It fails once, as a test does that fails without the fault, too.
        ({"tests/b.py::1": 1}, "survived", ""),
        ({"tests/b.py::1": 1, "tests/b.py::2": 2}, "behaviour", "tests/b.py::2"),
        ({"tests/c.py::1": 2}, "survived", ""),
        ({}, "survived", ""),
    ],
)
def test_who_tells_a_mutant(failing: dict[str, int], outcome: str, by: str, tmp_path: Path) -> None:
    verdict = judge(tmp_path, Told(tmp_path, failing))
    assert (verdict.outcome, verdict.test) == (outcome, by)


@pytest.mark.parametrize("end", [1, 4, -9])
def test_a_compiler_that_cannot_be_loaded_is_told(end: int, tmp_path: Path) -> None:
    assert judge(tmp_path, Told(tmp_path, {}, end)).outcome == "behaviour"


@pytest.mark.parametrize(("failing", "outcome"), [("tests/b.py::2", "behaviour"), ("tests/c.py::1", "texts")])
def test_what_behaviour_did_not_tell_is_looked_at_longer(failing: str, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "fusec").mkdir()
    (tmp_path / "fusec" / "a.py").write_text(SOURCE)
    tests = [known(f"tests/{name}", 1, 9) for name in ("b.py::1", "b.py::2", "b.py::3", "structure/a.py::1")]
    (mutant, *_) = (each for each in mutants(SOURCE) if each.line == 9)
    told = Told(tmp_path, {failing: 2, "tests/structure/a.py::1": 9})
    chosen, baseline = [("fusec/a.py", mutant)], Baseline("", tests)
    (before,) = judged(told, tmp_path, chosen, baseline, 1.0)  # type: ignore[arg-type]
    assert before.outcome == "texts"
    ((found, after),) = doubted(told, tmp_path, [before], baseline, 2.0, 1.0)  # type: ignore[arg-type]
    assert found is before
    assert (after.outcome, after.ran > before.ran) == (outcome, True)


def judge(folder: Path, farmed: Told) -> Any:
    """The verdict on a mutant that three tests reach, one of them a test of texts."""
    (folder / "fusec").mkdir()
    (folder / "fusec" / "a.py").write_text(SOURCE)
    tests = [known(f"tests/{name}::{number}", number, 9) for name in ("b.py", "structure/a.py") for number in (1, 2)]
    tests.append(known("tests/c.py::1", 1.0, 2))
    (mutant, *_) = (each for each in mutants(SOURCE) if each.line == 9)
    (verdict,) = judged(farmed, folder, [("fusec/a.py", mutant)], Baseline("", tests), 100)  # type: ignore[arg-type]
    return verdict


def test_a_report_is_looked_at_again(tmp_path: Path) -> None:
    """Mutants are found where their text stands now; those that behaviour told, or whose text is gone, are left out."""
    first, second, third, *_ = mutants(SOURCE)
    verdicts = [
        Verdict("a.py", first, "survived"),
        Verdict("a.py", second, "behaviour", "t"),
        Verdict("b.py", third, "texts"),
    ]
    report, later = tmp_path / "report.json", tmp_path / "later.json"
    write_report(report, tmp_path, "command", 1.0, Baseline(""), verdicts)
    told = json.loads(report.read_text())
    assert (told["outcomes"], told["killed by behaviour"]) == ({"survived": 1, "behaviour": 1, "texts": 1}, 0.333)
    sources = {"a.py": "\n\n" + SOURCE, "b.py": ""}
    ((path, found),) = untold(report, sources)
    assert (path, found.line, found.text) == ("a.py", first.line + 2, first.text)
    write_since(later, report, tmp_path, [Verdict(path, found, "behaviour", "u")])
    since = json.loads(later.read_text())
    marks = [each.pop("since", None) for each in since["mutants"]]
    assert [mark and (mark["outcome"], mark["by"]) for mark in marks] == [("behaviour", "u"), None, None]
    assert since == told


def test_a_spec_is_made_as_small_as_its_fault_allows() -> None:
    spec = next(text(number) for number in range(200) if "softmax(" in text(number) and "dot(" in text(number))
    small = shrunk(spec, lambda candidate: "softmax(" in candidate and "dot(" in candidate, 400)
    assert len(small) < len(spec) / 2
    assert os.linesep.join(small.splitlines()).count("=") < spec.count("=")
