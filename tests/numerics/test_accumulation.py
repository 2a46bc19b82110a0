"""The bound of sums: right ways to add up are within, on whatever unit and in whatever order, and poor ones are not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import inf

import pytest
import torch
from bounded_specs import graph_of
from torch import Tensor

from fusec.ir.types import DTYPES
from fusec.numerics.accumulation import EACH, LONG, THREADS, tensor_core
from fusec.numerics.check import check
from fusec.numerics.envelope import envelope
from fusec.reference.rounding import TORCH_DTYPES, round_to
from fusec.testing.values import draw

DOT = "op f(x: {t}[M, K], w: {t}[N, K]) -> y: {out}[M, N]:\n    y = dot(x, w, over=K)"

read = cache(graph_of)
"""The graph of a spec."""

UNITS = {"sm_80": (8, 24), "sm_90": (16, 25)}
"""How many products a tensor core adds at once, and how many bits it keeps behind the exponent of the largest."""


def exponents(values: Tensor, least: int) -> Tensor:
    found = torch.frexp(values).exponent - 1
    return torch.where(values == 0, -(1 << 20), found.clamp(min=least))


def multiplied(x: Tensor, w: Tensor, unit: str, least: int) -> Tensor:
    """`x @ w.T` as a tensor core makes it, from operands whose least normal number is 2**least."""
    width, bits = UNITS[unit]
    total = torch.zeros(x.shape[0], w.shape[0], dtype=torch.float64)
    for a, b in zip(x.double().split(width, 1), w.double().split(width, 1), strict=True):
        products = a[:, None] * b
        marks = torch.where(products == 0, -(1 << 20), exponents(a, least)[:, None] + exponents(b, least))
        mark = torch.maximum(marks.amax(-1), exponents(total, -1000)).clamp(min=-900)
        place = torch.exp2((mark - bits).double())
        whole = ((products / place[..., None]).trunc().sum(-1) + (total / place).trunc()) * place
        last = torch.exp2((torch.frexp(whole).exponent - 24).double())
        total = torch.where(whole == 0, whole, (whole / last).trunc() * last)
    return total.float()


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kinds", ["normal normal", "tiny huge", "positive positive", "outlier tiny", "tiny normal"])
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_what_matrix_units_cut_off_is_within(dtype: str, kinds: str, unit: str) -> None:
    """Products of subnormal numbers of f16 are cut off as if these were not small: up to 10 bits earlier."""
    generator = torch.Generator().manual_seed(11)
    for rows, inner, columns in ((40, 72, 60), (24, 9, 24), (8, 640, 8)):
        shapes = ((rows, inner), (columns, inner))
        x, w = (draw(kind, shape, DTYPES[dtype], generator) for kind, shape in zip(kinds.split(), shapes, strict=True))
        random = not {"tiny", "huge", "outlier"} & set(kinds.split())
        result = multiplied(x, w, unit, -14 if dtype == "f16" else -126)
        for out in ("f32", dtype):
            bound = envelope(read(DOT.format(t=dtype, out=out)), {"x": x, "w": w}, random)["y"]
            assert check(bound, result.to(TORCH_DTYPES[out])).passes


def nearest(values: Tensor) -> Tensor:
    return values.float().double()


def in_a_chain(terms: Tensor, rounded: Callable[[Tensor], Tensor] = nearest, step: int = 1) -> Tensor:
    """One sum after another of so many terms, each rounded."""
    total = torch.zeros_like(terms[..., 0])
    for part in terms.split(step, -1):
        total = rounded(total + part.sum(-1))
    return total


def by_lanes(terms: Tensor) -> Tensor:
    """Every 32nd term is one lane's; lanes are added in pairs."""
    rest = -terms.shape[-1] % 32
    lanes = in_a_chain(torch.nn.functional.pad(terms, (0, rest)).unflatten(-1, (-1, 32)).mT)
    while lanes.shape[-1] > 1:
        lanes = nearest(lanes[..., ::2] + lanes[..., 1::2])
    return lanes[..., 0]


def by_programs(terms: Tensor) -> Tensor:
    """Eight programs take turns at 16 terms each."""
    parts = [terms.unflatten(-1, (-1, 16))[..., first::8, :].flatten(-2) for first in range(8)]
    return in_a_chain(torch.stack([in_a_chain(part) for part in parts], -1))


