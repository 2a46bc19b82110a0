"""Single-line faults of the compiler, and which tests see them: `python -m fusec.testing.mutation --sample 200`.

To be run in the root of a checkout. Lines of the passes, the code generator and the runtime are sampled by `--seed`;
each gets one fault, in a copy of the repository. Of the tests those run that reach the line, a few of every file,
until one fails; then more of them for what behaviour did not tell. The report says of each mutant whether behaviour
told it, or committed texts alone, or nothing.

Behaviour is what a test sees of a run: results and how far they are from exact ones, what is refused and where,
launches with their plans, tiles, warps and options, the memory that they touch and the bytes that they move, the time
that the model predicts for that, what is kept between calls, and whether `explain`, docstrings and messages are true of
all this. What only differs from a committed text (`judge.TEXTS`) is not: neither a step written down, nor a message,
nor the text of a generated file. A mutant that no behaviour tells counts against the share, also where it changes
nothing, or speed alone: which of these it is, is written beside it by hand in the reports of `benchmarks/results`.
`--again REPORT` looks at those of a report anew, and writes it with what became of them `since`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from fusec.testing.command_line import command_line
from fusec.testing.mutation import report
from fusec.testing.mutation.baseline import Baseline, digest_of, files, measure, read, write
from fusec.testing.mutation.farm import Farm, farm
from fusec.testing.mutation.faults import sample
from fusec.testing.mutation.judge import MUTATED, Verdict, doubted, judged
from fusec.testing.mutation.report import untold, write_since


def main() -> int:
    """The command; exits with 1 when less than the wanted share was told by behaviour."""
    options = _options()
    root, started = Path.cwd(), time.monotonic()
    until = started + 60 * options.minutes if options.minutes else float("inf")
    places = [Path(root, each) for each in options.only or MUTATED]
    paths = [path for place in places for path in ([place] if place.is_file() else place.rglob("*.py"))]
    sources = {str(path.relative_to(root)): path.read_text() for path in paths}
    chosen = [*untold(options.again, sources)] if options.again else sample(sources, options.sample, options.seed)
    verdicts: list[Verdict] = []
    with farm(root, options.jobs) as farmed:
        known = _measured(farmed, root, options, lambda: time.monotonic() > until)
        print(
            f"{len(known.tests)} tests; left out: {len(known.left_out)}; {time.monotonic() - started:.0f} s", flush=True
        )
        for verdict in judged(farmed, root, chosen, known, options.most, lambda: time.monotonic() > until):
            verdicts.append(verdict)
            print(_line(verdict), flush=True)
            _write(options, root, started, known, verdicts)
        for before, verdict in _doubted(farmed, root, verdicts, known, options, until):
            verdicts[verdicts.index(before)] = verdict
            print(f"again: {_line(verdict)}", flush=True)
            _write(options, root, started, known, verdicts)
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    share = outcomes["behaviour"] / max(len(verdicts), 1)
    seconds = time.monotonic() - started
    print(f"{len(verdicts)} mutants: {dict(outcomes)}, {share:.1%} killed by behaviour, {seconds:.0f} s")
    return 0 if share >= options.least else 1


def _doubted(
    farmed: Farm, root: Path, verdicts: list[Verdict], known: Baseline, options: argparse.Namespace, until: float
) -> Iterator[tuple[Verdict, Verdict]]:
    """A second look at what behaviour did not tell, three times as long as the first if there is time."""
    count = sum(verdict.outcome in ("texts", "survived") for verdict in verdicts)
    left = until - time.monotonic()
    each = min(3 * options.most, 0.8 * left * min(1.0, options.jobs / max(count, 1)))
    if count and each >= 1:
        yield from doubted(farmed, root, [*verdicts], known, each, options.most, lambda: time.monotonic() > until)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fusec.testing.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=200, help="how many lines (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default: %(default)s)")
    parser.add_argument("--again", type=Path, metavar="REPORT", help="only what behaviour did not tell of a report")
    parser.add_argument("--only", nargs="*", metavar="PATH", help="the modules or folders to plant faults in")
    parser.add_argument("--tests", default="", metavar="PATTERN", help="the files of tests to use (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--minutes", type=float, help="begin nothing further after so long")
    parser.add_argument("--baseline", type=Path, help="where the tests without a fault are kept, for further runs")
    parser.add_argument("--most", type=float, default=40, help="seconds of tests a mutant has to live through")
    parser.add_argument("--limit", type=float, default=60, help="seconds after which a test is left out")
    parser.add_argument("--least", type=float, default=0.9, help="the share to be killed by behaviour")
    parser.add_argument("--out", type=Path, help="where to write the report, as JSON")
    return parser.parse_args()


def _measured(farmed: Farm, root: Path, options: argparse.Namespace, over: Callable[[], bool]) -> Baseline:
    """The tests that hold without a fault; what an earlier run says of them, where nothing has changed since."""
    own = root / "fusec" / "testing" / "mutation"
    digest = digest_of(sorted(path for path in (root / "fusec").rglob("*.py") if path.parent != own))
    known = read(options.baseline) if options.baseline and options.baseline.exists() else Baseline(digest)
    if known.digest != digest:
        print("the kept baseline is of another compiler: all tests are measured anew", flush=True)
        known = Baseline(digest)
    wanted = [each for each in files(root) if re.search(options.tests, each)]
    changed = [each for each in wanted if known.files.get(each) != digest_of([root / each])]
    known.tests = [each for each in known.tests if each.file not in changed]
    for told in measure(farmed, root, known, changed, options.limit, over):
        print(f"  {told}", flush=True)
        if options.baseline:
            write(known, options.baseline)
    return known


def _write(options: argparse.Namespace, root: Path, started: float, known: Baseline, verdicts: list[Verdict]) -> None:
    """What is known so far, where it is asked for."""
    if options.out and options.again:
        write_since(options.out, options.again, root, verdicts)
    elif options.out:
        command = command_line("fusec.testing.mutation", options)
        report.write(options.out, root, command, time.monotonic() - started, known, verdicts)


def _line(verdict: Verdict) -> str:
    mutant = verdict.mutant
    place = f"{verdict.path}:{mutant.line}"
    return f"{verdict.outcome:11} {place} {mutant.kind}: {_short(mutant.old)} -> {_short(mutant.text)}  {verdict.test}"


def _short(text: str) -> str:
    return " ".join(text.split())[:80]


if __name__ == "__main__":
    sys.exit(main())
