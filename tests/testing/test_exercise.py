"""Verification runs every kernel of a generated file, and sees a fault in whichever has one."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

sys.path.append(str(Path(__file__).resolve().parents[1] / "ops"))

from catalogue import Op, all_ops
from compiled import compiled, imported

from fusec.forcing import Forcing, forcings
from fusec.interpreter import exact
from fusec.runtime import Op as Registered
from fusec.testing.cases import Case, build
from fusec.testing.compare import run_and_compare
from fusec.testing.exercise import (
    MOST_STEPS,
    Effort,
    Record,
    exercise,
    kernels,
    nothing_run,
    planned,
    reached,
)
from fusec.testing.strategies import reaching

OPS = {op.name: op for op in all_ops()}

FILES = ("rmsnorm", "softmax", "quantize_fp8", "linear")
"""Ops in whose kernels faults are planted: each shape of rows, two stages, and products in every way."""

SPECS = {
    "fixed": "op fixed(x: f32[M, N]) -> y: f32[M]\nwhere N == 8192:\n    y = sum(x, over=N)\n",
    "equal": """
op equal(x: f32[M, D], z: f32[M, R]) -> y: f32[M, D]
where D == R:
    y = x * rename(z, R -> D) - mean(x, over=D)
""",
    "grouped": """
op grouped(x: T[M, G*L], z: T[M, G]) -> (y: T[M, G*L], top: f32[M, G])
where T in {f16, f32}, L == 128:
    top = amax(abs(x), over=L)
    y = x / maximum(top, 1) * z
""",
    "left where one of four axes is empty": """
op left(mut state: f32[B, H, D, E], k: f32[B, H, D], v: f32[B, H, E], q: f32[B, H, D]) -> o: f32[B, H, E]:
    new = state / 2 + k * v
    o = dot(q, new, over=D)
    state[...] = new
""",
    "apart": """
op apart(x: f32[M, N], z: f32[M, K]) -> (a: f32[M, N], b: f32[M, K], c: f32[M])
where N % 16 == 0, K == 3 * N:
    a = x - mean(x, over=N)
    b = z * amax(z, over=K)
    c = sum(x, over=N)
