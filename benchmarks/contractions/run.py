"""Contractions against norm, cuBLAS and activation one after another, and torch.compile with max-autotune, on one GPU.

    python -m benchmarks.contractions.run --out contractions.json [--only NAME ...] [--compile] [--rounds 15]

Every candidate of a case is captured as a CUDA graph and replayed on the same buffers, one after another in an order
shuffled for every round, with the L2 cache swept by a read of 512 MB before each replay; the figure is the median over
rounds, by CUDA events. Before timing, every candidate is held against the formula in f64 on those buffers, which hold
random data. Figures are microseconds.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field

import torch

from benchmarks.cold import ColdTimer, about, captured, interleaved, listed, relative_error
from benchmarks.contractions.cases import Case, all_cases

SHORT = 100.0
"""Microseconds up to which a case gets three times as many rounds."""


@dataclass
class Result:
    """The figures of one case: per candidate the median time in us, and its error relative to the f64 formula."""

    case: str
    times: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def measure(case: Case, timer: ColdTimer, rounds: int, compile: bool) -> Result:
    """Check, then time, every candidate of a case."""
    torch.compiler.reset()
    arguments = case.arguments()
    wide = [a.double() if isinstance(a, torch.Tensor) else a for a in arguments]
    exact = listed(case.formula(*wide))
    del wide
    candidates = {"fusec": case.fusec, **case.candidates}
    if compile and case.written is not None:
        candidates["torch.compile"] = torch.compile(case.written, mode="max-autotune-no-cudagraphs", dynamic=False)
    result, graphs = Result(case.name), {}
    for name, candidate in candidates.items():
        try:
            for _ in range(3):
                got = listed(candidate(*arguments))
            result.errors[name] = max(
                relative_error(g, e) for g, e in zip(got, exact, strict=False) if g.shape == e.shape
            )
            graphs[name] = captured(lambda candidate=candidate: candidate(*arguments))
        except Exception as error:  # a candidate that cannot run this case is reported, not fatal
            result.failed[name] = f"{type(error).__name__}: {str(error)[:200]}"
    del exact
    first = timer(graphs["fusec"].replay) if "fusec" in graphs else 0.0
    result.times = interleaved(graphs, timer, rounds if first > SHORT else 3 * rounds)
    return result


def main() -> None:
    """Run the cases and write the raw figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    timer = ColdTimer()
    results: list[Result] = []
    made = about(f"python -m benchmarks.contractions.run {' '.join(_given(arguments))}", arguments.rounds)
    for case in all_cases():
        if any(word in case.name for word in arguments.only):
            results.append(measure(case, timer, arguments.rounds, arguments.compile))
            report(results[-1])
            with open(arguments.out, "w") as file:
                json.dump({"about": made, "results": [vars(result) for result in results]}, file, indent=1)


def report(result: Result) -> None:
    """One line: ours, every other candidate and its time relative to ours."""
    ours = result.times.get("fusec", float("nan"))
    others = sorted((time, name) for name, time in result.times.items() if name != "fusec")
    texts = [f"{name} {time:.1f} ({time / ours:.2f}x)" for time, name in others]
    texts += [f"{name} FAILED {why[:150]}" for name, why in result.failed.items()]
    print(
        f"{result.case:36} {ours:8.1f} err {result.errors.get('fusec', float('nan')):.1e}  {', '.join(texts)}",
        flush=True,
    )


def _given(arguments: argparse.Namespace) -> list[str]:
    only = ["--only", *arguments.only] if arguments.only != [""] else []
    return [
        "--out",
        "contractions.json",
        *only,
        "--rounds",
        str(arguments.rounds),
        *(["--compile"] * arguments.compile),
    ]


if __name__ == "__main__":
    main()
