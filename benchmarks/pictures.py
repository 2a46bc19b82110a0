"""The pictures of README and documentation, from the committed raw results of an H200; no GPU is needed.

python -m benchmarks.pictures [--to docs/pictures] [--report FOLDER]

With --report, the page of `fusec bench --report` is made of the same results, and no picture is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks import raw_results
from fusec.report import page
from fusec.report.copy_share import copy_share
from fusec.report.picture import Picture
from fusec.report.results import Measured, Run

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"


def largest(run: Run) -> list[tuple[str, str]]:
    """The largest size of every row op, those first that others are furthest behind in."""
    found: dict[str, Measured] = {}
    for case in sorted(run.row_ops, key=lambda case: case.bytes):
        if case.peers:
            found[case.op] = case
    ahead = {case.op: min(map(case.times, (who for who in case.peers if who != "eager"))) for case in found.values()}
    return [(op, found[op].size) for op in sorted(found, key=lambda op: -ahead[op])]


def pictures() -> Iterator[Picture]:
    """Every picture that is committed."""
    run = raw_results.run()
    front = copy_share(run, "readme", "Row ops on an H200, beside a plain copy", largest(run))
    assert front is not None
    yield front
    yield from page.pictures(run)


def drawn(folder: Path) -> Iterator[Path]:
    """Draw every picture into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures():
        path = folder / f"{picture.name}.svg"
        path.write_text(picture.svg(), encoding="utf-8")
        yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=PICTURES)
    parser.add_argument("--report", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    for path in page.write_report(raw_results.run(), given.report) if given.report else drawn(given.to):
        print(path)


if __name__ == "__main__":
    main()
