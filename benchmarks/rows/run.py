"""Row ops against eager PyTorch, torch.compile, `torch.nn.functional` and Liger, on one GPU.

    python -m benchmarks.rows.run --out rows.json [--only NAME ...] [--rounds 15]

Every candidate of a case is captured as a CUDA graph and replayed on the same buffers, one after another in an order
shuffled for every round, with the L2 cache swept by a read of 512 MB before each replay; the figure is the median over
rounds, by CUDA events, of which short cases get five times as many. Before timing, each candidate is held against the
formula in f64 on those buffers, which hold random data. Figures are microseconds; the share of the copy rate counts
each input read once and each output written once. `copy` is a device-to-device copy of 4 GB in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass, field

import torch

from benchmarks.cold import ColdTimer, about, captured, interleaved, listed, relative_error
from benchmarks.rows.cases import Case, all_cases

SHORT = 16 * 1024**2
"""Bytes moved up to which a case takes so little time that the clock's step shows."""


@dataclass
class Result:
    """The figures of one case: per candidate the median time in us, and its error relative to the f64 formula."""

    case: str
    nbytes: int
    times: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def measure(case: Case, timer: ColdTimer, rounds: int) -> Result:
    """Check, then time, every candidate of a case."""
    torch.compiler.reset()
    inputs = case.inputs()
    exact = case.formula(*(t.double() if t.is_floating_point() else t for t in inputs))
    result = Result(case.name, case.nbytes)
    graphs: dict[str, torch.cuda.CUDAGraph] = {}
    for name, candidate in case.candidates.items():
        try:
            for _ in range(3):
                got = candidate(*inputs)
            result.errors[name] = max(relative_error(g, e) for g, e in zip(listed(got), listed(exact), strict=False))
            graphs[name] = captured(lambda candidate=candidate: candidate(*inputs))
        except Exception as error:  # a peer that cannot run this case is reported, not fatal
            result.failed[name] = f"{type(error).__name__}: {str(error)[:200]}"
    del exact
    result.times = interleaved(graphs, timer, rounds if case.nbytes > SHORT else 5 * rounds)
    return result


def copy_rate(timer: ColdTimer) -> float:
    """Bytes per second of a 4 GB device-to-device copy, reads and writes counted."""
    source = torch.randint(0, 255, (2 * 1024**3,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = [timer(lambda: target.copy_(source)) for _ in range(10)]
    return 2 * source.numel() / (statistics.median(times) * 1e-6)


def main() -> None:
    """Run the cases and write the raw figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    timer = ColdTimer()
    rate = copy_rate(timer)
    only = f"--only {' '.join(arguments.only)} " if arguments.only != [""] else ""
    command = f"python -m benchmarks.rows.run --out rows.json {only}--rounds {arguments.rounds}"
    made = {**about(command, arguments.rounds), "copy_bytes_per_s": rate}
    print(f"copy {rate / 1e12:.2f} TB/s")
    print(f"{'case':44} {'fusec':>8} {'of copy':>8} {'peers (us)'}")
    results: list[Result] = []
    for case in all_cases():
        if any(word in case.name for word in arguments.only):
            results.append(measure(case, timer, arguments.rounds))
            report(results[-1], rate)
            with open(arguments.out, "w") as file:
                json.dump({"about": made, "results": [vars(result) for result in results]}, file, indent=1)


def report(result: Result, rate: float) -> None:
    """A line: ours, the share of the copy rate, and every peer with its time relative to ours, the best first."""
    ours = result.times.get("fusec", float("nan"))
    peers = sorted((time, name) for name, time in result.times.items() if name != "fusec")
    share = result.nbytes / (ours * 1e-6) / rate
    texts = [f"{name} {time:.1f} ({time / ours:.2f}x)" for time, name in peers]
    texts += [f"{name} FAILED {why[:60]}" for name, why in result.failed.items()]
    error = result.errors.get("fusec", float("nan"))
    print(f"{result.case:44} {ours:8.1f} {share:8.2f} err {error:.1e} {', '.join(texts)}", flush=True)


if __name__ == "__main__":
    main()