def drawn(name: str, generator: torch.Generator) -> Tensor:
    """Products, as different as those of drawn operands can be."""
    normal = torch.randn(32, 1024, generator=generator, dtype=torch.float64)
    steps = torch.arange(1024, dtype=torch.float64)
    terms = {
        "normal": normal,
        "positive": normal.abs(),
        "around a mean": normal + 3,
        "few of them": torch.where(normal > 1.5, normal, 0.0),
        "half 0": normal.relu(),
        "of every size": normal * (4 * normal.flip(0)).exp(),
        "a wave": torch.cos(steps / 150) * (1 + normal / 10),
        "in order": normal.sort(-1).values,
        "fading": normal.abs() * torch.exp(-steps / 100),
        "alike": torch.where(normal > 0, 0.1, 0.7),
        "one again and again": normal[:, :1].expand_as(normal),
    }
    return nearest(terms[name])


KINDS = (
    *("normal", "positive", "around a mean", "few of them", "half 0", "of every size", "a wave", "in order"),
    *("fading", "alike", "one again and again"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_random_sums_are_within_in_any_order(kind: str) -> None:
    terms = drawn(kind, torch.Generator().manual_seed(5))
    within, exact = THREADS.within(terms), terms.sum(-1)
    for total in (in_a_chain, by_lanes, by_programs):
        assert ((total(terms) - exact).abs() <= within).all()
    assert within.isinf().all() == (kind in ("alike", "one again and again"))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", KINDS)
def test_random_sums_of_a_matrix_unit_are_within(kind: str, unit: str) -> None:
    terms = drawn(kind, torch.Generator().manual_seed(5))
    adder = tensor_core("exact", 2.0**-126)
    for ordered in (terms, terms[:, torch.randperm(1024, generator=torch.Generator().manual_seed(6))]):
        total = multiplied(ordered, torch.ones(1, 1024), unit, -126)[:, 0].double()
        bound = adder.within(ordered) + EACH * adder.unit * ordered.abs().sum(-1) + total.abs() * THREADS.unit
        assert ((total - ordered.sum(-1)).abs() <= bound).all()


def test_the_bound_of_random_sums_is_that_of_a_few_roundings() -> None:
    """Of numbers that cancel it is a small part of the bound in any order, which looks at sizes alone."""
    for kind, share in (("normal", 0.03), ("positive", 0.25)):
        terms = drawn(kind, torch.Generator().manual_seed(5))
        anyhow = terms.shape[-1] * THREADS.unit * terms.abs().sum(-1)
        assert (THREADS.within(terms) < share * anyhow).all()
        assert (tensor_core("exact", 2.0**-14).within(terms) < 7 * share * anyhow).all()


def test_short_sums_have_none() -> None:
    terms = torch.randn(3, LONG - 1, dtype=torch.float64)
    assert THREADS.within(terms).tolist() == [inf] * 3
    assert THREADS.within(terms[:0]).shape == (0,)


def in_tf32(values: Tensor) -> Tensor:
    return ((values.float().view(torch.int32) + 2**12) & -(2**13)).view(torch.float32).double()


def rounding(dtype: str) -> Callable[[Tensor], Tensor]:
    return lambda values: round_to(values, DTYPES[dtype])


POOR: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], tuple[str, ...]]] = {
    "operands in tf32": (in_tf32, lambda terms: in_a_chain(terms, step=8), ("f32",)),
    "sums in bf16": (nearest, lambda terms: in_a_chain(terms, rounding("bf16"), 64), ("f32", "bf16", "f16")),
    "sums in f16": (nearest, lambda terms: in_a_chain(terms, rounding("f16"), 64), ("f32", "f16")),
    "no rest": (nearest, lambda terms: in_a_chain(terms[..., :-3], step=8), ("f32", "f16")),
}


@pytest.mark.parametrize("kind", ["normal", "positive"])
@pytest.mark.parametrize("name", POOR)
def test_sums_of_4096_with_fewer_digits_or_terms_are_outside(name: str, kind: str) -> None:
    taken, total, dtypes = POOR[name]
    for dtype in dtypes:
        generator = torch.Generator().manual_seed(9)
        x, w = (draw(kind, (8, 4099), DTYPES[dtype], generator) for _ in range(2))
        bound = envelope(read(DOT.format(t=dtype, out=dtype)), {"x": x, "w": w}, True)["y"]
        right = in_a_chain(x.double()[:, None] * w.double(), step=8)
        assert check(bound, right.to(TORCH_DTYPES[dtype])).passes
        poor = total(taken(x.double())[:, None] * taken(w.double()))
        assert not check(bound, poor.to(TORCH_DTYPES[dtype])).passes, dtype


