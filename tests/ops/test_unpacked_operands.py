"""Products of operands that are stored in fewer bits than they are multiplied in, and unpacked where that is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from compiled import compiled
from torch import Tensor

import generated
from fusec.forcing import SMALL
from fusec.ir.host.schedules import Gemm
from fusec.reference.rounding import torch_dtype
from fusec.runtime import H200
from fusec.runtime import Op as RuntimeOp
from fusec.testing.cases import Case, shape, storage
from fusec.testing.compare import run_and_compare

SPECS = Path(__file__).parents[2] / "specs"

T = "\nwhere T in {f16, bf16}"

FORMS = {
    "i4": f"op f(x: T[M, K], w: i4[N, K], s: f32[N]) -> y: T[M, N]{T}:\n    y = dot(x, w, over=K) * s",
    "u4 less one number": f"op f(x: T[M, K], w: u4[N, K]) -> y: f32[M, N]{T}:\n    y = dot(x, w - 8, over=K)",
    "u4 less a column": (
        f"op f(x: T[..., K], w: u4[N, K], z: u8[N], s: T[N]) -> y: T[..., N]{T}:\n"
        "    y = silu(dot(x, w - minimum(z, 16), over=K) * s)"
    ),
    "groups": (
        f"op f(x: T[M, G*L], w: i4[N, G*L], s: T[N, G]) -> y: T[M, N]{T}, L == 32:\n"
        "    y = sum(dot(x, w, over=L) * s, over=G)"
    ),
    "groups with zeros": (
        "op f(x: T[..., G*L], w: u4[N, G*L], s: f32[G, N], z: u8[G, N] = 8, b: T[N] = 0)\n"
        f"-> y: T[..., N]{T}, L == 64:\n"
        "    y = sum(dot(x, w - minimum(z, 15), over=L) * s, over=G) + b"
    ),
    "groups of any length": (
        f"op f(x: T[M, G*L], w: u4[N, G*L], s: f32[G, N], z: u8[G, N]) -> y: f32[M, N]{T}:\n"
        "    y = sum(dot(x, w - z, over=L) * s, over=G)"
    ),
    "groups of bytes": (
        f"op f(x: T[M, G*L], w: i8[N, G*L], s: T[G, N], z: i8[G, N]) -> y: T[M, N]{T}, L == 32:\n"
        "    y = sum(dot(x, w - z, over=L) * s, over=G)"
    ),
    "zero points that are reals": (
        f"op f(x: T[M, G*L], w: u4[N, G*L], s: T[G, N], z: T[G, N]) -> y: T[M, N]{T}, L == 32:\n"
        "    y = sum(dot(x, w, over=L) * s + sum(x, over=L) * z, over=G)"
    ),
    "i8": f"op f(x: T[M, K], w: i8[N, K], s: f32[N]) -> y: T[M, N]{T}:\n    y = gelu(dot(x, w, over=K) * s)",
    "f8": (
        f"op f(x: T[M, K], w: Q[N, K], s: f32[N]) -> y: T[M, N]{T}, Q in {{f8e4m3, f8e5m2}}:\n"
        "    y = dot(x, w, over=K) * s"
    ),
    "f8 in groups": (
        f"op f(x: T[M, G*L], w: f8e4m3[N, G*L], s: f32[N, G]) -> y: T[M, N]{T}, L == 32:\n"
        "    y = sum(dot(x, w, over=L) * s, over=G)"
    ),
    "i4 by i8": (
        "op f(x: i8[M, K], w: i4[N, K], s: f32[M], t: f32[N]) -> y: bf16[M, N]:\n    y = dot(x, w, over=K) * s * t"
    ),
    "i4 by i8 in groups": (
        "op f(x: i8[M, G*L], w: u4[N, G*L], s: f32[M], t: f32[N, G]) -> y: bf16[M, N]\nwhere L == 64:\n"
        "    y = sum(dot(x, w - 8, over=L) * t, over=G) * s"
    ),
    "i4 by i4": "op f(x: i4[M, K], w: i4[N, K]) -> y: f32[M, N]:\n    y = dot(x, w, over=K)",
    "the few are packed": f"op f(x: i4[M, K], w: T[N, K]) -> y: f32[M, N]{T}:\n    y = dot(x, w, over=K)",
    "two matrices": (
        f"op f(x: T[M, K], g: i4[N, K], u: i4[N, K], s: T[N]) -> y: T[M, N]{T}:\n"
        "    y = silu(dot(x, g, over=K)) * dot(x, u, over=K) * s"
    ),
    "a norm before": (
        f"op f(x: T[M, K], gain: T[K], w: u4[N, K], s: f32[N]) -> y: T[M, N]{T}:\n"
        "    y = dot(rmsnorm(x, gain, 1e-6, over=K), w - 8, over=K, precision=T) * s"
    ),
    "a weight": (
        f"op f(x: T[M, G*L], weight w: i4[N, G*L], weight s: T[G, N]) -> y: T[M, N]{T}, L == 32:\n"
        "    y = sum(dot(x, w, over=L) * s, over=G)"
    ),
    "packed across": f"op f(x: T[M, K], w: i4[K, N]) -> y: T[M, N]{T}:\n    y = dot(x, w, over=K)",
    "batches": f"op f(x: T[B, M, K], w: i4[B, N, K]) -> y: T[B, M, N]{T}:\n    y = dot(x, w, over=K)",
    "f32": "op f(x: f32[M, K], w: i4[N, K]) -> y: f32[M, N]:\n    y = dot(x, w, over=K)",
    "pairs of a row": (
        "op f(x: f32[M, K], w: f32[N, K]) -> y: f32[M, N]:\n    a, b = pairs(x, over=K)\n    c, d = pairs(w, over=K)\n"
        "    y = dot(interleave(b, a, over=K), interleave(c, d, over=K), over=K)"
    ),
}

SIZES = (
    {"M": 1, "N": 40, "K": 96, "G": 3, "L": 32, "B": 2},
    {"M": 17, "N": 24, "K": 130, "G": 2, "L": 22, "B": 1},
    {"M": 3, "N": 18, "K": 34, "G": 1, "L": 6, "B": 3},
    {"M": 70, "N": 16, "K": 16, "G": 5, "L": 8, "B": 1},
)

SHARED = replace(
    SMALL, few_tiles=1 << 10, skinny_block_k=32, unpacked_programs=1 << 10, unpacked_step=32, vector_group_step=64
)
"""A chip of small tiles, several of which share a sum, and of short steps."""


@pytest.mark.parametrize("form", FORMS)
def test_every_plan_of_every_form(form: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(FORMS[form], tmp_path)
    graph = op.program.graph
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    names = {solve.name for solve in graph.solves}
    known = dict(op.program.known)
    for seed, sizes in enumerate(SIZES):
        extents = {name: size for name, size in (sizes | known).items() if name in names}
        dtypes = {each.name: each.options[seed % len(each.options)].name for each in graph.variables}
        omitted = tuple(tensor.name for tensor in graph.tensors if tensor.optional and seed % 2)
        layouts = {"x": "sliced_all_over"} if seed == 1 else {}
        case = Case(
            op=op.name, seed=seed, extents=extents, lead=(sizes["M"],), dtypes=dtypes, layouts=layouts, omitted=omitted
        )
        # TMA takes rows of whole vectors alone.
        for plan in (name for name in own.reaching_names if not name.endswith("tma")):
            with own.forced(plan, SHARED):
                run_and_compare(op.call, op.program.forms, case, device=device)


@pytest.mark.parametrize("form", FORMS)
def test_plans_of_one_tile_read_the_same_operands_unpacked(form: str, tmp_path: Path) -> None:
    """Also the plan whose programs share a tile, else its tile is by the rule for other operands."""
    (op,) = compiled(FORMS[form], tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    assert own.table is not None
    for step in own.table.every():
        assert len({plan.unpacked for plan in step.plans if isinstance(plan, Gemm)}) <= 1


ON_THE_TENSOR_CORE = [
    form
    for form in FORMS
    if form
    not in (
        "f32",
        "groups of any length",
        "pairs of a row",
        "the few are packed",
        "i4 by i4",
        "zero points that are reals",
    )
]


@pytest.mark.parametrize("form", ON_THE_TENSOR_CORE)
def test_the_tensor_core_multiplies_all_but_a_vector(form: str, tmp_path: Path) -> None:
    text = FORMS[form].replace("L == 32", "L == 128").replace("L == 64", "L == 128")
    (op,) = compiled(text, tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    graph = op.program.graph
    names = {solve.name for solve in graph.solves}
    for rows in (1, 3, 16, 17, 64, 129, 1000, 4096):
        sizes = {"M": rows, "N": 2048, "K": 2048, "G": 16, "L": 128, "B": 1}
        extents = {name: size for name, size in sizes.items() if name in names}
        dtypes = {each.name: each.options[-1].name for each in graph.variables}
        case = Case(op=op.name, seed=0, extents=extents, lead=(rows,), dtypes=dtypes)
        tensors = (
            torch.empty(shape(case, each.dims), dtype=torch_dtype(storage(case, each.element)), device="meta")
            for each in graph.tensors
        )
        taken = [step.plan for step in own.decide(*tensors, chip=H200).steps]
        assert taken[-1] in (("gemv", "gemv_loop") if rows == 1 else ("split_k", "swap_ab", "gemm")), (rows, taken)


@pytest.mark.parametrize("form", ["groups", "groups with zeros", "groups of bytes"])
def test_a_vector_meets_as_many_rows_as_leave_work_for_every_sm(form: str, tmp_path: Path) -> None:
    """Their loads are under way for several steps at once."""
    (op,) = compiled(FORMS[form], tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    known = {"M": 1, "G": 64} | dict(op.program.known)
    names = {solve.name for solve in op.program.graph.solves}
    for count in (3, 64, 1024, 4096, 8192):
        extents = {name: size for name, size in (known | {"N": count}).items() if name in names}
        dtypes = {each.name: each.options[-1].name for each in op.program.graph.variables}
        case = Case(op=op.name, seed=0, extents=extents, lead=(1,), dtypes=dtypes)
        tensors = (
            torch.empty(shape(case, each.dims), dtype=torch_dtype(storage(case, each.element)), device="meta")
            for each in op.program.graph.tensors
        )
        (launch,) = own.decide(*tensors, plan="gemv", chip=H200).launches
        rows = int(launch.arguments["BLOCK_N"])
        assert launch.arguments["STAGES"] == H200.vector_group_stages
        assert -(-count // rows) >= H200.sms or rows == min(H200.vector_rows, 1 << (count - 1).bit_length())
        wanted = H200.vector_group_programs if 2 * rows == H200.vector_group_rows else 1
        assert rows == H200.vector_group_rows or -(-count // (2 * rows)) < wanted * H200.sms


WIDER = {
    "i8": "op f(x: T[M, K], weight: i8[N, K]) -> y: T[M, N]\nwhere T in {bf16, f32}:\n    y = dot(x, weight, over=K)",
    "made of 16 bits": (
        "op f(x: T[M, K], gain: T[K], weight: T[N, K]) -> y: T[M, N]\nwhere T in {f16, bf16}:\n"
        "    y = dot(x, gain * weight, over=K)"
    ),
}
"""Operands that are multiplied in f32, as stored or for all types of a caller."""


@pytest.mark.parametrize(("form", "dtype"), [("i8", torch.float32), ("made of 16 bits", torch.float16)])
def test_threads_have_tiles_of_their_own(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """Those of unpacked operands are for tensor cores: threads would have more sums than registers."""
    (op,) = compiled(WIDER[form], tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    for rows in (3, 16, 64, 129, 4096):
        shapes = {"x": (rows, 2048), "gain": (2048,), "weight": (2048, 2048)}
        tensors = tuple(
            torch.empty(
                shapes[each.name], dtype=torch.int8 if (form, each.name) == ("i8", "weight") else dtype, device="meta"
            )
            for each in op.program.graph.tensors
        )
        for plan in ("gemm", "swap_ab"):
            if plan in own.reaching_names and (plan == "gemm" or rows <= H200.skinny):
                launch = own.decide(*tensors, plan=plan, chip=H200).launches[-1]
                sums = int(launch.arguments["BLOCK_M"] or 0) * int(launch.arguments["BLOCK_N"] or 0)
                assert 0 < sums <= H200.thread_block**2, (rows, launch.arguments)


def test_a_weight_of_four_bits_is_kept_as_it_is(tmp_path: Path) -> None:
    """A copy in 16 bits, made once or in every call, would take four times the memory."""
    (op,) = compiled(FORMS["a weight"], tmp_path)
    assert op.program.once is None
    assert all(not partition.holds for partition in op.program.partitions)


def _drawn(kind: str, *shape: int) -> Tensor:
    """Numbers as layers have them, and as they make sums hard."""
    generator = torch.Generator().manual_seed(5)
    normal = torch.randn(shape, generator=generator)
    match kind:
        case "positive":
            return normal.abs()
        case "heavy tails":
            return normal / torch.rand(shape, generator=generator).clamp_min(0.01)
        case "outliers":
            return torch.where(torch.rand(shape, generator=generator) < 0.01, 50 * normal, normal)
        case _:
            return normal


@pytest.mark.parametrize("kind", ["normal", "positive", "heavy tails", "outliers"])
@pytest.mark.parametrize("zeros", [False, True])
def test_int4_linear_is_as_accurate_as_its_weight(kind: str, zeros: bool, tmp_path: Path, device: torch.device) -> None:
    """Beside f64 on the same weight nothing is lost but the rounding of inputs and results."""
    ops = {op.name: op for op in compiled((SPECS / "int4_linear.fuse").read_text(), tmp_path)}
    w = _drawn(kind, 48, 256).bfloat16()
    made = ops["quantize_int4_zeros" if zeros else "quantize_int4"].call(w.to(device))
    q, scale, *rest = (each.cpu() for each in made)
    numbers = torch.stack((q & 15, q >> 4), -1).flatten(1).double()
    zero = rest[0].double() if zeros else torch.full(scale.shape, 8.0, dtype=torch.float64)
    weight = (numbers.unflatten(1, (2, 128)) - zero.T[..., None]) * scale.double().T[..., None]
    step = scale.double().T[..., None] * (0.51 if zeros else 0.502)
    assert bool(((weight - w.double().unflatten(1, (2, 128))).abs() <= step + 1e-30).all())
    for rows in (1, 5, 20):
        x = _drawn(kind, rows, 256).bfloat16()
        y = ops["int4_linear"].call(*(each.to(device) for each in (x, q, scale)), *(each.to(device) for each in rest))
        exact = x.double() @ weight.flatten(1).T
        assert float((y.cpu().double() - exact).norm() / exact.norm()) < 2.0**-8  # half a place of bf16


@pytest.mark.parametrize("name", ["int4_linear", "scaled_mm_int4", "int4_int8_linear", "int8_weight_only_linear"])
def test_ranges_of_integers_reach_their_ends(name: str, device: torch.device) -> None:
    """The largest sums there are: nothing overflows, and what is exact is exact."""
    call = getattr(generated, name)
    k = 256
    ends = torch.tensor([[0x00], [0xFF], [0x88], [0x77], [0xF0]], dtype=torch.uint8).expand(5, k // 2).contiguous()
    if name == "int4_linear":
        x, scale = torch.ones(2, k, dtype=torch.float16), torch.ones(2, 5, dtype=torch.float16)
        zero = torch.tensor([[0, 16, 8, 3, 7]] * 2, dtype=torch.uint8)
        got = call(*(each.to(device) for each in (x, ends, scale, zero))).cpu().double()
        numbers = torch.stack((ends & 15, ends >> 4), -1).flatten(1).double()
        assert torch.equal(got, x.double() @ (numbers - zero[0].double()[:, None]).T)
    elif name == "int8_weight_only_linear":
        w = torch.tensor([-128, 127, 0], dtype=torch.int8)[:, None].expand(3, k).contiguous()
        x = torch.ones(2, k, dtype=torch.bfloat16)
        got = call(x.to(device), w.to(device), torch.ones(3, device=device)).cpu().double()
        assert torch.equal(got, (x.double() @ w.double().T).bfloat16().double())
    else:
        signed = torch.stack((ends & 15, ends >> 4), -1).flatten(1).to(torch.int8)
        signed = torch.where(signed > 7, signed - 16, signed).double()
        a = torch.full((2, k), -128 if name == "scaled_mm_int4" else 1, dtype=torch.int8)
        if name == "scaled_mm_int4":
            one, ones = torch.ones(2, device=device), torch.ones(5, device=device)
            got = call(a.to(device), ends.to(device), one, ones, out_dtype=torch.float32).cpu().double()
            assert torch.equal(got, a.double() @ signed.T)
        else:
            got = call(a.to(torch.float16).to(device), ends.to(device), torch.ones(5, device=device)).cpu().double()
            assert torch.allclose(got, a.double() @ signed.T, rtol=2e-3)
