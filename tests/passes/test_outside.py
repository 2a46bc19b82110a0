"""What is said of lanes outside of the extents holds: a row with such lanes reduces to what it reduces to without them.

A flow is evaluated twice, on rows and on the same rows with lanes behind them that hold what loads read there. Inner
reductions are those of the rows alone, as kernels have them. No kernel is built: thousands of forms take seconds.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf, nan
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from fusec.diagnostics import Source, SpecError
from fusec.ir import ranges
from fusec.ir.expressions import Load, Reduce
from fusec.ir.flow import Flow
from fusec.ir.graph import Graph
from fusec.ir.ops import ReduceOp
from fusec.ir.traits import ElementwiseOp
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.graph.simplify import simplify
from fusec.passes.kernel.outside import Outside
from fusec.passes.kernel.padding import choose_padding
from fusec.reference.bind import bind
from fusec.reference.evaluate import dims_of
from fusec.reference.meaning import reduction
from fusec.testing.flows import _Walk

ROWS, COLUMNS, LANES = 60, 2, 2
SPECIAL = [0.0, 1.0, 2.0, -2.0, 0.5, 3e4, inf, -inf, nan]

LEAVES = ("x", "w", "s", "b", "k", "2.5", "-inf", "amax(x, over=N)", "amin(x, over=N)", "sum(w, over=N)")
"""Of the row, of the columns, of the rows, one number, integers of the row, literals, and what rows reduce to."""

INNER = (
    *("abs({0})", "-{0}", "exp({0})", "sigmoid({0})", "sqrt(abs({0}))", "{0} * {0}", "cast({0}, f8e4m3)", "cos({0})"),
    *("maximum({0}, 0)", "1 / (1 + {0} * {0})", "{0} - amax({0}, over=N)", "{0} - amin({0}, over=N)", "sign({0})"),
    *("exp({0} - amax({0}, over=N))", "log({0})", "{0} ** 2.5", "{0} % 3", "tanh({0})", "{0} * sigmoid({0})"),
)
OUTER = (
    *("{0}", "{0} * {1}", "{0} / {1}", "{0} + {1}", "maximum({0}, {1})", "where({1} > 0, {0}, {1})"),
    *("where({1} == {1}, {0}, 0)", "{0} * where({0} > 0, {1}, 1)", "cast({0}, i32) * cast({1}, i32)", "{0} ** {1}"),
)
REDUCTIONS = ("sum({}, over=N)", "amax({}, over=N)", "amin({}, over=N)")


def forms(count: int) -> list[str]:
    """Every reduction of every form of one operation, and one of many forms of several."""
    random = Random(11)
    simple = [form.format(leaf) for leaf, form in product(LEAVES, INNER)] + list(LEAVES)
    mixed = [random.choice(OUTER).format(random.choice(simple), random.choice(simple)) for _ in range(count)]
    simple = ["abs(x) * where(x > 0, 1, sigmoid(s))", *simple]
    reduced = [
        *(reduce.format(form) for form, reduce in product(simple, REDUCTIONS)),
        *(random.choice(REDUCTIONS).format(form) for form in mixed),
    ]
    return [form for form in reduced if any(leaf in form for leaf in ("x", "w", "k"))]


def flow_of(form: str) -> tuple[Graph, Flow] | None:
    """The flow of an op that makes `form` of its arguments; None where that has no axis to reduce."""
    text = f"""op f(x: f32[M, N], w: f32[N], s: f32[M], b: f32, k: i8[M, N]) -> y: f32[M]:
    y = {form}
"""
    try:
        (graph,) = elaborate(load(Source("f.fuse", text), None))
    except SpecError:
        return None
    return graph, resolve_views(simplify(graph))


def arguments(seed: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        own = torch.tensor(SPECIAL)
        return own[torch.randint(0, len(own), shape, generator=generator)]

    whole = torch.randint(-3, 4, (ROWS, COLUMNS), generator=generator, dtype=torch.int8)
    return {"x": drawn(ROWS, COLUMNS), "w": drawn(COLUMNS), "s": drawn(ROWS), "b": SPECIAL[seed % 9], "k": whole}


def with_lanes(given: dict[str, Any], fills: dict[str, float]) -> dict[str, Any]:
    """The same rows with lanes behind them."""
    longer = dict(given)
    for name in ("x", "w", "k"):
        lanes = torch.full((*given[name].shape[:-1], LANES), fills.get(name, 0.0)).to(given[name].dtype)
        longer[name] = torch.cat([given[name], lanes], -1)
    return longer


def faults(form: str, seed: int) -> list[str]:
    """The reductions that lanes outside are said to leave alone, and do not."""
    made = flow_of(form)
    if made is None:
        return []
    graph, flow = made
    padding = choose_padding(flow, flow.live, lambda param: param != "k")
    given = arguments(seed)
    fills = {expr.param: padding.fill(n) for n in flow.live if isinstance(expr := flow.nodes[n].expr, Load)}
    rows, longer = (_Walk(flow, graph, bind(graph, own)) for own in (given, with_lanes(given, fills)))
    found = []
    for number in flow.live:
        expr = flow.nodes[number].expr
        if isinstance(expr, Reduce):
            # Kernels have the reductions of rows, whatever their lanes hold.
            alone = rows._array(number)
            with_all = longer._array(expr.arg)
            lanes = reduction(expr.op, with_all.tensor, dims_of(with_all, expr.axes))
            if padding.suits(expr) and not torch.equal(plain(alone.tensor), plain(lanes)):
                found.append(f"{form}: {expr.op} is {lanes.tolist()} and not {alone.tensor.tolist()}")
            longer.known[number] = alone
    return found


def plain(values: Tensor) -> Tensor:
    """Values that are equal where they are the same: NaN as a number, and sums in another order."""
    return torch.nan_to_num(values.double(), nan=12.25, posinf=1e300, neginf=-1e300).float()


FORMS = forms(120)


def test_lanes_outside_leave_reductions_alone() -> None:
    assert [fault for place, form in enumerate(FORMS) for fault in faults(form, place)] == []


def _everything_is_excused(self: Outside, number: int) -> Any:
    lane = _LANE(self, number)
    return replace(lane, range=replace(lane.range, nan=False), excused=True)


_LANE = Outside._lane

WRONG: dict[str, tuple[object, str, Any]] = {
    "what is not chosen may be NaN": (ElementwiseOp, "strict", True),
    "a NaN is always one inside": (Outside, "_lane", _everything_is_excused),
    "whatever is less a maximum is -inf": (Outside, "_beside_extreme", lambda self, expr, args: -inf),
    "a value is no less than it is outside": (ReduceOp, "is_beaten_by", lambda self, other, inside: True),
    "0 times infinity is 0": (ranges, "_with_infinities", lambda found, *others: found),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_claim_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, wrong = WRONG[fault]
    monkeypatch.setattr(owner, name, wrong)
    assert any(faults(form, place) for place, form in enumerate(FORMS))


def test_enough_is_said() -> None:
    """Masks are left away where it is plain that they can be."""
    said = (
        "sum(abs(x), over=N)",
        "amax(x, over=N)",
        "amax(abs(x) * sigmoid(x), over=N)",
        "sum(x * sigmoid(s), over=N)",
    )
    for form in (*said, "sum(exp(x - amax(x, over=N)), over=N)", "amax(x * 0.125, over=N)"):
        made = flow_of(form)
        assert made is not None
        padding = choose_padding(made[1], made[1].live, lambda param: param != "k")
        exprs = [made[1].nodes[n].expr for n in made[1].live]
        assert all(padding.suits(expr) for expr in exprs if isinstance(expr, Reduce)), form
