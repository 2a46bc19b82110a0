"""A parameter that nothing depends on is warned of, and no other."""

from __future__ import annotations

import pytest

from fusec.diagnostics import Source
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.warnings import warnings_of


def warned(header: str, *body: str) -> list[str]:
    """The parameters that the op `op f(HEADER:` with this body is warned of."""
    text = f"op f({header}:\n" + "".join(f"    {line}\n" for line in body)
    warnings = warnings_of(elaborate(load(Source("f.fuse", text), None)))
    return [warning.span.text for warning in warnings]


@pytest.mark.parametrize(
    ("header", "body", "unused"),
    [
        ("x: f32[N], z: f32[N]) -> y: f32[N]", "y = x", ["z"]),
        ("x: f32[N], z: f32[N] = 0) -> y: f32[N]", "y = x", ["z"]),
        ("x: f32[N], weight w: f32[N]) -> y: f32[N]", "y = x", ["w"]),
        ("x: f32[N], eps: f32) -> y: f32[N]", "y = x", ["eps"]),
        ("x: f32[N], eps: f32 = 1e-6) -> y: f32[N]", "y = rmsnorm(x, 1, 1e-6, over=N)", ["eps"]),
        ("x: f32[N], act: {relu, silu}) -> y: f32[N]", "y = relu(x)", ["act"]),
        ("x: f32[N], m: dim(M)) -> y: f32[N]", "y = x", ["m"]),
        ("x: f32[N], ids: i32[M]) -> y: f32[N]", "y = x", ["ids"]),
        ("x: T[N], z: U[N]) -> y: T[N]\nwhere T in {f32, f16}, U in {f32, f16}", "y = x", ["z"]),
        ("x: f32[..., N], z: f32[..., N]) -> y: f32[..., N]", "y = x", ["z"]),
        ("x: f32[N], a: f32, b: f32, c: f32) -> y: f32[N]", "y = x * b", ["a", "c"]),
    ],
)
def test_what_has_no_effect(header: str, body: str, unused: list[str]) -> None:
    assert warned(header, body) == unused


def test_what_is_computed_of_it_and_dropped_is_no_use() -> None:
    assert warned("x: f32[N], z: f32[N], k: f32) -> y: f32[N]", "a = exp(z) * k", "b = a + x", "y = x") == ["z", "k"]


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("x: f32[N], bias: f32[N] = 0) -> y: f32[N]", "y = x + bias"),
        ("x: f32[N], table: f32[P, M], ids: i32[N]) -> y: f32[N]", "y = x + sum(table[ids // 2], over=M)"),
        ("mut c: f32[P], at: i32[L], x: f32[L]) -> y: f32[L]", "y = x\n    c[at] = x"),
        ("x: f32[N], act: {relu, silu} = silu) -> y: f32[N]", "y = act(x)"),
        # It tells an extent, leading dimensions or a dtype.
        ("like: f32[N]) -> y: f32[N]", "y = index(N)"),
        ("x: f32[N], like: f32[M]) -> y: f32[N, M]", "y = x"),
        ("x: f32[N], like: f32[2*M]) -> y: f32[N, M]", "y = x"),
        ("x: f32[N], like: f32[M]) -> y: f32[N]", "y = x / M"),
        ("x: f32[N], like: f32[M]) -> y: f32[N]\nwhere N < M", "y = x"),
        ("x: f32[N*M], like: f32[M]) -> y: f32[N*M]", "y = x - mean(x, over=N)"),
        ("x: f32[N], like: f32[..., 1]) -> y: f32[..., N]", "y = x"),
        ("x: f32[N], like: T[N]) -> y: T[N]\nwhere T in {f16, f32}", "y = x"),
        ("x: f32[N], like: T[N]) -> y: f32[N]\nwhere T in {f16, f32}", "y = cast(x, T)"),
        ("x: f32[N], like: T[N]) -> y: f32[N]\nwhere T in {f16, f32}", "y = x / max_of(T)"),
        ("x: f32[N], like: T[N], b: T[N] = 0) -> y: f32[N]\nwhere T in {f16, f32}", "y = x + b"),
        # A `dim` is checked against the tensors, or told by none.
        ("x: f32[N], n: dim(N)) -> y: f32[N]", "y = x"),
        ("x: f32[H*D], d: f32[D], h: dim(H) = infer) -> y: f32[H*D]", "y = x * d"),
        ("x: f32[N], m: dim(M)) -> y: f32[N, M]", "y = x"),
        ("x: f32[N], m: dim(M)) -> y: f32[N]", "y = x * m"),
    ],
)
def test_what_has_an_effect(header: str, body: str) -> None:
    assert warned(header, body) == []


def test_an_optional_tensor_that_selects_a_case_is_used() -> None:
    assert warned("x: f32[N], bias: f32[N] = 0) -> y: f32[N]", "y = x + 0 * bias") == []


def test_of_two_that_tell_the_same_one_is_used() -> None:
    assert warned("one: f32[N], other: f32[N]) -> y: f32[N]", "y = index(N)") == ["one"]
