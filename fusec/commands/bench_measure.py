"""One call of an op and its peers: each is held to the result in f64, then all are timed in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor

from fusec.commands.limits import Timer
from fusec.commands.peers_torch import Arguments, Call
from fusec.extents.signature import Signature
from fusec.ir.expressions import Cast, Input, NodeId, Rename
from fusec.ir.graph import Graph
from fusec.reference.evaluate import evaluate
from fusec.report.results import COPY, OWN, Measured
from fusec.testing.cases import Case, build, size, storage

Makers: TypeAlias = Iterable[tuple[str, Callable[[Arguments], Call]]]
"""Who could do the work, each with what makes the call for some arguments."""

ROUNDINGS = 4
"""Roundings to the type of a result, or to bf16 where that is finer, that a candidate may be away from f64, in norm.

That is no bound on a right kernel, which `fusec verify` has. Who is further away computes something else.
"""


def measure(
    function: Callable[..., Any], graph: Graph, case: Case, others: Makers, timed: Timer, device: str = "cuda"
) -> Measured:
    """The figures of one case; who cannot do it, or is wrong, is among the `failed` with the reason."""
    arguments = alike(build(graph, case, device).arguments)
    exact = tuple(evaluate(graph, arguments).values())
    own: tuple[str, Callable[[Arguments], Call]] = (OWN, lambda given: partial(function, **given))
    what = Measured(
        op=graph.name,
        size="x".join(map(str, (*case.lead, *(case.extents[name] for name in Signature.of(graph).free)))),
        rows=prod(case.lead) if case.lead else next(iter(case.extents.values()), 1),
        bytes=0,
        device={},
        flops=flops(graph, case),
        bits=bits(graph, case),
    )
    return figures(what, (own, *others), arguments, exact, timed)


def figures(what: Measured, makers: Makers, arguments: Arguments, exact: tuple[Tensor, ...], timed: Timer) -> Measured:
    """`what` is measured with its figures: everyone is held to the result in f64, and all who may be are timed."""
    calls: dict[str, Call] = {}
    errors: dict[str, float] = {}
    failed: dict[str, str] = {}
    moved = 0
    for who, maker in makers:
        try:
            call = maker(arguments)
            results = listed(call())
            errors[who] = hold(results, exact)
        except Exception as error:  # a peer's fault is told, and stops nobody else
            failed[who] = f"{type(error).__name__}: {str(error).strip()[:300]}"
            continue
        calls[who] = call
        if who == OWN:
            moved = traffic(arguments, results)
            calls[COPY] = copy_of(moved, results[0].device)
    if COPY in calls:
        calls[COPY] = calls.pop(COPY)
    timings = timed(calls) if calls else {}
    return replace(
        what,
        bytes=moved,
        device={who: timing.device for who, timing in timings.items()},
        host={who: timing.host for who, timing in timings.items() if who != COPY},
        errors=errors,
        failed=failed,
        rounds={who: timing.rounds for who, timing in timings.items()},
    )


def alike(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with rotary tables as models have them: both halves of a row the same, if `q` needs both."""
    found = dict(arguments)
    q = found.get("q")
    for name in ("cos", "sin"):
        table = found.get(name)
        if isinstance(table, Tensor) and isinstance(q, Tensor) and table.shape[-1] == q.shape[-1]:
            half = table[..., : table.shape[-1] // 2]
            found[name] = torch.cat((half, half), -1)
    return found


def hold(results: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    """The largest error of several results, relative to the norm of each. Raises `ValueError` for one too large."""
    worst = 0.0
    for got, wanted in zip(results, exact, strict=False):
        if got.shape != wanted.shape:
            raise ValueError(f"the result has shape {tuple(got.shape)} instead of {tuple(wanted.shape)}")
        error = float((got.double() - wanted.double()).norm() / wanted.double().norm().clamp_min(1e-30))
        digits = torch.finfo(got.dtype).eps / 2 if got.dtype.is_floating_point else 2.0**-7
        if not error <= ROUNDINGS * max(digits, 2.0**-8):
            raise ValueError(f"another result: {error:.1e} away from that in f64, relative to its norm")
        worst = max(worst, error)
    return worst


def listed(results: Any) -> tuple[Tensor, ...]:
    """One result or several, as several."""
    return tuple(results) if isinstance(results, tuple | list) else (results,)


def flops(graph: Graph, case: Case) -> int:
    """The operations of all dots of a call: a product and a sum for every pair of elements that meet."""
    dots = graph.dots.items()
    return sum(2 * prod(size(case, (axis,)) for axis in (*graph.nodes[n].type.axes, *dot.axes)) for n, dot in dots)


def bits(graph: Graph, case: Case) -> int:
    """The bits of the operands of dots: of the wider one, and of the narrowest dot."""
    return min((max(_bits(graph, case, each) for each in (dot.a, dot.b)) for dot in graph.dots.values()), default=16)


def _bits(graph: Graph, case: Case, number: NodeId) -> int:
    match graph.nodes[number].expr:
        case Input(param):
            return storage(case, graph.tensor(param).element).bits
        case Cast(dtype=dtype):
            return storage(case, dtype).bits
        case Rename(arg=arg):
            return _bits(graph, case, arg)
        case _:
            return 16


def traffic(arguments: Mapping[str, Any], results: tuple[Tensor, ...]) -> int:
    """The least bytes the call can move: every tensor it is given read once, every result written once."""
    tensors = [value for value in (*arguments.values(), *results) if isinstance(value, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def copy_of(moved: int, device: torch.device) -> Call:
    """A device copy that reads and writes `moved` bytes together, of whole vectors."""
    source = torch.empty(max(moved // 2, 16) // 16 * 16, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)
