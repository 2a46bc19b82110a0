"""A row in tiles of one size, all in registers: right wherever it ends, and read once."""

from __future__ import annotations

import pytest
import torch
from catalogue import Op
from compiled import compiled

from fusec import runtime
from fusec.runtime.launch import Launch
from fusec.runtime.traffic.count import traffic
from fusec.testing.cases import Case, build
from fusec.testing.compare import run_and_compare

FORMS = {
    "softmax": ("x: T[M, N]", "softmax(x, over=N)"),
    "layernorm": ("x: T[M, N], w: T[N], b: T[N]", "layernorm(x, w, b, 0.1, over=N)"),
    "two_inputs": ("x: T[M, N], r: T[M, N]", "(x + r) * rsqrt(mean((x + r) * (x + r), over=N) + 0.1) * r"),
    "extreme": ("x: T[M, N], w: T[N]", "(x - amin(x * w, over=N)) / (1.0 + sum(x * x, over=N)) * amax(x, over=N)"),
    "shared_twice": ("x: T[M, N], w: T[N]", "x * w / (1.0 + sum(abs(x * w), over=N)) + w"),
}
SIZES = (1, 3, 24, 40, 61, 100, 515)
"""One tile, tiles that fill a row, and rows that end within the last of them."""


def spec() -> str:
    return "\n".join(
        f"op {name}({parameters}) -> y: T[M, N]\nwhere T in {{f16, f32}}:\n    y = {value}\n"
        for name, (parameters, value) in FORMS.items()
    )


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Op]:
    return {op.name: op for op in compiled(spec(), tmp_path_factory.mktemp("row_tiles"))}


def runtime_op(op: Op) -> runtime.Op:
    return next(each for each in vars(op.module).values() if isinstance(each, runtime.Op) and each.name == op.name)


@pytest.mark.parametrize("dtype", ["f16", "f32"])
@pytest.mark.parametrize("name", FORMS)
def test_rows_are_right_wherever_they_end(ops: dict[str, Op], name: str, dtype: str, device: torch.device) -> None:
    op = ops[name]
    with runtime_op(op).forced("row_tiles"):
        for size in SIZES:
            case = Case(op=op.name, seed=size, extents={"M": 3, "N": size}, dtypes={"T": dtype})
            run_and_compare(op.call, op.program.forms, case, device=device)


@pytest.mark.parametrize("size", [61, 64])
@pytest.mark.parametrize("name", ["softmax", "layernorm", "two_inputs"])
def test_rows_are_read_once(ops: dict[str, Op], name: str, size: int) -> None:
    op = ops[name]
    case = Case(op=op.name, seed=0, extents={"M": 3, "N": size}, dtypes={"T": "f32"})
    arguments = build(op.program.graph, case).arguments
    read = {}
    for plan in ("row_tiles", "row_loop"):
        decision = runtime_op(op).decide(*arguments.values(), plan=plan)
        (launch,) = (each for each in decision.launches if isinstance(each, Launch))
        read[plan] = traffic(launch, decision.dtypes).read["x"]
    assert read["row_tiles"] == 4 * 3 * size
    assert read["row_loop"] > read["row_tiles"]
