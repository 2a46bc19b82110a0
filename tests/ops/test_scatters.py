"""Writes into `mut` tensors under every shape of plan: right where they go, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
import torch
from catalogue import Op
from compiled import compiled
from hypothesis import HealthCheck, Phase, given, settings
from scatter_forms import IN_PLACE, READ_BEFORE, SCATTERS, SUMS

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.forcing import CHIPS, on_chip, reaches
from fusec.interpreter import interpreting
from fusec.interpreter.programs import shuffled
from fusec.ir.expressions import Load
from fusec.passes import pipeline
from fusec.passes.explain.op import explain
from fusec.passes.explain.words import lines
from fusec.runtime.errors import ArgumentError
from fusec.testing.cases import Case, build
from fusec.testing.compare import ResultError, hold, run_and_compare
from fusec.testing.strategies import Budget, cases, reaching

EXAMPLES = int(os.environ.get("FUSEC_EXAMPLES", "3"))
"""Drawn calls per form and shape of plan."""

BUDGET = Budget(rows=12, elements=160, inner=(1, 2, 3, 5, 8, 13, 16, 17, 33, 64, 70))
"""Small calls of several programs: where several values may have one place, a sum takes the square of their number."""

drawn = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


FORMS = {
    f"{kind}: {name}": text
    for kind, table in (("write", SCATTERS), ("in place", IN_PLACE), ("read before", READ_BEFORE), ("sum", SUMS))
    for name, text in table.items()
}


@pytest.fixture(scope="module", params=FORMS)
def op(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Op:
    (only,) = compiled(FORMS[request.param], tmp_path_factory.mktemp("scatter"))
    return only


@pytest.mark.parametrize("shape", CHIPS)
def test_a_write_reaches_its_places_and_no_other(op: Op, shape: str, device: torch.device) -> None:
    if not reaches(shape, op.program):
        pytest.skip("nothing to multiply")

    @drawn
    @given(reaching(shape, op.program.graph, BUDGET))
    def holds(case: Case) -> None:
        with on_chip(op.module, CHIPS[shape]):
            run_and_compare(op.call, op.program.forms, case, device=device, order=shuffled(case.seed))

    holds()


def test_what_several_add_to_is_read_by_the_programs_that_write_it(op: Op) -> None:
    groups = op.program.last.groups if op.program.last else ()
    for stage in (stage for group in groups for plan in group.all_plans() for stage in plan.stages):
        written = {store.target for store in stage.flow.stores}
        nodes = [stage.flow.nodes[number] for number in stage.live]
        loaded = [node for node in nodes if isinstance(node.expr, Load) and node.expr.param in written]
        assert all(set(stage.spread) <= set(node.type.axes) for node in loaded)


def test_the_reference_reads_what_was_there_before(op: Op) -> None:
    graph = op.program.graph

    @settings(drawn, max_examples=5)
    @given(cases(graph, BUDGET))
    def holds(case: Case) -> None:
        before = build(graph, case).arguments
        call = build(graph, case)
        returned = getattr(op.module, f"reference_{graph.name}")(**call.arguments)
        results = () if returned is None else returned if isinstance(returned, tuple) else (returned,)
        made = {output.name: result for output, result in zip(graph.outputs, results, strict=True)}
        made |= {tensor.name: call.buffers[tensor.name].tensor for tensor in graph.tensors if tensor.mutable}
        hold(made, op.program.forms, before)

    holds()


@pytest.mark.parametrize("table", [SCATTERS, IN_PLACE, READ_BEFORE, SUMS], ids=["write", "in place", "read", "sum"])
def test_writes_wait_where_they_have_to_and_nowhere_else(table: dict[str, str]) -> None:
    for name, text in table.items():
        for op in compile_source(Source("written.fuse", text), None):
            assert bool(op.program.last) == (table in (READ_BEFORE, SUMS)), name


@pytest.mark.skipif(not interpreting(), reason="races are seen in the interpreter alone")
@pytest.mark.parametrize("name", [name for name in READ_BEFORE if name != "one row twice over"])
def test_a_read_behind_a_write_is_seen_whatever_values_come_of_it(name: str, tmp_path: Path) -> None:
    """Without the step that waits, these forms are races in some plan, which drawn calls have to find."""
    with mock.patch.object(pipeline, "late_reads", return_value=frozenset()):
        (op,) = compiled(READ_BEFORE[name], tmp_path)
    assert not op.program.last

    @settings(drawn, max_examples=40)
    @given(cases(op.program.graph, Budget(rows=64, elements=4096)))
    def holds(case: Case) -> None:
        for shape in ("rows", "split_rows"):
            with on_chip(op.module, CHIPS[shape]):
                run_and_compare(op.call, op.program.forms, case)

    with pytest.raises(ResultError, match=r"loads .*, which (program|an earlier launch|it has)"):
        holds()


def test_explain_tells_what_is_written_last() -> None:
    texts = {READ_BEFORE["a row copied"]: "elsewhere than it is written", SUMS["rows"]: "first writer of the place"}
    for text, reason in texts.items():
        (one,) = compile_source(Source("written.fuse", text), None)
        assert any("is written last" in line and reason in line for line in lines(explain(one.graph, one.program)))
    (one,) = compile_source(Source("written.fuse", IN_PLACE["a norm"]), None)
    explained = explain(one.graph, one.program)
    assert not any("written last" in line for line in lines(explained))
    moved = {plan.plan.name: (plan.plan.moved, plan.plan.excess) for plan in explained.plans}
    assert moved["resident"] == ("2 x + g + peak", "")
    assert moved["row_loop"] == ("3 x + g + peak", "x")


def test_arguments_that_share_memory_are_refused_in_every_call(tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(IN_PLACE["a sum"], tmp_path)
    base = torch.arange(256.0, device=device)
    x, y = base[:64].view(4, 16), base[64:128].view(4, 16)
    op.call(x, y)
    for wrong in (x, base[32:96].view(4, 16)):
        with pytest.raises(ArgumentError, match="added: `y` shares memory with `x`, which is written in place"):
            op.call(x, wrong)
    op.call(x, y)
    assert torch.equal(x, torch.arange(64.0, device=device).view(4, 16) + 2 * y)
    with pytest.raises(ArgumentError, match="added: `x` is written in place, but some of its elements share memory"):
        op.call(base[:1].expand(4, 16), y)


def test_what_has_no_leading_axes_is_written_once_for_all_walks_over_them(tmp_path: Path, device: torch.device) -> None:
    text = """
