"""The time model beside what was measured: `python -m benchmarks.time_model`, no GPU is needed.

A line for each call, worst first with `--worst N`, and how far predictions are off by schedule: the median of the
errors with their sign, of their sizes, and what nine of ten stay below. An error is the logarithm of the ratio.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from math import log
from statistics import median, quantiles

from benchmarks.measured_calls import Measured, products, rows, tuned
from fusec.runtime.select.predict import total_us


def errors(calls: Iterable[Measured]) -> list[tuple[Measured, float, float]]:
    """Calls with what is predicted for them, and the error."""
    timed = [(call, total_us(call.decision)) for call in calls]
    return [(call, us, log(us / call.us)) for call, us in timed]


def spread(found: Iterable[float]) -> tuple[float, float, float]:
    """The median error, the median of its size, and the size that nine of ten have at most."""
    values = list(found)
    sizes = sorted(map(abs, values))
    return median(values), median(sizes), quantiles(sizes, n=10)[-1] if len(sizes) > 1 else sizes[0]


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worst", type=int, default=0, help="show so many of the calls that are furthest off")
    parser.add_argument("--only", choices=("rows", "products", "tuned"), help="calls of these results alone")
    asked = parser.parse_args()
    sources = {"rows": rows, "products": products, "tuned": tuned}
    found = [(name, *each) for name, calls in sources.items() if asked.only in (None, name) for each in errors(calls())]
    for _, call, us, error in sorted(found, key=lambda each: -abs(each[-1]))[: asked.worst]:
        print(f"{call.name:100} {call.us:8.1f} us measured {us:8.1f} predicted {error:+.0%}")
    groups: dict[str, list[float]] = {}
    for source, call, _, error in found:
        for group in (
            f"{source}: {call.schedule}",
            source,
            *(["plans of the rules"] if not call.chosen else []),
            "all",
        ):
            groups.setdefault(group, []).append(error)
    print(f"{'calls':32} {'number':>6} {'median':>8} {'size':>6} {'nine of ten':>12}")
    for group in sorted(groups):
        signed, size, most = spread(groups[group])
        print(f"{group:32} {len(groups[group]):6} {signed:+8.1%} {size:6.1%} {most:12.1%}")


if __name__ == "__main__":
    main()
