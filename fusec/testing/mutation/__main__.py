"""Single-line faults of the compiler, and which tests see them: `python -m fusec.testing.mutation --sample 200`.

To be run in the root of a checkout. Lines of the passes, the code generator and the runtime are sampled by `--seed`;
each gets one fault, in a copy of the repository. The specs and tests that reach the line run, quick ones first, until
one fails. The report says of each mutant whether behaviour told it, or committed texts alone, or nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusec.testing.mutation.faults import sample
from fusec.testing.mutation.items import items
from fusec.testing.mutation.run import MUTATED, Baseline, Farm, Verdict, baseline, farm, judged


def main() -> int:
    """The command; exits with 1 when less than the wanted share was told by behaviour."""
    options = _options()
    root, started = Path.cwd(), time.monotonic()
    places = [Path(root, each) for each in options.only or MUTATED]
    paths = [path for place in places for path in ([place] if place.is_file() else place.rglob("*.py"))]
    sources = {str(path.relative_to(root)): path.read_text() for path in paths}
    chosen = sample(sources, options.sample, options.seed)
    with farm(root, options.jobs) as farmed:
        known, left_out = _measured(farmed, root, options)
        print(f"{len(known)} items in {sum(each.seconds for each in known):.0f} s; left out: {left_out}", flush=True)
        deadline = started + 60 * options.minutes if options.minutes else float("inf")
        verdicts = []
        for verdict in judged(farmed, root, chosen, known, options.most, lambda: time.monotonic() > deadline):
            if verdict is not None:
                verdicts.append(verdict)
                print(_line(verdict), flush=True)
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    share = outcomes["behaviour"] / max(len(verdicts), 1)
    result = {
        "command": f"python -m fusec.testing.mutation {' '.join(sys.argv[1:])}",
        "commit": _commit(root),
        "seconds": round(time.monotonic() - started),
        "outcomes": dict(outcomes),
        "killed by behaviour": round(share, 3),
        "items left out": left_out,
        "mutants": [_told(verdict) for verdict in verdicts],
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{len(verdicts)} mutants: {dict(outcomes)}, {share:.1%} killed by behaviour, {result['seconds']} s")
    return 0 if share >= options.least else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fusec.testing.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=200, help="how many lines (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default: %(default)s)")
    parser.add_argument("--only", nargs="*", metavar="PATH", help="the modules or folders to plant faults in")
    parser.add_argument("--items", default="", metavar="PATTERN", help="the items to use (default: all of them)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--minutes", type=float, help="begin no further mutants after so long")
    parser.add_argument("--baseline", type=Path, help="where the items without a fault are kept, for further runs")
    parser.add_argument("--most", type=float, default=150, help="seconds of items a mutant has to live through")
    parser.add_argument("--limit", type=float, default=240, help="seconds after which an item is left out")
    parser.add_argument("--least", type=float, default=0.9, help="the share to be killed by behaviour")
    parser.add_argument("--out", type=Path, help="where to write the report, as JSON")
    return parser.parse_args()


def _measured(farmed: Farm, root: Path, options: argparse.Namespace) -> tuple[list[Baseline], list[str]]:
    """The items that hold without a fault, from the file of an earlier run if there is one, and those that do not."""
    if options.baseline and options.baseline.exists():
        kept = json.loads(options.baseline.read_text())
        known = [
            Baseline(each["item"], each["seconds"], {path: frozenset(found) for path, found in each["lines"].items()})
            for each in kept["known"]
        ]
        return known, kept["left out"]
    known, left_out = [], []
    for each in baseline(farmed, [item for item in items(root) if re.search(options.items, item)], options.limit):
        print(f"  {each if isinstance(each, str) else f'{each.item}: {each.seconds} s'}", flush=True)
        if isinstance(each, str):
            left_out.append(each)
        else:
            known.append(each)
    if options.baseline:
        told = [
            {**asdict(each), "lines": {path: sorted(found) for path, found in each.lines.items()}} for each in known
        ]
        options.baseline.write_text(json.dumps({"known": told, "left out": left_out}) + "\n")
    return known, left_out


def _line(verdict: Verdict) -> str:
    mutant = verdict.mutant
    place = f"{verdict.path}:{mutant.line}"
    return f"{verdict.outcome:11} {place} {mutant.kind}: {_short(mutant.old)} -> {_short(mutant.text)}  {verdict.item}"


def _short(text: str) -> str:
    return " ".join(text.split())[:80]


def _told(verdict: Verdict) -> dict[str, Any]:
    mutant = verdict.mutant
    return {
        "outcome": verdict.outcome,
        "place": f"{verdict.path}:{mutant.line}",
        "kind": mutant.kind,
        "old": mutant.old,
        "new": mutant.text,
        "by": verdict.item,
        "reached by": verdict.reached_by,
    }


def _commit(root: Path) -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
