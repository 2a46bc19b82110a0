"""What `fusec bench` prints: the candidates of one call, the calls of a suite, or what a GPU reaches at best."""

from __future__ import annotations

from fusec.commands.limits import Limit
from fusec.commands.table import Column
from fusec.report.results import COPY, OWN, Measured, Run

CANDIDATES = (
    Column("candidate"),
    Column("device us", numbers=True),
    Column("TB/s", numbers=True),
    Column("fusec is faster by", numbers=True),
    Column("host us", numbers=True),
    Column("error", numbers=True),
)

OPS = (
    Column("op"),
    Column("size", numbers=True),
    Column("fusec us", numbers=True),
    Column("of a copy", numbers=True),
    Column("TFLOP/s", numbers=True),
    Column("best other us", numbers=True),
    Column("fusec is faster by", numbers=True),
    Column("who that is"),
)

LIMITS = (Column("kind"), Column("rate", numbers=True), Column("at", numbers=True), Column("us", numbers=True))


def candidates(case: Measured) -> list[tuple[str, ...]]:
    """A line per candidate. The rate counts the least bytes the op could move, whatever a candidate really moves."""
    return [
        (
            "a copy of as many bytes" if who == COPY else who,
            f"{us:.1f}",
            f"{case.bytes / us / 1e6:.2f}",
            f"{case.times(who):.2f}x" if OWN in case.device else "-",
            f"{case.host[who]:.1f}" if who in case.host else "-",
            f"{case.errors[who]:.1e}" if who in case.errors else "-",
        )
        for who, us in case.device.items()
    ]


def ops(run: Run) -> list[tuple[str, ...]]:
    """A line per call, with the best of its peers."""
    return [_op(run, case) for case in run.cases if case.device]


def _op(run: Run, case: Measured) -> tuple[str, ...]:
    who, other = next(iter(case.peers.items()), ("-", None))
    if OWN not in case.device:
        return case.op, case.size, "-", "-", "-", "-" if other is None else f"{other:.1f}", "-", who
    own = case.device[OWN]
    return (
        case.op,
        case.size,
        f"{own:.1f}",
        f"{run.share(case, OWN):.2f}" if run.copy_rate or COPY in case.device else "-",
        f"{case.flops / own / 1e6:.1f}" if case.flops else "-",
        "-" if other is None else f"{other:.1f}",
        "-" if other is None else f"{case.times(who):.2f}x",
        who,
    )


def limit_row(limit: Limit) -> tuple[str, ...]:
    """A line of the table, or why there is no rate."""
    if limit.refused:
        return limit.kind, "-", limit.refused, "-"
    at = " x ".join(map(str, limit.shape))
    return limit.kind, f"{limit.rate:.2f} {limit.unit}", at, f"{limit.microseconds:.1f}"