@pytest.mark.parametrize("each", [4, 32])
@pytest.mark.parametrize("out", ["f16", "f32"])
@pytest.mark.parametrize("kind", ["normal", "positive"])
def test_sums_in_f16_are_outside_however_few_each_thread_adds(kind: str, out: str, each: int) -> None:
    """They lie off by a few numbers of f16 then: results that are one number off are told where others are nearer."""
    rounded = rounding("f16")
    for inner in (1024, 4096, 8192):
        generator = torch.Generator().manual_seed(3)
        x, w = (draw(kind, (16, inner), DTYPES["f16"], generator) for _ in range(2))
        bound = envelope(read(DOT.format(t="f16", out=out)), {"x": x, "w": w}, True)["y"]
        sums = in_a_chain(rounded(x.double()[:, None] * w.double()).unflatten(-1, (-1, each)), rounded)
        while sums.shape[-1] > 1:
            sums = rounded(sums[..., ::2] + sums[..., 1::2])
        assert check(bound, sums[..., 0].to(TORCH_DTYPES[out])).violations > 256 // 20


@pytest.mark.parametrize("kind", ["normal", "positive"])
def test_a_norm_before_a_dot_does_not_hide_tf32(kind: str) -> None:
    """What a row is divided by is a long sum as well, and in doubt for all of the row at once."""
    graph = graph_of(
        "op f(x: f32[M, K], g: f32[K], w: f32[N, K]) -> y: f32[M, N]:\n"
        "    y = dot(rmsnorm(x, g, 1e-6, over=K), w, over=K)"
    )
    generator = torch.Generator().manual_seed(2)
    x, w, g = (draw(kind, shape, DTYPES["f32"], generator) for shape in ((16, 4096), (16, 4096), (4096,)))
    bound = envelope(graph, {"x": x, "g": g, "w": w}, True)["y"]
    normed = (x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * g).double()
    assert check(bound, (normed @ w.double().T).float()).passes
    assert not check(bound, (in_tf32(normed) @ in_tf32(w).T).float()).passes


def test_what_may_be_rounded_is_rounded_everywhere_or_nowhere() -> None:
    graph = graph_of(
        "op f(x: T[M, K], g: T[K], w: T[N, K]) -> y: f32[M, N]\nwhere T in {bf16}:\n"
        "    y = dot(x * g, w, over=K, precision=T)"
    )
    generator = torch.Generator().manual_seed(4)
    x, g, w = (draw("normal", shape, DTYPES["bf16"], generator) for shape in ((8, 256), (256,), (8, 256)))
    bound = envelope(graph, {"x": x, "g": g, "w": w})["y"]
    wide = x.double() * g.double()
    narrow = round_to(wide, DTYPES["bf16"])
    mixed = torch.where(torch.arange(256) % 2 == 0, wide, narrow)
    for operand, passes in ((wide, True), (narrow, True), (2 * narrow - wide, False), (2 * wide - narrow, False)):
        assert check(bound, (operand @ w.double().T).float()).passes is passes
    assert not check(bound, (mixed @ w.double().T).float()).passes


@pytest.mark.parametrize("beside", ["inf", "nan", "300"])
@pytest.mark.parametrize("unit", UNITS)
def test_a_row_without_end_leaves_other_rows_to_the_matrix_unit(unit: str, beside: str) -> None:
    """Squares of 300 are infinite in f16, those of 1e-4 subnormal: products of these are cut off early."""
    graph = read(
        "op f(x: T[M, K], w: T[N, K]) -> y: f32[M, N]\nwhere T in {f16}:\n    y = dot(x * x, w, over=K, precision=T)"
    )
    generator = torch.Generator().manual_seed(6)
    x = (torch.randn(24, 37, generator=generator) * 1e-4).half()
    w = torch.randn(40, 37, generator=generator).half()
    x[3, 5] = float(beside)
    squares = round_to(x.double() ** 2, DTYPES["f16"])
    others = torch.arange(24) != 3
    bound = envelope(graph, {"x": x, "w": w})["y"]
    alone = envelope(graph, {"x": x[others], "w": w})["y"]
    assert torch.equal(bound.low[others], alone.low)
    assert torch.equal(bound.high[others], alone.high)
    assert check(alone, multiplied(squares[others], w, unit, -14)).passes
