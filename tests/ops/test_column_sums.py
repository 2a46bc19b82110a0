"""Results of rows and sums over all rows in one pass: right for any rows, and read once, where that is possible."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.forcing import CHIPS
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.random_run import hold_text

FORMS = {
    "gradients of a norm": """op f(dy: T[..., N], x: T[..., N], w: T[N]) -> (dx: T[..., N], dw: T[N])
where T in {f16, bf16, f32}:
    r = rsqrt(mean(x * x, over=N) + 0.1)
    g = dy * w
    dx = (g - x * r * mean(g * x * r, over=N)) * r
    dw = sum(dy * x * r, over=...)
""",
    "a load of experts, with no result of a row": """op f(x: T[M, E]) -> load: f32[E]
where T in {f16, bf16, f32}:
    load = mean(softmax(x, over=E), over=M)
""",
    "results of rows beside results of columns": """op f(x: T[M, N]) -> (a: f32[M], b: f32[N], c: f32[])
where T in {f16, bf16, f32}:
    a = amax(x, over=N)
    b = amin(x, over=M)
    c = sum(abs(x), over=(M, N))
""",
    "columns that no row needs whole, in blocks": """op f(x: T[M, N], w: T[N]) -> (y: T[M, N], top: T[N], n: i64[N])
where T in {f16, bf16, f32}:
    y = x * w
    top = amax(x, over=M)
    n = sum(where(x > 0, 1, 0), over=M)
""",
    "rows in two axes, heads of each": """op f(x: T[B, S, H, D], w: T[D]) -> (y: T[B, S, H, D], dw: f32[H, D], n: T[D])
where T in {f16, bf16, f32}:
    y = rmsnorm(x, w, 0.1, over=D)
    dw = sum(x * x, over=(B, S))
    n = amax(rmsnorm(x, w, 0.1, over=D), over=(B, S, H))
""",
    "what columns become behind all rows": """op f(x: T[M, N], z: f32[N]) -> (y: T[M, N], w: f32[N], s: f32[])
where T in {f16, bf16, f32}:
    y = softmax(x, over=N)
    w = z * rsqrt(sum(x * x, over=M) + 1)
    s = amax(mean(x, over=M), over=N)
""",
    "an output of other axes behind all rows": """op f(x: T[M, N], z: f32[R]) -> (y: T[M, N], w: f32[R])
where T in {f16, bf16, f32}:
    y = softmax(x, over=N)
    w = z * sum(x * x, over=(M, N))
""",
    "rows written where an index says": """op f(mut x: T[R, N], distinct at: i64[M], z: T[M, N]) -> total: f32[N]
where T in {f16, bf16, f32}:
    x[at] = z - mean(z, over=N)
    total = sum(z, over=M)
