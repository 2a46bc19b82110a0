"""Graph passes rewrite what an op computes and never change it: the results before and after are the same numbers.

Two graphs that mean the same have the same exact result, and the error bound of each encloses it, so the two intervals
meet. In f64 they are a few units in the last place wide. Along an axis of no elements a factor may be the mean of
nothing, and is not held to leave a reduction as if it had not been there.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from reference_specs import CONSTRUCTS, CONTRACTIONS, examples, specs

from fusec.diagnostics import InternalError, Source
from fusec.ir.expressions import Const, Dot, Reduce
from fusec.ir.graph import DTypeParam, Graph
from fusec.ir.verify import verify_graph
from fusec.lang.load import load
from fusec.numerics.envelope import envelope
from fusec.numerics.interval import Interval
from fusec.passes.graph.commute import commute
from fusec.passes.graph.defer import defer
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.factor import Product, product
from fusec.passes.pipeline import GRAPH_STEPS
from fusec.testing.cases import Case as Call
from fusec.testing.cases import build, size
from fusec.testing.golden import Case
from fusec.testing.random_specs import text as random_spec
from fusec.testing.strategies import Budget, cases

RANDOM = 15
CASES = sorted(Path(__file__).parent.glob("*/*.case"))

brief = settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def texts() -> dict[str, str]:
    found = {f"{path.parent.name}-{path.stem}": Case.read(path).sections["spec.fuse"] for path in CASES}
    found |= {f"spec{place}": text for place, text in enumerate([*specs(), *examples(), CONSTRUCTS, CONTRACTIONS])}
    return found | {f"random{seed}": random_spec(seed) for seed in range(RANDOM)}


def in_f64(text: str) -> str:
    """The spec with the type variables of reals as f64, so that bounds are as narrow as they get.

    Not those that only tensors with a default have, of which a spec with f64 is refused: nothing always tells them.
    """
    program = load(Source("spec.fuse", text), None)
    for op, graph in reversed([*zip(program.file.ops, elaborate(program), strict=True)]):
        told = {str(tensor.element) for tensor in graph.tensors if not tensor.optional}
        told |= {param.variable.name for param in graph.params if isinstance(param, DTypeParam)}
        own = text[op.span.start : op.span.end]
        for name in told:
            own = re.sub(rf"\b{name} in \{{[^}}i]*\}}", f"{name} in {{f64}}", own)
        own = re.sub(r"(dtype\([A-Z]\w*\)) = [fb]\w+", r"\1 = f64", own)
        text = text[: op.span.start] + own + text[op.span.end :]
    return text


def differ(one: Interval, other: Interval) -> torch.Tensor:
    """Where two intervals have no number in common. What is no number in both meets.

    A factor that is infinite leaves a sum infinite, which with it is the NaN of infinities of both signs.
    """
    meet = (one.low <= other.high) & (other.low <= one.high)
    meet |= ~(one.value.isfinite() | other.value.isfinite())
    return ~(meet | one.unknown | other.unknown)


def reduces_nothing(graph: Graph, call: Call) -> bool:
    """Whether some axis that is reduced or contracted has no elements."""
    exprs = (node.expr for node in graph.nodes)
    return any(size(call, expr.axes) == 0 for expr in exprs if isinstance(expr, Reduce | Dot))


def differs(one: Graph, other: Graph) -> bool:
    """Whether two graphs are not the same text; 1 equals 1.0 and 0.0 equals -0.0, but are written differently."""
    return one != other or [repr(node.expr) for node in one.nodes] != [repr(node.expr) for node in other.nodes]


def check(graph: Graph) -> None:
    """What each step made another graph of still means the same; of equal graphs there is nothing to ask."""
    rewrites = []
    form = graph
    for step in GRAPH_STEPS:
        made = step(form)
        verify_graph(made, step.__name__)
        if differs(made, form):
            rewrites.append((step, made))
        form = made

    @brief
    @given(cases(graph, Budget(rows=4, elements=300)))
    def holds(call: Call) -> None:
        arguments = build(graph, call).arguments
        before = envelope(graph, arguments)
        for step, made in rewrites:
            after = envelope(made, arguments)
            assert before.keys() == after.keys()
            if not (step in (commute, defer) and reduces_nothing(graph, call)):
                wrong = [name for name in before if differ(before[name], after[name]).any()]
                assert not wrong, f"{step.__name__} changes {wrong} of {call!r}"
            before = after

    if not rewrites:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        holds()


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in texts().items()])
def test_meaning_is_kept(text: str) -> None:
    for form in dict.fromkeys((text, in_f64(text))):
        for graph in elaborate(load(Source("spec.fuse", form), None)):
            check(graph)


WRONG: dict[str, tuple[str, object]] = {
    "the sign of a factor is taken for granted": (
        "fusec.passes.graph.commute._Facts.is_positive",
        lambda self, value: True,
    ),
    "every factor may leave": ("fusec.passes.graph.commute._Factoring._movable", lambda self, value: True),
    "a mean is a sum": ("fusec.passes.graph.simplify.Extent", lambda axes: Const(1)),
    "a power has one factor too few": ("fusec.passes.graph.simplify.range", lambda count: range(count - 1)),
    "what leaves a dot is lost": ("fusec.passes.graph.defer._times", lambda builder, value, factor, source: value),
    "a dot loses its sign": ("fusec.passes.graph.deferral.product", lambda *given: Product(product(*given).factors)),
}

SEEN_IN = """op f(x: T[M, N], w: T[M, N]) -> (a: f32[M], b: f32[M], c: f32[M], d: T[M, N],
                                 e: f32[M], g: f32[M])
where T in {f32}:
    s = sum(x, over=N)
    a = amax(x * s, over=N)
    b = sum(x * exp(w), over=N)
    c = mean(x, over=N)
    d = x ** 3
    e = dot(x * s, w, over=N)
    g = dot(-x, w, over=N)
"""


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_rewrite_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, wrong = WRONG[fault]
    monkeypatch.setattr(place, wrong, raising=False)
    (graph,) = elaborate(load(Source("spec.fuse", SEEN_IN), None))
    with pytest.raises((AssertionError, InternalError)):
        check(graph)