""",
}


SCATTERED = "op scattered(x: f32[..., N]) -> y: f32[N]:\n    y = sum(x, over=...)\n"


def test_a_call_that_is_copied_tells_its_kernels(tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(SCATTERED, tmp_path)
    registered = next(each for each in vars(op.module).values() if isinstance(each, Registered))
    x = torch.ones(2, 3, 4, 5, 6, device=device).permute(3, 1, 0, 2, 4)
    found, programs, _ = planned(registered, op.call, {"x": x})
    with exact():
        assert op.call(x).tolist() == [120.0] * 6
    assert found == kernels(registered) != frozenset()
    assert programs == sum(plan.programs for plan in registered.plans) > 0


def test_a_call_of_one_long_loop_comes_last(tmp_path: Path, device: torch.device) -> None:
    """A single program of thousands of steps takes the interpreter longer than all other calls."""
    text = "op far(x: f32[M, N]) -> y: f32[M]:\n    y = sum(x, over=N)\n"
    (op,) = compiled(text, tmp_path)
    registered = next(each for each in vars(op.module).values() if isinstance(each, Registered))
    with Forcing("row_loop").of(registered), nothing_run():
        _, programs, steps = planned(registered, op.call, {"x": torch.ones(1, 1 << 22, device=device)})
    assert programs == 1
    assert steps > MOST_STEPS


@pytest.mark.parametrize("name", OPS)
def test_every_kernel_of_the_shipped_ops_is_reached(name: str, device: torch.device) -> None:
    op = OPS[name]
    names = {kernel.name for kernel in op.program.kernels}
    found = reached(op.module, op.program, device, 12)
    assert names - found == set() or names - reached(op.module, op.program, device, 40) == set()


@pytest.mark.parametrize(("plan", "kind"), [
    (None, "rows"),
    ("gemv q.row_loop", "rows"),
    ("library", "library"),
    ("library q.row_loop", "library"),
    ("tma", "tma"),
    ("y.roles", "tma"),
    ("split_k q.rows", "tma"),
])  # fmt: skip
def test_calls_are_drawn_for_what_a_plan_multiplies_by(plan: str | None, kind: str) -> None:
    assert Forcing(plan).kind == kind


@pytest.mark.parametrize("name", ["rmsnorm_fp8_linear", "fp8_gated_mlp_quantized", "scaled_mm_int8"])
def test_calls_that_are_drawn_for_a_plan_reach_it(name: str, device: torch.device) -> None:
    """Of few calls some have extents that TMA moves, or that the library takes, whatever operands have in bits."""
    op = OPS[name]
    registered = next(each for each in vars(op.module).values() if isinstance(each, Registered) and each.name == name)
    ways = [way for way in forcings(registered) if way.kind != "rows"]
    assert {way.kind for way in ways} == {"tma", "library"}
    drawn: dict[str, list[Case]] = {"tma": [], "library": []}
    for kind, cases in drawn.items():
        _draw(reaching(kind, op.program.graph), cases)
    for way in ways:
        with way.of(registered), nothing_run():
            calls = (build(op.program.graph, case, device).arguments for case in drawn[way.kind])
            assert any(planned(registered, op.call, call)[0] for call in calls), way.plan


def _draw(strategy: SearchStrategy[Case], cases: list[Case]) -> None:
    @settings(max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(case: Case) -> None:
        cases.append(case)

    collect()


@pytest.mark.parametrize("name", SPECS)
def test_every_kernel_of_odd_specs_runs(name: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(SPECS[name], tmp_path)
    record = Record()
    exercise(op.module, op.program, Effort(own=1, each=1, planned=20), device, record)
    assert record.worst.keys() == {kernel.name for kernel in op.program.kernels}
    assert max(record.worst.values()) <= 1
    assert record.share is not None
    assert record.share > 0.5


def stores(text: str) -> dict[str, list[ast.expr]]:
    """The values that each kernel of a file stores, itself or in functions that it calls, by its name."""
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}

    def stored(name: str) -> list[ast.expr]:
        calls = [node for node in ast.walk(functions[name]) if isinstance(node, ast.Call)]
        called = {call.func.id for call in calls if isinstance(call.func, ast.Name)} & functions.keys()
        own = [(call.func.attr, call.args) for call in calls if isinstance(call.func, ast.Attribute)]
        # A tile of a row is stored at offsets, which stand before what is stored.
        found = [arguments[2] for attribute, arguments in own if attribute == "store_row"]
        found += [arguments[1] for attribute, arguments in own if attribute == "store" or "atomic" in attribute]
        return found + [value for each in sorted(called) for value in stored(each)]

    return {name: stored(name) for name, node in functions.items() if node.decorator_list}


def planted(text: str, values: list[ast.expr]) -> str:
    """The file in which twice these less a thousand is stored: no shift that softmax forgives.

    In f32, for a GPU has no arithmetic on 8 bits.
    """
    lines = text.splitlines(keepends=True)
    for value in sorted(values, key=lambda value: (value.lineno, value.col_offset), reverse=True):
        assert value.end_lineno is not None
        assert value.end_col_offset is not None
        line = lines[value.end_lineno - 1]
        lines[value.end_lineno - 1] = _inserted(line, value.end_col_offset, ").to(tl.float32) * 2 - 1000)")
        lines[value.lineno - 1] = _inserted(lines[value.lineno - 1], value.col_offset, "((")
    return "".join(lines)


def _inserted(line: str, place: int, text: str) -> str:
    return line[:place] + text + line[place:]


def places() -> list[tuple[str, str]]:
    return [(name, kernel.name) for name in FILES for kernel in OPS[name].program.kernels]


@pytest.mark.parametrize(("name", "kernel"), places())
def test_a_fault_in_any_kernel_is_seen(name: str, kernel: str, tmp_path: Path, device: torch.device) -> None:
    op: Op = OPS[name]
    text = Path(str(op.module.__file__)).read_text()
    values = stores(text)[kernel]
    assert values
    module = imported(planted(text, values), tmp_path)
    record = Record()
    with exact(), pytest.raises(AssertionError):
        exercise(module, op.program, Effort(own=0, each=2, planned=12, smaller=0), device, record)
    assert record.worst[kernel] == float("inf")


def test_every_kernel_runs_with_results_of_the_most_digits(device: torch.device) -> None:
    """In 16 bits one value of softmax is right, and no kernel is off at all."""
    op: Op = OPS["softmax"]
    record = Record()
    with exact():
        exercise(op.module, op.program, Effort(own=4, each=3), device, record)
    assert record.worst.keys() == {kernel.name for kernel in op.program.kernels}
    assert all(0 < worst < 1 for worst in record.worst.values())


def test_kernels_that_are_exercised_elsewhere_run_once(device: torch.device) -> None:
    op: Op = OPS["linear_residual"]
    names = {kernel.name for kernel in op.program.kernels}
    elsewhere = {name for name in names if "combine" in name or "row_loop" in name}
    records = Record(), Record()
    for record, known in zip(records, (frozenset[str](), elsewhere), strict=True):
        exercise(op.module, op.program, Effort(own=0, each=3, planned=24, long=(256,)), device, record, known)
        assert record.worst.keys() == names
    assert elsewhere
    assert sum(records[1].calls.values()) < sum(records[0].calls.values())
    assert all(records[1].calls[name] >= 3 for name in names - elsewhere)


def test_a_fault_is_shown_by_a_small_call(tmp_path: Path, device: torch.device) -> None:
    op: Op = OPS["rmsnorm"]
    text = Path(str(op.module.__file__)).read_text()
    module = imported(planted(text, stores(text)["_rmsnorm_rows"]), tmp_path)
    with pytest.raises(AssertionError, match=r"extents=\{'N': 1\}"):
        exercise(module, op.program, Effort(own=1, each=1), device, Record())


def test_outputs_of_leading_axes_that_do_not_join_are_watched_whole(tmp_path: Path, device: torch.device) -> None:
    """Such rows are launched in several walks, of which all but the first get pointers into the middle of an output."""
    text = "op walked(x: f32[..., N]) -> y: f32[..., N]:\n    y = x - mean(x, over=N)\n"
    (op,) = compiled(text, tmp_path)
    case = Case(op="walked", seed=1, extents={"N": 13}, lead=(3, 2, 2), layouts={"x": "reversed"})
    assert run_and_compare(op.call, op.program.forms, case, device=device).ratio <= 1
