"""The standard library against formulas of PyTorch, in f64."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fusec.diagnostics import Source
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.reference.evaluate import evaluate

EPS = torch.finfo(torch.float64).eps


def compute(body: str, result: str = "f64[M, N]", /, **arguments: Tensor) -> Tensor:
    """The output `y` of an op with that body over f64 matrices `[M, N]`, vectors `[N]` and half tables `[M, N/2]`."""
    dims = {2: "M, N", 1: "N"}
    params = ", ".join(
        f"{name}: f64[{dims[value.dim()] if value.shape[-1] == 8 else 'M, N/2'}]" for name, value in arguments.items()
    )
    (graph,) = elaborate(load(Source("spec.fuse", f"op f({params}) -> y: {result}:\n    y = {body}\n"), None))
    return evaluate(graph, arguments)["y"]


def near(found: Tensor, expected: Tensor) -> None:
    """Equal up to the rounding of a few dozen f64 operations."""
    torch.testing.assert_close(found, expected, rtol=64 * EPS, atol=64 * EPS)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def w() -> Tensor:
    return torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("body", "formula"),
    [
        ("relu(x)", torch.relu),
        ("silu(x)", F.silu),
        ("gelu(x)", F.gelu),
        ("gelu_tanh(x)", lambda x: F.gelu(x, approximate="tanh")),
        ("softplus(x)", F.softplus),
        ("clamp(x, -0.5, 0.25)", lambda x: x.clamp(-0.5, 0.25)),
        ("softmax(x, over=N)", lambda x: x.softmax(-1)),
        ("softmax(x, over=(M, N))", lambda x: x.flatten().softmax(0).view_as(x)),
        ("log_softmax(x, over=M)", lambda x: x.log_softmax(0)),
        ("x - logsumexp(x * 100, over=N)", lambda x: x - (x * 100).logsumexp(-1, keepdim=True)),
    ],
)
def test_elementwise_and_softmax(body: str, formula: Callable[[Tensor], Tensor], x: Tensor) -> None:
    near(compute(body, x=x), formula(x))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_softmax_of_infinities(name: str) -> None:
    values = (-torch.inf, 0.0, 1e300, torch.inf, torch.nan)
    rows = torch.tensor([2 * row for row in product(values, repeat=4)], dtype=torch.float64)
    found = compute(f"{name}(x, over=N)", "f64[M]" if name == "logsumexp" else "f64[M, N]", x=rows)
    torch.testing.assert_close(found, getattr(torch, name)(rows, -1), rtol=64 * EPS, atol=64 * EPS, equal_nan=True)


def test_norms(x: Tensor, w: Tensor) -> None:
    near(compute("rmsnorm(x, w, 1e-5, over=N)", x=x, w=w), F.rms_norm(x, (8,), w, 1e-5))
    near(compute("rmsnorm_unit_offset(x, w, 1e-5, over=N)", x=x, w=w), F.rms_norm(x, (8,), 1 + w, 1e-5))
    near(compute("layernorm(x, w, 2 * w, 1e-5, over=N)", x=x, w=w), F.layer_norm(x, (8,), w, 2 * w, 1e-5))
    rounded = F.rms_norm(x, (8,), None, 1e-5).to(torch.bfloat16).double() * w
    near(compute("rmsnorm_rounded(x, w, 1e-5, over=N, dtype=bf16)", x=x, w=w), rounded)


def turn(x: Tensor, angles: Tensor, interleaved: bool) -> Tensor:
    """Rotation of pairs as the product with a complex number, which no function of the library uses."""
    pairs = x.view(5, 4, 2) if interleaved else x.view(5, 2, 4).transpose(1, 2)
    turned = torch.view_as_real(
        torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones_like(angles), angles)
    )
    return turned.reshape(5, 8) if interleaved else turned.transpose(1, 2).reshape(5, 8)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotations(interleaved: bool, x: Tensor) -> None:
    angles = torch.linspace(-3, 3, 20, dtype=torch.float64).view(5, 4)
    twice = angles.repeat_interleave(2, -1) if interleaved else angles.repeat(1, 2)
    half, full = ("rope_interleaved", "rope_interleaved_full") if interleaved else ("rope_half", "rope")
    expected = turn(x, angles, interleaved)
    near(compute(f"{half}(x, c, s, over=N)", x=x, c=angles.cos(), s=angles.sin()), expected)
    near(compute(f"{full}(x, c, s, over=N)", x=x, c=twice.cos(), s=twice.sin()), expected)


def test_quantisation(x: Tensor) -> None:
    x[3] = 0
    (graph,) = elaborate(
        load(
            Source(
                "spec.fuse",
                "op f(x: f64[M, N]) -> (q: f8e4m3[M, N], scale: f32[M], y: f64[M, N]):\n"
                "    q, scale = quantize(x, f8e4m3, over=N)\n"
                "    y = dequantize(q, scale)\n",
            ),
            None,
        )
    )
    found = evaluate(graph, {"x": x})
    near(found["scale"][:3], x[:3].abs().amax(-1) / 448)
    assert found["scale"][3] > 0
    assert torch.equal(found["q"].float(), (x / found["scale"][:, None]).to(torch.float8_e4m3fn).float())
    near(found["y"], found["q"].double() * found["scale"][:, None].double())