""",
}

NOT = {
    "a row that waits for all rows": """op f(x: T[M, N]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = x - mean(x, over=M) - mean(x, over=N)
""",
    "columns alone": """op f(x: T[M, N]) -> y: f32[N]
where T in {f16, bf16, f32}:
    y = sum(x, over=M)
""",
    "reductions behind all rows of what these do not walk": """op f(x: T[M, N]) -> scale: f32[]
where T in {f16, bf16, f32}, R == M:
    r = rsqrt(mean(x * x, over=N) + 1)
    scale = amax(abs(rename(r - mean(r, over=M), M -> R)), over=R)
""",
    "the same behind sums of columns": """op f(x: T[M, N], z: T[R, N]) -> (y: T[M, N], w: f32[])
where T in {f16, bf16, f32}:
    y = softmax(x, over=N)
    w = sum(z * sum(x, over=M), over=(R, N))
""",
    "results of columns along different axes": """op f(x: T[A, B, C]) -> (p: f32[A], q: f32[B], r: f32[C])
where T in {f16, bf16, f32}:
    p = sum(x, over=(B, C))
    q = amax(x, over=(A, C))
    r = mean(x * x, over=(A, B))
""",
    "sums over some of the rows alone": """op f(x: T[B, S, N]) -> (y: T[B, S, N], z: f32[B, N])
where T in {f16, bf16, f32}:
    y = softmax(x, over=N)
    z = sum(x, over=S)
""",
}


@pytest.mark.parametrize("shape", ["column_sums", "resident", "split_rows"])
@pytest.mark.parametrize("form", FORMS)
def test_every_row_counts_once(form: str, shape: str, tmp_path: Path, device: torch.device) -> None:
    assert hold_text(FORMS[form], 1, tmp_path, device, calls=3, shape=shape) == 1


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_read_once(form: str, tmp_path: Path) -> None:
    (op,) = compiled(FORMS[form], tmp_path)
    plan = next(plan for plan in op.program.plans if plan.name == "column_sums")
    columns, combine = op.program.kernels_of(plan)
    assert "x" in columns.pointers or "z" in columns.pointers
    assert not {"x", "dy"} & set(combine.pointers)


def test_columns_of_what_a_function_makes_of_a_product(tmp_path: Path, device: torch.device) -> None:
    """The function is called in the loop over rows, for what is stored there."""
    text = """op f(x: T[M, K], w: T[N, K], b: T[N]) -> (y: T[M, N], top: f32[N])
where T in {f16, bf16, f32}:
    v = dot(x, w, over=K) + b
    y = v
    top = amax(abs(v), over=M)
"""
    (op,) = compiled(text, tmp_path)
    runtime = next(value for name, value in vars(op.module).items() if name.startswith("_OP_"))
    plans = [name for name in runtime.reaching_names if name.endswith("column_sums")]
    assert plans
    case = Case(op="f", seed=1, extents={"M": 9, "N": 17, "K": 5}, dtypes={"T": "f32"})
    for plan in plans:
        with runtime.forced(plan, CHIPS["rows"]):
            run_and_compare(op.call, op.program.forms, case, device=device)


@pytest.mark.parametrize("form", NOT)
def test_what_is_no_row_with_column_sums(form: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(NOT[form], tmp_path)
    assert "column_sums" not in {plan.name for plan in op.program.plans}
    assert hold_text(NOT[form], 1, tmp_path, device, calls=3) == 1


@pytest.mark.parametrize(("rows", "columns"), [(16384, 4096), (4096, 8192), (131072, 128), (7, 4096), (300, 1001)])
def test_programs_share_the_rows(rows: int, columns: int, tmp_path: Path) -> None:
    """No more programs than an SM runs at once, none without rows, and shared memory for the loads under way."""
    (op,) = compiled(FORMS["gradients of a norm"], tmp_path)
    dy, x = (torch.empty(rows, columns, dtype=torch.bfloat16, device="meta") for _ in range(2))
    runtime = next(value for name, value in vars(op.module).items() if name.startswith("_OP_"))
    decision = runtime.decide(dy, x, torch.empty(columns, dtype=torch.bfloat16, device="meta"))
    chip = decision.call.chip
    launch, combine = decision.launches
    warps, at_once = launch.options[0]["num_warps"], launch.arguments["BLOCK_LEAD0"]
    tile = at_once * launch.arguments["BLOCK_N"]
    assert launch.grid == (launch.arguments["SPLITS"],)
    assert (launch.arguments["lead1"], launch.arguments["lead0"]) == (1, rows)
    assert at_once == min(chip.rows_at_once, max(chip.chunk // launch.arguments["BLOCK_N"], 1))
    assert launch.grid[0] <= min(chip.column_warps * chip.sms / warps, 2 * rows / at_once)
    assert warps == max(tile // 1024, 1)
    resident = chip.column_warps // warps
    assert max(resident, 1) * launch.arguments["STAGES"] * tile * 4 <= chip.smem
    assert combine.arguments["SPLITS"] == launch.arguments["SPLITS"]
