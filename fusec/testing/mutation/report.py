"""The report of a run as JSON: what became of every mutant, and what is told since that behaviour did not tell then."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fusec.testing.mutation.baseline import Baseline
from fusec.testing.mutation.faults import Mutant, mutants
from fusec.testing.mutation.judge import Verdict


def write(path: Path, root: Path, command: str, seconds: float, known: Baseline, verdicts: Sequence[Verdict]) -> None:
    """The report of what is known so far."""
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    report = {
        "command": command,
        "commit": _commit(root),
        "seconds": round(seconds),
        "outcomes": dict(outcomes),
        "killed by behaviour": round(outcomes["behaviour"] / len(verdicts), 3),
        "tests": len(known.tests),
        "tests left out": known.left_out,
        "mutants": [_told(verdict) for verdict in sorted(verdicts, key=lambda each: (each.path, each.mutant.line))],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")


def _told(verdict: Verdict) -> dict[str, Any]:
    mutant = verdict.mutant
    return {
        "outcome": verdict.outcome,
        "place": f"{verdict.path}:{mutant.line}",
        "kind": mutant.kind,
        "old": mutant.old,
        "new": mutant.text,
        "by": verdict.test,
        "reached by": verdict.reached,
        "ran": verdict.ran,
    }


def untold(report: Path, sources: Mapping[str, str]) -> Iterator[tuple[str, Mutant]]:
    """The mutants of a report that behaviour did not tell, as they stand in the modules `sources` today.

    One whose place reads otherwise by now is left out.
    """
    for told in json.loads(report.read_text())["mutants"]:
        if told["outcome"] != "behaviour":
            path, _, line = told["place"].rpartition(":")
            alike = [
                each
                for each in mutants(sources.get(path, ""))
                if (each.kind, each.old, each.text) == (told["kind"], told["old"], told["new"])
            ]
            if alike:
                yield path, min(alike, key=lambda each: abs(each.line - int(line)))


def write_since(path: Path, before: Path, root: Path, verdicts: Sequence[Verdict]) -> None:
    """An earlier report, with what became of its mutants since: its own figures stay as they are."""
    report = json.loads(before.read_text())
    commit = _commit(root)
    now = {
        (verdict.path, verdict.mutant.kind, verdict.mutant.old, verdict.mutant.text): verdict for verdict in verdicts
    }
    for told in report["mutants"]:
        key = (told["place"].rpartition(":")[0], told["kind"], told["old"], told["new"])
        if told["outcome"] != "behaviour" and key in now:
            told["since"] = {"commit": commit, "outcome": now[key].outcome, "by": now[key].test}
    path.write_text(json.dumps(report, indent=1) + "\n")


def _commit(root: Path) -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()
