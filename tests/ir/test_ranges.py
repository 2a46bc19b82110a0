"""Ranges hold what operations make of numbers in them, and what the reference computes for every value of an op."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, floor
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from reference_specs import CONSTRUCTS, CONTRACTIONS, examples, specs
from torch import Tensor

from fusec.diagnostics import Source, SpecError
from fusec.ir import ranges, value_ranges
from fusec.ir.expressions import Dot, Reduce
from fusec.ir.flow import FlowNode
from fusec.ir.graph import Graph, Node
from fusec.ir.ops import ELEMENTWISE, range_of
from fusec.ir.ranges import LARGEST_F32, LARGEST_F64, Range, real, whole
from fusec.ir.traits import ElementwiseOp, Result
from fusec.ir.types import DTYPES, DType, Kind
from fusec.ir.value_ranges import ValueRanges
from fusec.lang.load import load
from fusec.passes.graph.commute import commute
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.graph.simplify import simplify
from fusec.reference import evaluate as evaluation
from fusec.reference.evaluate import evaluate
from fusec.reference.meaning import elementwise
from fusec.reference.rounding import round_to
from fusec.testing import flows
from fusec.testing.cases import Case, build, size
from fusec.testing.flows import evaluate_flow
from fusec.testing.random_specs import text as random_spec
from fusec.testing.strategies import Budget, cases

DRAWN = 40
"""Sets of ranges for every operation."""

RANDOM = 6
_ENDS = [0.0, 2.0**-120, 2.0**-40, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0, 60.0, 1e4, 2.0**70, LARGEST_F32]
_INTEGERS = [0, 1, 2, 3, 5, 8, 31, 32, 63, 64, 100, 2**31 - 1, 2**31, 2**40, 2**63 - 1]
_BEYOND = 1 + 2.0**-16
"""Ranges are of exact numbers, and the reference rounds to f64."""


def drawn_range(random: Random, kind: Kind) -> Range:
    if kind is Kind.BOOL:
        return ranges.TRUTH
    # The number 0 has no sign.
    ends = sorted(
        random.choice((-1, 1)) * random.choice(_INTEGERS if kind is Kind.INT else _ENDS) + 0 for _ in range(2)
    )
    if random.random() < 0.3:
        ends[random.randrange(2)] = ends[0] if random.random() < 0.5 else type(ends[0])(0)
        ends.sort()
    if kind is Kind.INT:
        return whole(int(ends[0]), int(ends[1]))
    flags = [random.random() < 0.2 for _ in range(4)]
    nonzero = flags[3] and ends[0] < ends[1] and ends[0] <= 0 <= ends[1]
    found = replace(real(*ends), below=flags[0], above=flags[1], nan=flags[2])
    return replace(found, nonzero=found.nonzero or nonzero)


def numbers_in(random: Random, own: Range, kind: Kind) -> list[float] | list[int]:
    """The ends, what lies between them, and what is infinite or NaN."""
    if kind is not Kind.REAL:
        low, high = int(own.low), int(own.high)
        inner = [n * sign for n in _INTEGERS for sign in (1, -1) if low <= n * sign <= high]
        return [low, high, *inner, *(random.randint(low, high) for _ in range(4))]
    inner = [n * sign + 0 for n in _ENDS for sign in (1, -1) if own.low <= n * sign <= own.high]
    between = [random.uniform(max(own.low, -1e5), min(own.high, 1e5)) for _ in range(6)]
    found = [own.low, own.high, *inner, *(n for n in between if own.low <= n <= own.high)]
    found = [n for n in found if n != 0 or not own.nonzero]
    infinite = [-math.inf] * own.below + [math.inf] * own.above + [math.nan] * own.nan
    return [*found, *infinite, *([2.0**-60] if own.nonzero and own.low == 0 and own.high > 1 else [])]


def outside(own: Range, values: Tensor, finite: Tensor, exact: bool = False) -> Tensor:
    """The values that a range has not. Where operands are `finite`, 0 is one of these if the range says so."""
    beyond = 1.0 if exact else _BEYOND
    low = values.double() < own.low * (beyond if own.low < 0 else 1 / beyond)
    high = values.double() > own.high * (beyond if own.high > 0 else 1 / beyond)
    wrong = torch.where(values.isnan(), torch.tensor(not own.nan), low & (not own.below) | high & (not own.above))
    inner = values.isfinite() & (
        (values < 0) & low & (values > -LARGEST_F32) | (values > 0) & high & (values < LARGEST_F32)
    )
    return wrong | inner | ((values == 0) & finite & own.nonzero)


def faults(op: ElementwiseOp, kind: Kind, seed: int) -> list[str]:
    """Where the range of a result misses results."""
    random = Random(f"{op.name} {kind} {seed}")
    kinds = [Kind.BOOL if op.selects and not place else kind for place in range(op.arity)]
    given = [drawn_range(random, own) for own in kinds]
    if op.shifts:
        given[1] = whole(0, random.choice((0, 5, 31, 63)))
    found = range_of(op.name, given)
    columns = [numbers_in(random, own, kind) for own, kind in zip(given, kinds, strict=True)]
    dtypes = [torch.bool if k is Kind.BOOL else torch.int64 if k is Kind.INT else torch.float64 for k in kinds]
    drawn = [[random.choice(column) for _ in range(150)] for column in columns]
    args = tuple(torch.tensor(numbers, dtype=dtype) for numbers, dtype in zip(drawn, dtypes, strict=True))
    values = elementwise(op.name, args)
    finite = torch.stack([arg.double().isfinite() & (arg.double().abs() < 6) for arg in args]).all(0)
    if op.result is not Result.REAL and kind is Kind.INT and op.at is not None:
        exact = torch.tensor([abs(op.at(*numbers)) < 2**63 for numbers in zip(*drawn, strict=True)])
        values = values[exact]  # Where the reference wraps, so does the range.
        args, finite = tuple(arg[exact] for arg in args), finite[exact]
    wrong = outside(found, values, finite)
    at = [(*(arg[k].item() for arg in args), values[k].item()) for k in wrong.nonzero().flatten().tolist()[:3]]
    return [f"{given} -> {found}: {at}"] if at else []


KINDS = [(op, kind) for op in ELEMENTWISE.values() for kind in (Kind.REAL, Kind.INT) if kind in op.operands]


@pytest.mark.parametrize(("op", "kind"), KINDS, ids=lambda part: getattr(part, "name", None))
def test_a_range_holds_all_results(op: ElementwiseOp, kind: Kind) -> None:
    assert [fault for seed in range(DRAWN) for fault in faults(op, kind, seed)] == []


WRONG_RULES: dict[str, Any] = {
    "mod": lambda a, b, largest: a,
    "pow": lambda a, b, largest: replace(a.as_real(), low=0.0),
    "bitand": lambda a, b, largest: b,
    "bitor": ranges.conjunction,
    "bitxor": lambda a, b, largest: a,
    "add": lambda a, b, largest: a,
}


@pytest.mark.parametrize("name", WRONG_RULES)
def test_a_wrong_rule_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op = replace(ELEMENTWISE[name], rule=WRONG_RULES[name])
    monkeypatch.setitem(ELEMENTWISE, name, op)
    assert any(faults(op, kind, seed) for kind in (Kind.REAL, Kind.INT) if kind in op.operands for seed in range(DRAWN))


ROUNDED = [(dtype, kind) for dtype in DTYPES.values() if not dtype.packed for kind in (Kind.REAL, Kind.INT)]


def unrounded(dtype: DType, kind: Kind, seed: int) -> list[str]:
    """Where the range of what is rounded to a type misses numbers."""
    random = Random(f"{dtype} {kind} {seed}")
    given = drawn_range(random, kind)
    found = ValueRanges(()).rounded(given, dtype)
    own = torch.int64 if kind is Kind.INT else torch.float64
    numbers = torch.tensor(numbers_in(random, given, kind), dtype=own)
    if dtype.kind is not Kind.REAL:
        numbers = numbers[~numbers.double().isnan()]  # They are no integers.
    values = round_to(numbers, dtype)
    wrong = outside(found, values, torch.tensor(False), exact=True)
    return [f"{given} as {dtype} -> {found}: {numbers[wrong][:3]} is {values[wrong][:3]}"] if wrong.any() else []


@pytest.mark.parametrize(("dtype", "kind"), ROUNDED, ids=str)
def test_a_range_holds_what_is_rounded(dtype: DType, kind: Kind) -> None:
    if dtype.kind is not Kind.BOOL:
        assert [fault for seed in range(DRAWN) for fault in unrounded(dtype, kind, seed)] == []


@pytest.mark.parametrize(
    ("name", "wrong"), [("_moved", lambda end, side, dtype: end), ("floor", ceil), ("ceil", floor)]
)
def test_a_wrong_rounding_is_seen(name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value_ranges, name, wrong)
    assert any(unrounded(*of, seed) for of in ROUNDED if of[0].kind is not Kind.BOOL for seed in range(DRAWN))


def texts() -> dict[str, str]:
    found = {
        f"spec{place}": text for place, text in enumerate([*specs(), *examples(), CONSTRUCTS, CONTRACTIONS, SIGNS])
    }
    return found | {f"random{seed}": random_spec(seed) for seed in range(RANDOM)}


SIGNS = """op f(x: T[M, N], w: f16[N], k: i32[M, N], n: i8) -> (y: f32[M, N], q: f8e4m3[M, N], p: T[M, N],
                                                          r: f32[M, N], c: i32[M, N])
