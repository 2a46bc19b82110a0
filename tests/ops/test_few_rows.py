"""Products of a few rows: tiles with the rows as columns, each made by one program or shared by several."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from catalogue import Op
from compiled import compiled

from fusec.forcing import CHIPS, NEVER, on_chip
from fusec.ir.host.plans import LIBRARY
from fusec.runtime import H200, Launch
from fusec.runtime import Op as RuntimeOp
from fusec.runtime.select import call
from fusec.runtime.select.gemm import Contraction, skinny_tile
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.metamorphic import check_permuted, check_repeatable

SPECS = {
    "bias": """
op f(x: T[M, K], weight w: T[N, K], weight bias: T[N] = 0) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = dot(x, w, over=K) + bias
""",
    "norm and two dots": """
op f(x: T[M, K], weight gain: T[K], weight gate: T[N, K], weight up: T[N, K]) -> (y: T[M, N], z: f32[M, N])
where T in {f16, bf16, f32}:
    normed = rmsnorm(x, gain, 1e-6, over=K)
    z = dot(normed, up, over=K, precision=T)
    y = silu(dot(normed, gate, over=K, precision=T)) * z
""",
    "batch": """
op f(a: T[B, M, K], b: T[B, K, N]) -> y: T[B, M, N]
where T in {f16, bf16, f32}:
    y = dot(a, b, over=K)
""",
    "leading axes": """
op f(x: T[..., K], weight w: T[N, K], residual: T[..., N]) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = residual + dot(x, w, over=K)
""",
    "several contracted axes": """
