"""Rows that begin anywhere, moved as whole vectors: right wherever they begin and end, and counted byte by byte."""

from __future__ import annotations

from collections import Counter
from math import gcd

import pytest
import torch
from catalogue import Op
from compiled import compiled

from fusec import runtime
from fusec.interpreter import interpreting
from fusec.runtime.errors import PlanError
from fusec.runtime.launch import Launch
from fusec.runtime.select.run import Decision
from fusec.runtime.traffic.count import traffic
from fusec.testing.cases import Case, build
from fusec.testing.compare import run_and_compare
from fusec.testing.watching import watched

FORMS = {
    "softmax": ("x: T[M, N]", "y: T[M, N]", "y = softmax(x, over=N)"),
    "layernorm": ("x: T[M, N], w: T[N], b: T[N]", "y: T[M, N]", "y = layernorm(x, w, b, 0.1, over=N)"),
    "wide_gain": ("x: T[M, N], w: f32[N]", "y: T[M, N]", "y = x * w * rsqrt(mean(x * x, over=N) + 0.1)"),
    "narrow_gain": ("x: T[M, N], w: i8[N]", "y: T[M, N]", "y = x * w * rsqrt(mean(x * x, over=N) + 0.1)"),
    "long_gain": ("x: T[M, N], w: i64[N]", "y: T[M, N]", "y = x * w * rsqrt(mean(x * x, over=N) + 0.1)"),
    "two_results": ("x: T[M, N], r: T[M, N]", "t: T[M, N], y: f32[M, N]", "t = x + r\n    y = x / sum(r * r, over=N)"),
    "quantized": (
        "x: T[M, N], w: T[N]",
        "q: f8e4m3[M, N], scale: f32[M]",
        "q, scale = quantize(x * rsqrt(mean(x * x, over=N) + 0.1) * w, f8e4m3, over=N)",
    ),
    "positions": ("x: T[M, N]", "y: T[M, N]", "y = (x - mean(x, over=N)) * index(N)"),
    "outer": ("x: T[M, N], s: T[L, N]", "y: T[L, M, N]", "y = s * x / (0.1 + sum(x * x, over=N))"),
    "left_out": ("x: T[M, N], b: T[M, N] = 0", "y: T[M, N]", "y = x * (1 + b) / (0.1 + sum(x * x + b, over=N))"),
    "in_place": ("mut x: T[M, N], w: T[N]", "", "x[...] = x * w * rsqrt(mean(x * x, over=N) + 0.1)"),
}
SIZES = (1, 3, 8, 61, 264, 515)
"""A row within one vector, whole ones, and rows of which the last tile has all vectors, or no more than an end."""

LAYOUTS = ("contiguous", "misaligned", "sliced", "sliced_all_over")
VECTORS = {"f16": 8, "f32": 4}


def spec() -> str:
    return "\n".join(
        f"op {name}({parameters}){f' -> ({results})' if results else ''}\nwhere T in {{f16, f32}}:\n    {value}\n"
        for name, (parameters, results, value) in FORMS.items()
    )


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Op]:
    return {op.name: op for op in compiled(spec(), tmp_path_factory.mktemp("row_vectors"))}


def runtime_op(op: Op) -> runtime.Op:
    return next(each for each in vars(op.module).values() if isinstance(each, runtime.Op) and each.name == op.name)


def case_of(op: Op, size: int, dtype: str, layout: str = "contiguous") -> Case:
    layouts = {param.name: layout for param in op.program.graph.tensors}
    return Case(op=op.name, seed=size, extents={"M": 3, "N": size, "L": 2}, dtypes={"T": dtype}, layouts=layouts)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f16", "f32"])
@pytest.mark.parametrize("name", FORMS)
def test_rows_are_right_wherever_they_begin(
    ops: dict[str, Op], name: str, dtype: str, layout: str, device: torch.device
) -> None:
    op = ops[name]
    with runtime_op(op).forced("row_vectors"):
        for size in SIZES:
            run_and_compare(op.call, op.program.forms, case_of(op, size, dtype, layout), device=device)


@pytest.mark.parametrize("name", FORMS)
def test_an_optional_tensor_may_be_left_out(ops: dict[str, Op], name: str, device: torch.device) -> None:
    op = ops[name]
    omitted = tuple(param.name for param in op.program.graph.tensors if param.optional)
    if omitted:
        with runtime_op(op).forced("row_vectors"):
            case = Case(op=op.name, seed=1, extents={"M": 3, "N": 61}, dtypes={"T": "f16"}, omitted=omitted)
            run_and_compare(op.call, op.program.forms, case, device=device)