where T in {f16, bf16, f32}:
    scale = maximum(amax(abs(x), over=N), tiny) / max_of(f8e4m3)
    y = x / scale + exp(x - amax(x, over=N)) / sum(exp(x - amax(x, over=N)), over=N) + sqrt(mean(x * x, over=N) + 1)
    q = cast(x / scale, f8e4m3)
    p = where(x > w, sigmoid(cast(x, bf16)) * w, 1 / (1 + x * x)) + amin(x, over=N) - x + cast(k, i8) * n
    r = cast(x * 0.1, f16) - cast(sigmoid(x), i8) + sum(sigmoid(x) * 0.01, over=N)
    c = (k // 3 + k % 7 + index(N)) * maximum(k, 0) + cast(x, i8) - abs(cast(k, i8))
"""

brief = settings(
    max_examples=2,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def reduces_nothing(graph: Graph, call: Case) -> bool:
    """Whether some axis that is reduced or contracted has no elements, of which nothing is said."""
    exprs = (node.expr for node in graph.nodes)
    return any(size(call, expr.axes) == 0 for expr in exprs if isinstance(expr, Reduce | Dot))


def missed(nodes: Sequence[Node | FlowNode], values: dict[int, Tensor], largest: float) -> list[str]:
    known = ValueRanges(nodes, largest=largest)
    wrong = {number: outside(known(number), held, torch.tensor(False)) for number, held in values.items()}
    return [f"%{n} {nodes[n].expr}: {known(n)} has not {values[n][w][:3]}" for n, w in wrong.items() if w.any()]


def check(text: str, monkeypatch: pytest.MonkeyPatch, calls: Sequence[Case] = ()) -> None:
    """That every value of the ops of a text is in its range, in graph and flow: in `calls`, else in drawn ones."""
    held: dict[int, Tensor] = {}
    of_graph, of_flow, numbers = evaluation._value, flows._Walk._array, dict[int, int]()

    def graph_value(graph: Graph, node: Node, *others: Any) -> Any:
        found = of_graph(graph, node, *others)
        held[numbers[id(node)]] = found.tensor
        return found

    def flow_value(walk: Any, number: int) -> Any:
        found = of_flow(walk, number)
        held[number] = found.tensor
        return found

    monkeypatch.setattr(evaluation, "_value", graph_value)
    monkeypatch.setattr(flows._Walk, "_array", flow_value)

    def hold(graph: Graph) -> None:
        wide = any(option.name == "f64" for tensor in graph.tensors for option in tensor.element.options)
        lowered, largest = commute(simplify(graph)), LARGEST_F64 if wide else LARGEST_F32
        flow = resolve_views(simplify(graph)) if buildable(graph) else None

        def holds(call: Case) -> None:
            if reduces_nothing(graph, call):
                return
            arguments = build(graph, call).arguments
            numbers.update({id(node): number for number, node in enumerate(lowered.nodes)})
            held.clear()
            evaluate(lowered, arguments)
            assert not missed(lowered.nodes, held, largest)
            if flow is not None:
                held.clear()
                evaluate_flow(flow, graph, arguments)
                assert not missed(flow.nodes, held, largest)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for call in calls:
                holds(call)
            if not calls:
                brief(given(cases(graph, Budget(rows=4, elements=200)))(holds))()

    for graph in elaborate(load(Source("spec.fuse", text), None)):
        hold(graph)


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in texts().items()])
def test_every_value_of_an_op_is_in_its_range(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(text, monkeypatch)


WRONG: dict[str, tuple[str, Any]] = {
    "what is above its minimum is below": ("_beside_extreme", lambda self, expr: -1 if expr.op == "sub" else 0),
    "every sum has a peak": ("peaks_at", lambda nodes, value, axes: 1.0),
    "a sum is no more than a term": ("total", lambda term, largest: term),
}


PLAIN = [
    Case(op="f", seed=seed, extents={"M": 3, "N": 5}, dtypes={"T": dtype}, scalars={"n": 5})
    for seed, dtype in enumerate(("f32", "f16", "bf16"))
]
"""Calls of `SIGNS` that tell faults. What Hypothesis draws first depends on its version."""


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_range_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong = WRONG[fault]
    place = ValueRanges if hasattr(ValueRanges, name) else value_ranges
    monkeypatch.setattr(place, name, wrong)
    with pytest.raises(AssertionError):
        check(SIGNS, monkeypatch, PLAIN)


def test_calls_that_tell_faults_are_right_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    check(SIGNS, monkeypatch, PLAIN)


def buildable(graph: Graph) -> bool:
    """Whether views of an op are resolved: `segment` and packed types are not."""
    try:
        resolve_views(simplify(graph))
    except SpecError:
        return False
    return True