op f(x: T[M, A, K], weight w: T[N, A, K]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = dot(x, w, over=(A, K))
""",
    "halves of heads": """
op f(x: T[M, K], weight w: T[H*D, K], cos: T[M, D], sin: T[M, D]) -> y: T[M, H, D]
where T in {f16, bf16, f32}, D % 2 == 0:
    y = rope(dot(x, w, over=K), cos, sin, over=D)
""",
    "pairs in heads": """
op f(x: T[M, K], weight w: T[H*D, K], cos: T[M, D/2], sin: T[M, D/2]) -> y: T[M, H, D]
where T in {f16, bf16, f32}, D % 2 == 0:
    y = rope_interleaved(dot(x, w, over=K), cos, sin, over=D)
""",
}

ROWS = (2, 3, 16, 17, 64)
OTHERS = {"N": 37, "K": 69, "B": 2, "A": 3, "H": 3, "D": 10}
DTYPES = ("f16", "bf16", "f32")
SHARED = {"gemm swapped shared", "combine"}
"""The kernels of a product whose tiles several programs share."""


@pytest.fixture(scope="module", params=SPECS)
def op(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Op:
    (only,) = compiled(SPECS[request.param], tmp_path_factory.mktemp("swap_ab"))
    return only


def case(op: Op, rows: int, dtype: str, **others: int) -> Case:
    """A call with so many rows."""
    extents = {name: {**OTHERS, **others}[name] for name in _names(op) if name != "M"}
    lead = () if "M" in _names(op) else (rows,)
    return Case(op=op.name, seed=rows, extents=extents | ({} if lead else {"M": rows}), lead=lead, dtypes={"T": dtype})


def _names(op: Op) -> list[str]:
    return [solve.name for solve in op.program.graph.solves]


@contextmanager
def shared(op: Op, programs: int, again: int = NEVER) -> Iterator[list[str]]:
    """Within, so many programs share a tile, and a matrix may be read `again`; yields the kernels that are launched."""
    names: list[str] = []

    def launch(kernel: object, *args: object, **parts: object) -> Launch:
        made = Launch(kernel, *args, **parts)
        flags = (
            " swapped" if made.arguments.get("SWAP_AB") else "",
            " shared" if made.arguments.get("SPLIT_K", 1) != 1 else "",
        )
        names.append("".join((made.kernel.__name__, *flags)))
        return made

    chip = replace(CHIPS["swap_ab"], few_tiles=NEVER, most_split_k=programs, most_again=again)
    with on_chip(op.module, chip), mock.patch.object(call, "Launch", launch):
        yield names


def contracting(kernels: list[str]) -> list[str]:
    """Those kernels that contract, whatever they write: a norm before them has a kernel of its own."""
    found = (re.match(r"_f_(gemm|combine)(?:_[yzqk])*((?: swapped)?(?: shared)?)$", name) for name in kernels)
    return ["".join(match.groups()) for match in found if match]


@pytest.mark.parametrize("programs", [1, 2, 4])
@pytest.mark.parametrize("rows", ROWS)
def test_results_lie_within_their_bound(op: Op, rows: int, programs: int, device: torch.device) -> None:
    for dtype in DTYPES if rows == 3 else DTYPES[rows % 3 :][:1]:
        with shared(op, programs) as kernels:
            run_and_compare(op.call, op.program.forms, case(op, rows, dtype), device=device)
        names = set(contracting(kernels))
        assert names == ({"gemm swapped"} if programs == 1 else SHARED)


@pytest.mark.parametrize("layout", ["transposed", "stepped", "sliced_all_over", "misaligned", "broadcast"])
def test_operands_may_lie_in_any_way(op: Op, layout: str, device: torch.device) -> None:
    tensors = [tensor.name for tensor in op.program.graph.tensors]
    for programs in (1, 2):
        laid = replace(case(op, 5, "bf16"), layouts=dict.fromkeys(tensors, layout))
        with shared(op, programs):
            run_and_compare(op.call, op.program.forms, laid, device=device)


def test_nothing_to_add_up_and_nothing_to_make(op: Op, device: torch.device) -> None:
    for empty in ({"K": 0}, {"N": 0, "H": 0}):
        for programs in (1, 4):
            with shared(op, programs):
                run_and_compare(op.call, op.program.forms, case(op, 3, "f32", **empty), device=device)


def test_two_calls_give_the_same_bits(op: Op, device: torch.device) -> None:
    with shared(op, 4) as kernels:
        check_repeatable(op.call, op.program.graph, case(op, 17, "bf16"), device)
        check_permuted(op.call, op.program.graph, case(op, 5, "f32"), device)
    assert "combine" in contracting(kernels)


ONE_MATRIX = SPECS["batch"].replace("b: T[B, K, N]", "b: T[K, N]")
"""A matrix that all batches multiply: their rows are those of one product, where they lie evenly."""


@pytest.mark.parametrize("programs", [1, 4])
@pytest.mark.parametrize(
    ("text", "layout", "swapped"),
    [
        (SPECS["batch"], "sliced_all_over", True),
        (ONE_MATRIX, "contiguous", True),
        (ONE_MATRIX, "misaligned", True),
        (ONE_MATRIX, "sliced_all_over", False),
        (ONE_MATRIX.replace("b: T", "bias: T[B, N], b: T").replace("K)", "K) + bias"), "", False),
        (ONE_MATRIX.replace("over=K)", "over=K) + index(M)"), "", False),
        (ONE_MATRIX.replace("over=K)", "over=K) + B"), "", False),
        (ONE_MATRIX.replace("dot(a, b", "dot(cast(a * (1 + index(B)), T), b"), "", True),
        (ONE_MATRIX.replace("T[B", "T[B + H").replace("b: T", "size: dim(B), b: T"), "", False),
        (ONE_MATRIX.replace("a: T[B, M, K]", "a: T[B, M*K], size: dim(M)"), "", False),
        (ONE_MATRIX.replace("a: T[B, M, K]", "a: T[M, B, K]"), "", False),
        (ONE_MATRIX.replace("a: T[B, M, K]", "a: T[B, M, K], scale: f32[B]").replace("K)", "K) * scale"), "", False),
    ],
)
def test_no_matrix_is_read_again_for_every_batch(
    text: str, layout: str, swapped: bool, programs: int, tmp_path: Path, device: torch.device
) -> None:
    (op,) = compiled(text, tmp_path)
    given = replace(case(op, 3, "f32"), layouts={"a": layout} if layout else {})
    with shared(op, programs, again=1) as kernels:
        run_and_compare(op.call, op.program.forms, given, device=device)
    found = {name.removesuffix(" shared") for name in contracting(kernels)} - {"combine"}
    assert found == {"gemm swapped" if swapped else "gemm"}


PROJECTED = """
op f(x: T[B, S, K], weight w: T[Hq*D + Hk*D, K], cos: T[B, S, D], sin: T[B, S, D], kv_heads: dim(Hk))
    -> (q: T[B, S, Hq, D], k: T[B, S, Hk, D])
where T in {f16, bf16, f32}, D % 2 == 0:
    queries, keys = split(cast(dot(x, w, over=K), T), Hq*D, Hk*D)
    q = rope(queries, cos, sin, over=D)
    k = rope(keys, cos, sin, over=D)
"""


def test_a_projection_of_a_few_rows_is_a_kernel_of_ours(tmp_path: Path) -> None:
    """The kernel behind it is a launch either way."""
    (op,) = compiled(PROJECTED, tmp_path)
    (runtime,) = (found for found in vars(op.module).values() if isinstance(found, RuntimeOp))
    wanted = {
        (1, 1): "gemv",
        (1, 16): "swap_ab",
        (16, 1): "swap_ab",
        (4, 4): "swap_ab",
        (1, 17): LIBRARY,
        (17, 1): LIBRARY,
    }
    for rows, plan in wanted.items():
        shapes = (*rows, 4096), (40 * 128, 4096), (*rows, 128), (*rows, 128)
        given = (torch.empty(shape, dtype=torch.bfloat16, device="meta") for shape in shapes)
        assert runtime.decide(*given, 8, chip=H200).steps[0].plan == plan


@pytest.mark.parametrize(("itemsize", "tf32"), [(1, False), (2, False), (4, False), (4, True)])
@pytest.mark.parametrize("dots_of_a_kernel", [1, 2, 3])
def test_a_tile_is_of_powers_of_two_and_no_program_is_without_steps(
    itemsize: int, tf32: bool, dots_of_a_kernel: int
) -> None:
    for rows in ROWS:
        for inner in (0, 1, 100, 3584, 18944):
            for sides in (1, 40, 3584, 18944):
                contraction = Contraction(1, sides, rows, inner, itemsize, dots_of_a_kernel, tf32=tf32)
                tile = skinny_tile(contraction, H200)
                assert all(size & (size - 1) == 0 and size >= 16 for size in (tile.block_m, tile.block_n, tile.block_k))
                assert tile.splits == 1 or (tile.splits - 1) * tile.block_k < inner
