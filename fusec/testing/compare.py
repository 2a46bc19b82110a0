"""One call of an op, judged: its results by the error bound, its memory by guard bands and by every access.

Nothing here is a tolerance: what a result may be is `numerics.envelope`'s to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite
from typing import TypeAlias

import torch
from torch import Tensor

from fusec.interpreter import interpreting
from fusec.interpreter.programs import Order, in_order
from fusec.ir.graph import Graph
from fusec.ir.places import written_several_times
from fusec.numerics.envelope import envelope
from fusec.numerics.interval import Interval
from fusec.reference.rounding import torch_dtype, widen
from fusec.testing.buffers import guarded_allocations
from fusec.testing.cases import Argument, Call, Case, build, shape, storage
from fusec.testing.memory import Memory
from fusec.testing.watching import watched

Op: TypeAlias = Callable[..., Tensor | tuple[Tensor, ...] | None]


class ResultError(AssertionError):
    """An op broke its promise: a result outside of its bound, an input changed, memory touched that is not its own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How close a right result came to its bound: 1 is the bound. `unknown` is the share of elements with no bound.

    Of its `elements`, `bounded` had to be a number within finite bounds.
    """

    ratio: float
    unknown: float
    elements: int = 0
    bounded: int = 0


def run_and_compare(
    op: Op,
    forms: tuple[Graph, ...],
    case: Case,
    *,
    device: torch.device | str = "cpu",
    order: Order = in_order,
) -> Outcome:
    """Call `op` on `case` and raise `ResultError`, with the case in its message, if anything about it is wrong.

    `forms` are the graphs that the op may compute, as `Program.forms` has them.
    """
    call = build(forms[0], case, device)
    before = {name: detached(value) for name, value in call.arguments.items()}
    try:
        results = run(op, forms[0], case, call, order)
        outcomes = hold(results, forms, before, case.is_random)
    except AssertionError as error:
        raise ResultError(f"{error}\nreproduce with {case!r}") from error
    return Outcome(
        max((outcome.ratio for outcome in outcomes), default=0.0),
        max((outcome.unknown for outcome in outcomes), default=0.0),
        sum(outcome.elements for outcome in outcomes),
        sum(outcome.bounded for outcome in outcomes),
    )


def hold(
    results: dict[str, Tensor],
    forms: tuple[Graph, ...],
    arguments: dict[str, Argument],
    random: bool = False,
) -> list[Outcome]:
    """Hold the results of a call against the bound of the first of its forms whose bound they all lie within.

    `random` says that all elements of the arguments were drawn, each on its own.
    Raises AssertionError as `judge` does, by the bound of the last form, if there is none.
    """
    return within(results, (envelope(form, arguments, random) for form in forms))


def within(results: dict[str, Tensor], bounds: Iterable[Mapping[str, Interval]]) -> list[Outcome]:
    """Hold results, by name, against the first of several bounds that they all lie within, as `hold` does."""
    fault = AssertionError("there is no bound")
    for bound in bounds:
        try:
            return [judge(name, results[name], bound[name]) for name in bound]
        except AssertionError as error:
            fault = error
    raise fault


def run(op: Op, graph: Graph, case: Case, call: Call, order: Order = in_order) -> dict[str, Tensor]:
    """Outputs and `mut` tensors by name, after a call whose effects on memory were checked.

    Raises AssertionError for an output of the wrong shape or dtype and for every fault of memory.
    """
    mutable = {param.name for param in graph.tensors if param.mutable}
    with ExitStack() as stack:
        memory: Memory | None = None
        if interpreting():
            inputs = {name: held.tensor for name, held in call.buffers.items()}
            memory = stack.enter_context(watched(inputs, mutable, order, written_several_times(graph)))
        made = stack.enter_context(guarded_allocations())
        returned = op(**call.arguments)
        results = named(graph, case, returned)
        if memory is not None:
            names = {tensor.untyped_storage().data_ptr(): name for name, tensor in results.items()}
            for held in made:
                name = names.get(held.buffer.data_ptr())
                memory.unwritten(name or held.name, held.tensor, workspace=name is None)
    changed = [*call.disturbed(), *(text for held in made if (text := held.disturbed()))]
    if changed:
        raise AssertionError("\n".join(changed))
    return results | {name: call.buffers[name].tensor for name in mutable & call.buffers.keys()}


def judge(name: str, result: Tensor, bound: Interval) -> Outcome:
    """Hold a result against its bound; raises AssertionError with the first element outside and the worst ratio."""
    got = widen(result.to(bound.value.device))
    bound = bound.nearest(got)
    if got.dtype == torch.bool:
        got, bound = got.to(torch.int64), bound.map(lambda ends: ends.to(torch.int64))
        unknown = bound.low < bound.high
    else:
        unknown = bound.unknown
    inside = (got >= bound.low) & (got <= bound.high)
    inside |= (got.isnan() & bound.low.isnan()) | unknown
    ratio = _ratio(got, bound, unknown)
    if not inside.all():
        first = tuple(int(index) for index in torch.nonzero(~inside)[0])
        low, value, high = (each[first].item() for each in (bound.low, bound.value, bound.high))
        where = f"{name}[{', '.join(map(str, first))}]"
        away = f"at most {ratio:.3g} times the bound away" if isfinite(ratio) else "where the bound leaves one value"
        raise AssertionError(
            f"{where} = {got[first].item()} is outside of [{low}, {high}] around {value}; so are "
            f"{int((~inside).sum())} of {got.numel()} elements, {away}"
        )
    bounded = ~unknown & bound.low.isfinite() & bound.high.isfinite()
    return Outcome(
        ratio, float(unknown.double().mean()) if unknown.numel() else 0.0, unknown.numel(), int(bounded.sum())
    )


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bits, NaN equal to NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    wide = (widen(a), widen(b))
    equal = (wide[0] == wide[1]) | (wide[0].isnan() & wide[1].isnan())
    return bool((equal & (torch.signbit(wide[0]) == torch.signbit(wide[1])) | wide[0].isnan()).all())


def _ratio(got: Tensor, bound: Interval, unknown: Tensor) -> float:
    """The largest distance from the exact value, measured by the bound on that side."""
    above = got > bound.value
    allowed = torch.where(above, bound.high - bound.value, bound.value - bound.low).double()
    away = (got - bound.value).abs().double()
    judged = ~unknown & torch.isfinite(away) & (away > 0)
    return float((away / allowed)[judged].max()) if judged.any() else 0.0


def named(graph: Graph, case: Case, returned: Tensor | tuple[Tensor, ...] | None) -> dict[str, Tensor]:
    """What a call returned, by the names of the outputs; raises AssertionError for a wrong shape or dtype."""
    given = () if returned is None else returned if isinstance(returned, tuple) else (returned,)
    if len(given) != len(graph.outputs):
        raise AssertionError(f"{graph.name} returns {len(given)} tensors, not {len(graph.outputs)}")
    for output, tensor in zip(graph.outputs, given, strict=True):
        wanted = shape(case, output.dims), torch_dtype(storage(case, output.element))
        if (tuple(tensor.shape), tensor.dtype) != wanted:
            raise AssertionError(f"{output.name} is {tuple(tensor.shape)} {tensor.dtype}, not {wanted[0]} {wanted[1]}")
    return {output.name: tensor for output, tensor in zip(graph.outputs, given, strict=True)}


def detached(value: Argument) -> Argument:
    """An argument as it was before a call, on the CPU."""
    return value.detach().cpu().clone() if isinstance(value, Tensor) else value
