"""Contractions whose tiles TMA moves: in the tiles that a call chooses, and in several waves of small ones.

On a chip of a few SMs tiles are so small that a few dozen rows need many of them: every program makes several, and the
last ones are a wave of their own, a quarter as large.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from catalogue import Op, all_ops
from compiled import compiled

from fusec.forcing import CHIPS, on_chip, reaches
from fusec.interpreter import interpreting
from fusec.interpreter.programs import shuffled
from fusec.ir.graph import Output, TensorParam
from fusec.ir.host.schedules import GemmTma
from fusec.runtime import Launch
from fusec.runtime.select import call
from fusec.testing.cases import Case, shape
from fusec.testing.compare import hold, run_and_compare
from fusec.testing.metamorphic import check_repeatable
from fusec.testing.watching import watched

SPECS = {
    "a matrix with its rows in the output": """
op f(x: T[M, K], weight w: T[K, N]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = silu(dot(x, w, over=K))
""",
    "two dots that share an operand": """
op f(x: T[M, K], weight gate: T[N, K], weight up: T[N, K]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = silu(dot(x, gate, over=K)) * dot(x, up, over=K)
""",
    "three dots that share an operand": """
op f(x: T[M, K], weight a: T[N, K], weight b: T[N, K], weight c: T[N, K]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = silu(dot(x, a, over=K)) * dot(x, b, over=K) + dot(x, c, over=K)
""",
    "two dots that share nothing": """
op f(x: T[M, K], z: T[M, K], weight a: T[N, K], weight b: T[N, K]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = dot(x, a, over=K) + tanh(dot(z, b, over=K))
""",
    "every kind of operand behind the product": """
op f(x: T[M, K], weight w: T[N, K], by: f32[M], residual: T[M, N], weight bias: T[N] = 0, eps: f32 = 0.5)
  -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = relu(dot(x, w, over=K) * by + bias) * eps + residual
""",
    "a batch": """
op f(a: T[B, M, K], b: T[B, K, N]) -> y: T[B, M, N]
where T in {f16, bf16, f32}:
    y = dot(a, b, over=K)
""",
    "scores of heads that share a key": """
op f(q: T[B, M, Hk*R, K], k: T[B, N, Hk, K]) -> s: f32[B, Hk*R, M, N]
where T in {f16, bf16}, R == 2:
    s = where(index(N) <= index(M), dot(q, k, over=K), -1)
""",
    "leading axes": """
op f(x: T[..., K], weight w: T[N, K], residual: T[..., N]) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = residual + dot(x, w, over=K)
""",
    "halves of what is projected": """
op f(x: T[M, K], weight w: T[N, K]) -> y: T[M, N/2]
where T in {f16, bf16}, N % 2 == 0:
    gate, up = halves(dot(x, w, over=K), over=N)
    y = silu(gate) * up
""",
    "heads that are rotated": """
op f(x: T[M, K], weight w: T[H*D, K], cos: T[M, D], sin: T[M, D]) -> y: T[M, H, D]
where T in {f16, bf16}, D % 2 == 0:
    y = rope(dot(x, w, over=K), cos, sin, over=D)
""",
    "several outputs of other types": """
op f(x: T[M, K], weight w: T[N, K]) -> (y: T[M, N], q: f8e4m3[M, N], i: i8[M, N], z: f32[M, N])
where T in {f16, bf16}:
    z = dot(x, w, over=K)
    y = z
    q = z * 100
    i = cast(z * 100, i8)
""",
    "a cast in between": """
op f(x: T[M, K], weight w: T[N, K], weight gain: T[N]) -> y: T[M, N]
where T in {f16, bf16}:
    y = cast(dot(x, w, over=K), T) * gain
""",
    "a norm before the product": """
op f(x: T[M, K], weight gain: T[K], weight w: T[N, K]) -> y: T[M, N]
where T in {f16, bf16}:
    y = dot(rmsnorm(x, gain, 1e-6, over=K), w, over=K, precision=T)
""",
    "a norm behind the product": """
op f(x: T[M, K], weight w: T[N, K], residual: T[M, N], weight gain: T[N]) -> (y: T[M, N], total: T[M, N])
where T in {f16, bf16}:
    total = cast(residual + dot(x, w, over=K), T)
    y = rmsnorm(total, gain, 1e-6, over=N)
""",
    "a product of a product": """
op f(x: T[M, K], weight up: T[F, K], weight down: T[N, F]) -> y: T[M, N]
where T in {f16, bf16}:
    y = dot(silu(dot(x, up, over=K)), down, over=F, precision=T)
""",
    "a softmax between two products": """
op f(q: T[B, M, K], k: T[B, N, K], v: T[B, N, D]) -> y: T[B, M, D]
where T in {f16, bf16}:
    scores = cast(dot(q, k, over=K) * 0.125, T)
    y = dot(softmax(scores, over=N), v, over=N, precision=T)
""",
}

OTHERS = {"N": 80, "K": 136, "B": 2, "H": 3, "Hk": 2, "R": 2, "D": 16, "F": 48, "Hq": 3, "P": 160, "U": 14}
ROWS = (1, 3, 17, 64, 129)
"""Of one tile at most, of whole tiles, and of a little more."""

BOXABLE = [op for op in all_ops() if reaches("tma", op.program)]


@pytest.fixture(scope="module", params=SPECS)
def op(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Op:
    (only,) = compiled(SPECS[request.param], tmp_path_factory.mktemp("tma"))
    return only


def case(op: Op, rows: int, dtype: str = "bf16", **others: int) -> Case:
    """A call with so many rows, all extents multiples of 8 but theirs."""
    graph = op.program.graph
    extents = {solve.name: {**OTHERS, "M": rows, "S": rows, **others}[solve.name] for solve in graph.solves}
    lead = () if {"M", "S"} & set(extents) else (rows,)
    options = {variable.name: [option.name for option in variable.options] for variable in graph.variables}
    dtypes = {name: dtype if dtype in known else known[0] for name, known in options.items()}
    return Case(op=op.name, seed=rows, extents=extents, lead=lead, dtypes=dtypes)


def moved(launches: list[Launch]) -> set[str]:
    """The tensors that TMA moves."""
    return {name for launch in launches for one in launch.maps.values() for name in one.names}


FREE = {"tile_us": 0.0, "launch_us": 0.0, "start_us": 0.0}
"""Of a chip on which another launch costs nothing: tiles that leave most programs without work are cut in four."""


@contextmanager
def watched_launches(op: Op, programs: int | None = None) -> Iterator[list[Launch]]:
    """Within, TMA is taken wherever it can be, by so many programs, of small tiles then; yields such launches."""
    found: list[Launch] = []

    def launch(*args: object, **parts: object) -> Launch:
        made = Launch(*args, **parts)
        if made.maps:
            found.append(made)
        return made

    small = {"sms": programs, "tma_block_m": 32, "accumulator_columns": 64, "group_m": 2} | FREE if programs else {}
    with on_chip(op.module, replace(CHIPS["tma"], **small)), mock.patch.object(call, "Launch", launch):
        yield found


@pytest.mark.parametrize("rows", ROWS)
def test_results_lie_within_their_bound(op: Op, rows: int, device: torch.device) -> None:
    with watched_launches(op) as launches:
        run_and_compare(op.call, op.program.forms, case(op, rows, "bf16" if rows % 2 else "f16"), device=device)
    assert launches


@pytest.mark.parametrize("programs", [1, 5])
def test_programs_make_tile_after_tile(op: Op, programs: int, device: torch.device) -> None:
    with watched_launches(op, programs) as launches:
        run_and_compare(op.call, op.program.forms, case(op, 67), device=device, order=shuffled(programs))
    assert launches
    assert any(launch.grid[0] < launch.arguments["end"] - launch.arguments["begin"] for launch in launches)


@pytest.mark.parametrize("rows", [3, 129])
@pytest.mark.parametrize("op", BOXABLE, ids=lambda op: op.name)
def test_ops_that_are_shipped(op: Op, rows: int, device: torch.device) -> None:
    with watched_launches(op) as launches:
        run_and_compare(op.call, op.program.forms, case(op, rows, K=144), device=device)  # Also of 8 bits.
    assert launches


@pytest.mark.parametrize("layout", ["misaligned", "stepped", "sliced"])
def test_what_the_copy_engine_cannot_move_is_multiplied_otherwise(op: Op, layout: str, device: torch.device) -> None:
    # A factor that is no argument of the call lies as the op wants it.
    factors = [name for name in ("x", "w", "a", "b", "q", "gate", "up", "k", "v") if name in arguments_of(op)]
    with watched_launches(op) as launches:
        laid = replace(case(op, 5), layouts=dict.fromkeys(factors, layout))
        run_and_compare(op.call, op.program.forms, laid, device=device)
    assert not moved(launches) & {*factors}


def test_extents_that_are_no_multiples_of_16_bytes_are_multiplied_otherwise(op: Op, device: torch.device) -> None:
    with watched_launches(op) as launches:
        run_and_compare(op.call, op.program.forms, case(op, 5, K=69, N=38), device=device)
    assert not launches


def test_nothing_to_add_up_and_nothing_to_make(op: Op, device: torch.device) -> None:
    for empty in (case(op, 3, K=0), case(op, 3, N=0, H=0), case(op, 0)):
        with watched_launches(op) as launches:
            run_and_compare(op.call, op.program.forms, empty, device=device)
        named: tuple[TensorParam | Output, ...] = (*op.program.graph.tensors, *op.program.graph.outputs)
        assert not moved(launches) & {each.name for each in named if 0 in shape(empty, each.dims)}


def test_two_calls_give_the_same_bits(op: Op, device: torch.device) -> None:
    with watched_launches(op, 3) as launches:
        check_repeatable(op.call, op.program.graph, case(op, 67), device)
    assert launches


@pytest.mark.parametrize("order", ["gate first", "up first", "the same one"])
def test_two_weights_may_lie_in_any_order(order: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(SPECS["two dots that share an operand"], tmp_path)
    x, *held = (torch.randn(rows, 136, device=device).bfloat16() for rows in (17, 100))
    first, last = held[0][:40], held[0][60:]
    gate, up = {"gate first": (first, last), "up first": (last, first), "the same one": (last, last)}[order]
    given = {"x": x, "gate": gate, "up": up}
    with watched_launches(op) as launches, watched(given) if interpreting() else nullcontext():
        y = op.call(**given)
    hold({"y": y}, op.program.forms, given)
    assert [len(one.names) for launch in launches for one in launch.maps.values()] == [1, 2, 1]


def arguments_of(op: Op) -> set[str]:
    return {tensor.name for tensor in op.program.graph.tensors}


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ("a matrix with its rows in the output", {"m": "M", "n": "N", "k": "K", "halves": 2}),
        ("three dots that share an operand", {"m": "M", "n": "N", "k": "K", "dots": 3, "beside": 0}),
        ("every kind of operand behind the product", {"m": "M", "n": "N", "k": "K", "halves": 2, "beside": 1}),
        ("heads that are rotated", {"batches": "H", "n": "D/2", "dots": 2, "again": "H", "beside": 4}),
    ],
)
def test_the_table_knows_what_batches_share_and_what_is_read_behind(
    spec: str, made: dict[str, object], tmp_path: Path
) -> None:
    (op,) = compiled(SPECS[spec], tmp_path)
    assert op.program.table is not None
    every = (plan for step in op.program.table.plans.every() for plan in step.plans)
    (plan,) = (plan for plan in every if isinstance(plan, GemmTma))
    assert made.items() <= {each.name: getattr(plan, each.name) for each in fields(plan)}.items()
