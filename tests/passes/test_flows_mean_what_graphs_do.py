"""A flow stores what its graph means: views of views of views, resolved, against the reference, with no kernel between.

A kernel of a wrong flow is wrong however it is built, and a flow is evaluated in milliseconds.
"""

from __future__ import annotations

import warnings
from random import Random

import pytest
import torch
from chained_views import EXTENTS, Chain, chains
from hypothesis import HealthCheck, Phase, given, settings
from reference_specs import CONTRACTIONS, specs

from fusec.diagnostics import Source, SpecError
from fusec.ir.graph import Graph
from fusec.lang.load import load
from fusec.passes.graph.add_up import add_up, shared_sums
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.graph.simplify import simplify
from fusec.passes.partition.postpone import postpone
from fusec.reference.evaluate import evaluate
from fusec.testing.cases import Case, build
from fusec.testing.flows import evaluate_flow
from fusec.testing.random_specs import text as random_spec
from fusec.testing.strategies import Budget, cases

CHAINS = 250
RANDOM = 25

REFUSED = ("apart beside an axis", "apart in two ways", "computed part by part", "already has an axis")
"""What may be said of a chain that is not built: an axis would be in two places, or would need quarters of quarters."""

brief = settings(
    max_examples=3,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def graphs(text: str) -> tuple[Graph, ...]:
    return elaborate(load(Source("spec.fuse", text), None))


def hold(graph: Graph, case: Case) -> None:
    """That the flow of a graph stores what the graph means in one call, or keeps for a last step."""
    summed, arguments = add_up(graph), build(graph, case).arguments
    first = postpone(summed, shared_sums(summed)).first
    found = evaluate_flow(resolve_views(simplify(first)), first, arguments)
    meant, kept = evaluate(graph, arguments), evaluate(first, arguments)
    assert found.keys() == kept.keys()
    for name, values in (kept | {name: meant[name] for name in kept.keys() & meant.keys()}).items():
        assert torch.allclose(found[name].double(), values.double(), rtol=1e-9, atol=1e-12, equal_nan=True), name


def drawn() -> list[Chain]:
    """Every chain of one step, and a sample of those of two and three."""
    longer = [chain for chain in chains(3) if len(chain.lines) > 2]
    return [*chains(1), *Random(7).sample(longer, CHAINS)]


def test_chains_of_views_are_resolved_to_what_they_mean() -> None:
    refused: list[str] = []
    for chain in drawn():
        try:
            (graph,) = graphs(chain.spec)
            hold(graph, Case(op="f", seed=1, extents=EXTENTS))
        except SpecError as error:
            refused.append(f"{error}\n{chain.spec}")
        except Exception as error:
            error.add_note(chain.spec)
            raise
    assert not [text for text in refused if not any(words in text for words in REFUSED)]
    assert len(refused) < CHAINS // 8


@pytest.mark.parametrize("text", [*specs(), CONTRACTIONS, *map(random_spec, range(RANDOM))])
def test_the_flow_of_a_spec_stores_what_it_means(text: str) -> None:
    for graph in graphs(text):

        @brief
        @given(cases(graph, Budget(rows=6, elements=200)))
        def holds(case: Case) -> None:
            hold(graph, case)  # noqa: B023 called in this turn

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            holds()


RENAMED = {
    "a part": """op f(x: f32[N, D], c: f32[N, R + R]) -> y: f32[N, D]
where D == R:
    k, l = split(c, R, R)
    y = x * rename(k, R -> D) + rename(l, R -> D)
""",
    "a reduction of a half": """op f(x: f32[D], t: f32[D/2], y: f32[E]) -> z: f32[E]
where E == D:
    z = rename(x * sum(t, over=D/2), D -> E) * y
""",
    "onto an axis that is reduced inside": """op f(x: f32[D], t: f32[D, E], y: f32[E]) -> z: f32[E]
where E == D:
    z = rename(x * amax(t, over=E), D -> E) * y
""",
    "what is joined": """op f(x: f32[D], t: f32[D/2], y: f32[E]) -> z: f32[E]
where E == D:
    z = rename(x * join(t, -t, over=D), D -> E) * y
""",
    "what was renamed before": """op f(x: f32[D], y: f32[E]) -> z: f32[D, E]
where E == D:
    z = rename(rename(x * index(D), D -> E), E -> D) * y - rename(rename(x, D -> N), N -> E)
""",
    "looked up": """op f(x: f32[P, D], at: i32[E], y: f32[E, M]) -> z: f32[E, M]
where E == D, M == D:
    z = rename(x[at], D -> M) * y - rename(sum(x[rename(at, E -> M)], over=D), M -> E)
""",
}


WRITTEN = {
    "halves at an index along the axis": """op f(x: f32[M, D], at: i32[M, D], mut c: f32[P]) -> y: f32[M, D]
where D % 2 == 0:
    a, b = halves(x, over=D)
    y = join(-b, a, over=D)
    c[at] = y
""",
    "pairs at an index of their own": """op f(x: f32[M, D], at: i32[D], mut c: f32[P, M]):
    a, b = pairs(x, over=D)
    c[at + 1] = interleave(-b, a, over=D)
""",
    "parts at an index along all of them": """op f(x: f32[Q + R], at: i32[Q + R], n: dim(Q), mut c: f32[P]):
    a, b = split(x, Q, R)
    c[at] = concat(-a, b, over=Q + R)
""",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_what_is_written_part_by_part(text: str) -> None:
    (graph,) = graphs(text)
    case = Case(op="f", seed=1, extents={"M": 2, "D": 4, "Q": 3, "R": 3, "P": 40})
    arguments = build(graph, case).arguments
    at = arguments["at"]
    assert isinstance(at, torch.Tensor)
    places = torch.randperm(39, generator=torch.Generator().manual_seed(1))[: at.numel()]
    given = arguments | {"at": places.reshape(at.shape).to(torch.int32)}
    found, meant = evaluate_flow(resolve_views(simplify(graph)), graph, given), evaluate(graph, given)
    assert torch.equal(found["c"], meant["c"])
