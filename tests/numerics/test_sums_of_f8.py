"""The bound of products of f8: a tensor core that keeps 14 bits is within it where sums are promoted, and not else.

The interpreter adds in f32, so the unit is emulated: it adds 16 (sm_89) or 32 (sm_90) products and the sum so far, all
of which it cuts off 13 bits behind the exponent of the largest.
"""

from __future__ import annotations

import pytest
import torch
from bounded_specs import graph_of
from torch import Tensor

from fusec.ir.types import DTYPES
from fusec.numerics.accumulation import AT_ONCE, PART
from fusec.numerics.check import check
from fusec.numerics.envelope import envelope
from fusec.reference.rounding import TORCH_DTYPES
from fusec.testing.values import draw

DOT = "op f(x: {x}[M, K], w: {w}[N, K]) -> y: {out}[M, N]:\n    y = dot(x, w, over=K, accum={accum})"

BITS = 13

LEAST = {"f8e4m3": -6, "f8e5m2": -14}
"""The exponent of the least normal number, which subnormal ones have as well."""


def exponents(values: Tensor, least: int) -> Tensor:
    return torch.where(values == 0, -(1 << 20), (torch.frexp(values).exponent - 1).clamp(min=least))


def cut(values: Tensor, place: Tensor) -> Tensor:
    return (values / place).trunc() * place


def multiplied(x: Tensor, w: Tensor, least: tuple[int, int], at_once: int, part: int) -> Tensor:
    """`x @ w.T` as a tensor core makes it, whose sums are added in f32 after every `part` of the products."""
    total = torch.zeros(len(x), len(w), dtype=torch.float32)
    for a, b in zip(x.double().split(part, 1), w.double().split(part, 1), strict=True):
        held = torch.zeros(len(x), len(w), dtype=torch.float64)
        for first, second in zip(a.split(at_once, 1), b.split(at_once, 1), strict=True):
            marks = exponents(first, least[0])[:, None] + exponents(second, least[1])
            mark = torch.maximum(marks.amax(-1), exponents(held, -1000)).clamp(min=-900)
            place = torch.exp2((mark - BITS).double())
            held = cut(first[:, None] * second, place[..., None]).sum(-1) + cut(held, place)
            held = cut(held, torch.exp2((torch.frexp(held).exponent - 1 - BITS).double()))
        total = total + held.float()
    return total


def passes(kind: str, types: tuple[str, str], inner: int, accum: str, at_once: int, part: int, out: str) -> bool:
    generator = torch.Generator().manual_seed(3)
    x, w = (draw(kind, (6, inner), DTYPES[name], generator) for name in types)
    graph = graph_of(DOT.format(x=types[0], w=types[1], out=out, accum=accum))
    bound = envelope(graph, {"x": x, "w": w}, random=True)["y"]
    assert bool((bound.low.isfinite() & bound.high.isfinite()).all())
    made = multiplied(x, w, (LEAST[types[0]], LEAST[types[1]]), at_once, part)
    return check(bound, made.to(TORCH_DTYPES[out])).passes


@pytest.mark.parametrize("at_once", AT_ONCE)
@pytest.mark.parametrize("kind", ["normal", "positive", "tiny"])
@pytest.mark.parametrize("types", [("f8e4m3", "f8e4m3"), ("f8e5m2", "f8e5m2"), ("f8e4m3", "f8e5m2")])
def test_sums_in_parts_are_within(types: tuple[str, str], kind: str, at_once: int) -> None:
    for inner in (7, 40, 128, 515, 1024, 8192):
        for part in (32, 64, PART):
            assert passes(kind, types, inner, "exact", at_once, part, "f32"), (inner, part)


@pytest.mark.parametrize("at_once", AT_ONCE)
def test_fast_sums_are_not_exact(at_once: int) -> None:
    """The long sums of positive numbers that nobody tells users of: 13 % are missing on Hopper."""
    types = ("f8e4m3", "f8e4m3")
    for out in ("f32", "bf16"):
        assert not passes("positive", types, 8192, "exact", at_once, 8192, out)
        assert passes("positive", types, 8192, "fast", at_once, 8192, out)
