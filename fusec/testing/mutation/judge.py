"""What becomes of a mutant: the tests that may tell it run until one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fusec.testing.mutation.baseline import Baseline, Known
from fusec.testing.mutation.choose import Sources, ordered, reaching
from fusec.testing.mutation.farm import Copy, Farm
from fusec.testing.mutation.faults import Mutant

MUTATED = ("fusec/passes", "fusec/codegen", "fusec/runtime", "fusec/interpreter")
"""The packages in which faults are planted."""

TEXTS = (
    # What was written down of the steps, of messages and of generated files, to be read by people.
    "tests/passes/test_pass_cases.py",
    "tests/cases/test_",
    "tests/structure/",
    "tests/examples/",
)
"""Tests that hold what is written against what was committed; all others say what is computed, refused or told."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant, and by which test.

    "behaviour", "texts", "survived", "not reached", or "no verdict" where loading fusec told nothing at all.
    Of the `reached` tests that may tell it `ran` did.
    """

    path: str
    mutant: Mutant
    outcome: str
    test: str = ""
    reached: int = 0
    ran: int = 0


def judged(
    farmed: Farm,
    root: Path,
    chosen: Sequence[tuple[str, Mutant]],
    known: Baseline,
    most: float,
    over: Callable[[], bool] = lambda: False,
    lived: float = 0.0,
) -> Iterator[Verdict]:
    """The verdicts, as they are found; none on those that had not begun when it was `over`.

    Each mutant has to live through `most` seconds of tests of behaviour, and of texts: of others than those that it has
    `lived` through before, for so many seconds.
    """
    sources = Sources.of(root)

    def judge(copy: Copy, job: tuple[str, Mutant]) -> Verdict | None:
        path, mutant = job
        if over():
            return None
        found = reaching(known, sources, path, mutant)
        if not found:
            return Verdict(path, mutant, "not reached")
        ran = 0
        with copy.planted(path, mutant.applied((root / path).read_text(encoding="utf-8"))):
            for outcome in ("behaviour", "texts"):
                tests = [each for each in found if each.file.startswith(TEXTS) == (outcome == "texts")]
                before = {each.name for each in ordered(known, tests, path, lived)} if lived else set()
                tests = [each for each in ordered(known, tests, path, lived + most) if each.name not in before]
                killer = _killer(copy, known, tests)
                if killer:
                    return Verdict(path, mutant, outcome, killer, len(found), ran + len(tests))
                ran += len(tests)
        return Verdict(path, mutant, "survived", reached=len(found), ran=ran)

    for verdict in farmed.each(chosen, judge):
        if verdict is not None:
            yield verdict


def doubted(
    farmed: Farm,
    root: Path,
    verdicts: Sequence[Verdict],
    known: Baseline,
    most: float,
    lived: float,
    over: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Verdict, Verdict]]:
    """Those of the verdicts that behaviour did not tell, and what it is if tests run for `most` seconds more."""
    doubtful = {(each.path, each.mutant): each for each in verdicts if each.outcome in ("texts", "survived")}
    for verdict in judged(farmed, root, [*doubtful], known, most, over, lived):
        before = doubtful[verdict.path, verdict.mutant]
        ran = before.ran + verdict.ran
        yield before, replace(verdict if verdict.outcome == "behaviour" else before, ran=ran)


def _killer(copy: Copy, known: Baseline, tests: Sequence[Known]) -> str:
    """The first test that fails, and fails again; or that hangs, or ends the process."""
    left = [each.name for each in tests]
    while left:
        failed, end = _run(copy, known, left)
        if end == _NO_SUCH_TEST and not failed:
            # What a file collects has changed, which is no behaviour.
            files = [[name for name in left if name.startswith(f"{file}::")] for file in {each.file for each in tests}]
            left = [name for names in files if names and _run(copy, known, names)[1] != _NO_SUCH_TEST for name in names]
            continue
        if not failed or failed not in left:
            return failed
        if _run(copy, known, [failed])[0]:
            return failed
        left = left[left.index(failed) + 1 :]
    return ""


_NO_SUCH_TEST = 4
"""How pytest ends where a test that is named is not there."""


def _run(copy: Copy, known: Baseline, tests: Sequence[str]) -> tuple[str, int]:
    """Run tests until one fails: which one, or what went wrong before any could; and how the process ended."""
    failed, begun, end, loaded = "", "", 0, False
    for told in copy.run(tests, known.allowed):
        loaded = loaded or "loaded" in told
        begun = told.get("begins") or told.get("collects") or begun
        end = told.get("ended", end)
        if told.get("held") is False:
            failed = failed or told.get("test") or told["module"]
        elif "hangs" in told:
            failed = failed or f"{begun or 'loading fusec'} (hangs)"
    if not failed and (not loaded or end not in (0, 1, 2, _NO_SUCH_TEST, 5)):
        failed = f"{begun or 'loading fusec'} (ends the process)"
    return failed, end