op counted(x: T[..., N], mut b: T[N], mut calls: i32[]) -> y: T[..., N]
where T in {f32}:
    y = x * 2
    b[...] = b + sum(b, over=N)
    calls[...] += 1
"""
    (op,) = compiled(text, tmp_path)
    x = torch.randn(3, 5, 7, 9, 4, device=device).permute(3, 1, 0, 2, 4)[::2]
    for shape in ("rows", "split_rows"):
        b, calls = torch.ones(4, device=device), torch.zeros((), dtype=torch.int32, device=device)
        with on_chip(op.module, CHIPS[shape]):
            assert torch.equal(op.call(x, b, calls), x * 2)
        assert (b.tolist(), calls.item()) == ([5.0] * 4, 1)


@pytest.mark.parametrize("layout", ["reversed", "sliced_all_over"])
def test_calls_of_several_walks_are_judged_too(layout: str, tmp_path: Path, device: torch.device) -> None:
    text = "op f(x: T[..., N], mut z: T[..., N]) -> y: f32[..., N]\nwhere T in {f32}:\n    z[...] = z + x\n    y = 3"
    (op,) = compiled(text, tmp_path)
    case = Case(op="f", seed=3, extents={"N": 3}, lead=(2, 3, 2), layouts={"z": layout}, dtypes={"T": "f32"})
    run_and_compare(op.call, op.program.forms, case, device=device)
