"""The meaning of graphs against formulas written out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from reference_specs import graphs

from fusec.ir.builder import GraphBuilder
from fusec.ir.expressions import Choose, Const, Input
from fusec.ir.graph import Graph, Node, Output, TensorParam
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS
from fusec.ir.types import BOOL, DTYPES, REAL, Named, ValueType
from fusec.reference.bind import ArgumentError, bind
from fusec.reference.evaluate import evaluate
from fusec.reference.meaning import ELEMENTWISE_MEANING, REDUCTION_MEANING, elementwise

GRAPHS = graphs()
F64 = torch.float64


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal but for the order of f64 operations."""
    return torch.allclose(a, b, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_norm_and_rotation() -> None:
    x, weight, cos, sin = normal(2, 3, 24), normal(24, seed=1), normal(3, 8, seed=2), normal(3, 8, seed=3)
    got = evaluate(GRAPHS["fused_rmsnorm_rope"], {"x": x, "weight": weight, "cos": cos, "sin": sin, "eps": 0.5})["y"]
    n = (x.double() * torch.rsqrt(x.double().square().mean(-1, keepdim=True) + 0.5) * weight).view(2, 3, 3, 8)
    turned = torch.cat((-n[..., 4:], n[..., :4]), -1)
    assert close(got, (n * cos[:, None].double() + turned * sin[:, None].double()).view(2, 3, 24))


def test_scalars_are_rounded_to_their_dtype() -> None:
    x = torch.zeros(1, 4)
    got = evaluate(GRAPHS["rmsnorm"], {"x": x, "weight": torch.ones(4), "eps": 0.0})["y"]
    assert got.isnan().all()
    tiny = evaluate(GRAPHS["rmsnorm"], {"x": x, "weight": torch.ones(4), "eps": 1e-60})["y"]
    assert tiny.isnan().all()  # f32 has no 1e-60


def test_declared_casts_round_and_outputs_do_not() -> None:
    x, weight = normal(3, 16, dtype=torch.bfloat16), normal(16, dtype=torch.bfloat16, seed=1)
    arguments = {"x": x, "weight": weight, "eps": 0.5}
    plain = evaluate(GRAPHS["rmsnorm"], arguments)["y"]
    rounded = evaluate(GRAPHS["rmsnorm_rounded"], arguments)["y"]
    scaled = x.double() * torch.rsqrt(x.double().square().mean(-1, keepdim=True) + 0.5)
    assert close(plain, scaled * weight.double())
    assert close(rounded, scaled.float().bfloat16().double() * weight.double())


def test_parts_products_and_transposed_outputs() -> None:
    a, b, m, d = 3, 2, 4, 6
    x, y, z = normal(m, a * b + 2 + a), normal(m, d, seed=1), normal(m, a, seed=2)
    got = evaluate(GRAPHS["parts"], {"x": x, "y": y, "z": z})
    first, two, last = x.double().split((a * b, 2, a), 1)
    assert close(got["p"], first.view(m, a, b) * last[:, :, None] + two.sum(1)[:, None, None])
    assert close(got["q"], torch.cat((last + z, y.double()), 1))
    assert close(got["r"], torch.stack((y[:, 1::2], -y[:, 0::2]), 2).flatten(1).T.double())
    assert close(got["h"], torch.cat((y[:, 3:] * 2.0, y[:, :3]), 1).double())


def test_axes_align_by_name() -> None:
    x, w, v = normal(2, 15, 4), normal(4, 2, seed=1), normal(5, 3, seed=2)
    got = evaluate(GRAPHS["layouts"], {"x": x, "w": w, "v": v})
    split = x.double().view(2, 3, 5, 4)
    assert close(got["y"], torch.einsum("abcd,da->dabc", split, w.double()).flatten(2) + v.double().T.flatten())
    assert close(got["z"], (split.mean((1, 3)) - split.amin()).T)
    assert close(got["s"], (split * v.double().T[:, :, None]).sum())


def test_leading_axes_may_be_many_or_none() -> None:
    for lead in ((), (3,), (2, 3), (0, 2)):
        x, row, every = normal(*lead, 4, 5), normal(4, seed=1), normal(*lead, seed=2)
        got = evaluate(GRAPHS["leading"], {"x": x, "row": row, "every": every})
        scaled = x.double() * row.double()[:, None]
        assert close(got["y"], (scaled + every.double()[..., None, None]).transpose(-2, -1))
        assert close(got["z"], scaled.sum(-2))
        top = x.double().reshape(-1, 4, 5).amax(0) if x.numel() else torch.full((4, 5), -math.inf, dtype=F64)
        assert close(got["top"], top)


def test_gathers_find_nothing_out_of_range() -> None:
    table, rows = normal(3, 4), normal(3, seed=1)
    at = torch.tensor([[0, 2], [3, -1]])
    got = evaluate(
        GRAPHS["looked_up"],
        {"table": table, "rows": rows, "offsets": torch.tensor([0, 1, 2], dtype=torch.int32), "at": at, "heads": 2},
    )
    assert close(got["a"][0], table.double()[at[0]] * 2)
    assert got["a"][1].isnan().all()
    assert got["c"].tolist() == [0, 1]
    assert got["d"].tolist() == rows.double()[:2].tolist()


def test_segments_skip_empty_ones_and_end() -> None:
    offsets = torch.tensor([1, 1, 3, 4], dtype=torch.int32)
    got = evaluate(
        GRAPHS["looked_up"],
        {"table": normal(1, 2), "rows": normal(4), "offsets": offsets, "at": torch.zeros(6, 0).long(), "heads": 1},
    )
    # Position 0 stands before the first offset, 4 and 5 stand behind the last: offsets[-1] is nothing, offsets[3] is 4.
    assert got["c"].tolist() == [0, 1, 1, 3, 4, 4]


def test_a_paged_cache_is_written_where_it_is_told() -> None:
    graph = GRAPHS["mla_cache_update"]
    n, h, r, latent, page = 3, 2, 4, 5, 2
    cache = normal(3, page, latent + r, dtype=torch.bfloat16, seed=5)
    arguments = {
        "q_rope": normal(n, h, r, dtype=torch.bfloat16),
        "kv": normal(n, latent + r, dtype=torch.bfloat16, seed=1),
        "row_offsets": torch.tensor([0, 2, 3], dtype=torch.int32),
        "cache_lengths": torch.tensor([1, 0], dtype=torch.int32),
        "block_table": torch.tensor([[2, 1], [0, 9]], dtype=torch.int32),
        "freqs": normal(8, r, seed=2),
        "gamma": normal(latent, dtype=torch.bfloat16, seed=3),
        "cache": cache,
    }
    got = evaluate(graph, arguments)["cache"]
    # Request 0 has tokens 0 and 1 at positions 1 and 2: slot 1 of page 2, slot 0 of page 1. Request 1 has token 2.
    written = {(2, 1): 0, (1, 0): 1, (0, 0): 2}
    kv, freqs = arguments["kv"].double(), arguments["freqs"].double()
    for place in ((p, s) for p in range(3) for s in range(page)):
        if place not in written:
            assert close(got[place], cache.double()[place])
            continue
        token = written[place]
        low = kv[token, :latent]
        scaled = low * torch.rsqrt(low.square().mean() + torch.tensor(1e-6).double()) * arguments["gamma"].double()
        cos, sin = freqs[(1, 2, 0)[token]].view(-1, 2).T
        even, odd = kv[token, latent:].view(-1, 2).T
        key = torch.stack((even * cos - odd * sin, odd * cos + even * sin), 1).flatten()
        assert close(got[place], torch.cat((scaled, key)))
    assert torch.equal(arguments["cache"], cache)


def test_grouped_attention_with_batch_axes() -> None:
    q, k, v = (normal(2, s, h, 8, dtype=torch.float16, seed=s) for s, h in ((3, 4), (5, 2), (5, 2)))
    got = evaluate(GRAPHS["attention"], {"q": q, "k": k, "v": v, "scale": 0.25})["o"]
    wide = [t.double().transpose(1, 2) for t in (q, k.repeat_interleave(2, 2), v.repeat_interleave(2, 2))]
    assert close(got, torch.nn.functional.scaled_dot_product_attention(*wide, scale=0.25).transpose(1, 2))


def test_only_the_case_picked_is_evaluated() -> None:
    gate, up = normal(2, 3), normal(2, 3, seed=1)
    for activation, function in (
        ("silu", torch.nn.functional.silu),
        ("gelu", torch.nn.functional.gelu),
        ("gelu_tanh", lambda t: torch.nn.functional.gelu(t, approximate="tanh")),
        ("relu", torch.nn.functional.relu),
    ):
        got = evaluate(GRAPHS["gated_activation"], {"gate": gate, "up": up, "activation": activation})["y"]
        assert close(got, function(gate.double()) * up.double())
    missing = Graph(
        "pick",
        "",
        (TensorParam("x", DTYPES["f32"], ((Named("N"),),), optional=True),),
        (Output("y", DTYPES["f32"], (), 2),),
        _optional_nodes(),
    )
    assert evaluate(missing, {})["y"].item() == 7.0


def _optional_nodes() -> tuple[Node, ...]:
    builder: GraphBuilder = GraphBuilder()
    given = builder.add(Input("x"), ValueType(DTYPES["f32"], (Named("N"),)))
    constant = builder.add(Const(7.0), ValueType(REAL))
    builder.add(Choose("x", (("given", given), ("omitted", constant))), ValueType(REAL))
    return builder.nodes


def test_empty_reductions_give_the_identity() -> None:
    x = torch.zeros(2, 0)
    assert evaluate(GRAPHS["softmax"], {"x": x})["y"].shape == (2, 0)
    scale = evaluate(GRAPHS["quantize_fp8_rows"], {"x": x})["scale"]
    assert close(scale, torch.full((2,), 2.0**-96 / 448, dtype=F64))


def test_integers_divide_downwards_and_by_zero_give_zero() -> None:
    a, b = torch.tensor([-7, -7, 7, 5]), torch.tensor([2, -2, -2, 0])
    assert elementwise("floordiv", (a, b)).tolist() == [-4, 3, -4, 0]
    assert elementwise("mod", (a, b)).tolist() == [1, -1, -1, 0]
    assert elementwise("div", (a, b)).dtype == F64


def test_truth_values_stay_truth_values() -> None:
    yes, no = torch.tensor(True), torch.tensor(False)
    assert elementwise("where", (no, yes, no)).dtype == torch.bool
    assert BOOL.kind.value == "bool"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": None}, "x: expected a tensor"),
        ({"weight": torch.zeros(8, 2)}, "weight: expected 1 dimensions"),
        ({"weight": torch.zeros(9)}, r"weight: expected shape \[H\*D\] = \[8\]"),
        ({"sin": torch.zeros(3, 4, dtype=torch.float16)}, "sin: expected dtype f32 as cos has"),
        ({"cos": torch.zeros(3, 4, dtype=torch.int32)}, "cos: expected dtype f16 or bf16 or f32"),
        ({"cos": torch.zeros(3, 3), "sin": torch.zeros(3, 3)}, r"x: expected shape \[B, S, H\*D\] = \[2, 3, 6\]"),
        ({"eps": "1"}, "eps: expected a number"),
        ({"num_heads": 3}, "num_heads: got 3, the tensors say H = 2"),
        ({"num_heads": 2.0}, "num_heads: expected an integer"),
        ({"extra": 1}, "no parameter 'extra'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    good = {"x": torch.zeros(2, 3, 8), "weight": torch.zeros(8), "cos": torch.zeros(3, 4), "sin": torch.zeros(3, 4)}
    assert bind(GRAPHS["fused_rmsnorm_rope"], good).extents["H"] == 2
    with pytest.raises(ArgumentError, match=message):
        bind(GRAPHS["fused_rmsnorm_rope"], good | changes)


def test_missing_arguments_and_broken_conditions_are_refused() -> None:
    with pytest.raises(ArgumentError, match="needs an argument for 'x'"):
        bind(GRAPHS["softmax"], {})
    with pytest.raises(ArgumentError, match="one of 'silu'"):
        bind(GRAPHS["gated_activation"], {"gate": normal(1), "up": normal(1), "activation": "swish"})
    odd = {"x": torch.zeros(1, 2, 3), "weight": torch.zeros(3), "cos": torch.zeros(2, 3), "sin": torch.zeros(2, 3)}
    with pytest.raises(ArgumentError, match=r"D % 2 == 0 does not hold: D = 3"):
        bind(GRAPHS["fused_rmsnorm_rope"], odd)


def test_every_operation_has_a_meaning() -> None:
    assert ELEMENTWISE_MEANING.keys() == ELEMENTWISE.keys()
    assert REDUCTION_MEANING.keys() == REDUCTIONS.keys()