def decided(op: Op, case: Case) -> Decision:
    return runtime_op(op).decide(*build(op.program.graph, case).arguments.values(), plan="row_vectors")


def launch_of(op: Op, case: Case) -> Launch:
    (launch,) = (each for each in decided(op, case).launches if isinstance(each, Launch))
    return launch


@pytest.mark.parametrize("layout", ["stepped", "transposed"])
def test_neighbours_have_to_lie_side_by_side(ops: dict[str, Op], layout: str) -> None:
    op = ops["softmax"]
    with pytest.raises(PlanError, match="the plan `row_vectors` cannot take this call"):
        decided(op, case_of(op, 61, "f16", layout))


@pytest.mark.parametrize("size", [60, 61, 62, 64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", VECTORS)
def test_rows_that_begin_alike_are_told_from_others(ops: dict[str, Op], dtype: str, layout: str, size: int) -> None:
    """Where a row is read at another place of a vector than it is stored at, two vectors are read for each."""
    op, vector = ops["softmax"], VECTORS[dtype]
    case = case_of(op, size, dtype, layout)
    x = build(op.program.graph, case).arguments["x"]
    assert isinstance(x, torch.Tensor)
    alike = all((x.storage_offset() + row * (x.stride(0) - size)) % vector == 0 for row in range(3))
    assert launch_of(op, case).arguments["VECTOR"] == (vector if alike else -vector)


@pytest.mark.skipif(not interpreting(), reason="accesses are seen in the interpreter alone")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FORMS)
def test_all_bytes_are_counted(ops: dict[str, Op], name: str, layout: str) -> None:
    """Those of neighbours that a whole vector has as well, wherever it begins."""
    op = ops[name]
    for dtype, size in (("f16", 61), ("f32", 515)):
        arguments = build(op.program.graph, case_of(op, size, dtype, layout)).arguments
        inputs = {key: value for key, value in arguments.items() if isinstance(value, torch.Tensor)}
        decision = runtime_op(op).decide(*arguments.values(), plan="row_vectors")
        (launch,) = (each for each in decision.launches if isinstance(each, Launch))
        told = traffic(launch, decision.dtypes)
        with runtime_op(op).forced("row_vectors"), watched(inputs, set(inputs)) as memory:
            op.call(**arguments)
        (seen,) = memory.moved
        assert told.is_exact
        for counts, found in ((told.read, seen.read), (told.written, seen.written)):
            named = Counter({key.removesuffix("_ptr"): count for key, count in found.items()})
            assert +Counter(counts) == +named


@pytest.mark.parametrize("name", ["softmax", "layernorm"])
def test_a_row_is_read_once_but_for_the_vectors_at_its_ends(ops: dict[str, Op], name: str) -> None:
    op = ops[name]
    for size in (61, 515):
        decision = decided(op, case_of(op, size, "f16"))
        (launch,) = (each for each in decision.launches if isinstance(each, Launch))
        # 16 bytes for each vector that has any of the row.
        vectors = [(row * size % 8 + size + 7) // 8 for row in range(3)]
        assert traffic(launch, decision.dtypes).read["x"] == 16 * sum(vectors)
        assert gcd(size, 8) == 1


@pytest.mark.parametrize(
    ("rows", "size", "dtype", "taken"),
    [
        (16000, 4001, torch.float16, True),
        (16000, 4000, torch.float16, False),
        (16, 4001, torch.float16, False),
        (16000, 401, torch.float16, False),
        (16000, 40001, torch.float16, False),
    ],
)
def test_many_rows_that_begin_anywhere_are_moved_so(
    ops: dict[str, Op], rows: int, size: int, dtype: torch.dtype, taken: bool
) -> None:
    """Neither few rows, nor short or very long ones, nor such as begin with whole vectors; nor where bits must stay."""
    own, x = runtime_op(ops["softmax"]), torch.empty(rows, size, dtype=dtype, device="meta")
    assert [step.plan == "row_vectors" for step in own.decide(x).steps] == [taken]
    with runtime.batch_invariant():
        assert all(step.plan != "row_vectors" for step in own.decide(x).steps)
