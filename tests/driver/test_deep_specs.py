"""Specs with long chains of values that share operands: each walk over them is linear, and none is a recursion."""

from __future__ import annotations

import pytest
import torch

from fusec.diagnostics import Source, SpecError
from fusec.driver.compile import compile_source
from fusec.lang.load import load
from fusec.numerics.envelope import envelope
from fusec.passes.explain.op import explain
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.pipeline import compile_graph
from fusec.passes.warnings import warnings_of

ROWS = "x: T[..., N], s: f32 = 0.5) -> y: T[..., N]\nwhere T in {f16, f32}"
MATRIX = "x: T[M, K], weight w: T[K, N]) -> y: T[M, N]\nwhere T in {f16, f32}"

FORMS = {
    "arithmetic": (ROWS, "x", "exp({a}) * sin({a})", "{a}"),
    "squares": (ROWS, "x", "{a} * {a}", "{a}"),
    "doubles": (ROWS, "x", "{a} + {a}", "{a}"),
    "cases": (ROWS, "x", "where({a} > 0, {a}, -{a})", "{a}"),
    "casts": (ROWS, "x", "cast({a} * {a}, T)", "{a}"),
    "sums": (ROWS, "x", "{a} * sum({a}, over=N)", "{a}"),
    "maxima": (ROWS, "x", "abs({a}) / (1 + amax(abs({a}), over=N))", "{a}"),
    "factors": (ROWS, "x * rsqrt(sum(x * x, over=N))", "{a} * {a}", "amax({a}, over=N)"),
    "signs": (ROWS, "x", "minimum(maximum({a}, -{a}), {a} * {a} + abs({a}))", "amax({a}, over=N) * x"),
    "bounds": (ROWS, "maximum(sum(x, over=N), 1)", "maximum({a}, 1) + minimum({a}, 2) * maximum({a}, 1)", "x / {a}"),
    "scalars": (ROWS, "s", "{a} * {a}", "x * {a}"),
    "sizes": (ROWS, "N", "{a} * {a} + {a}", "x * {a}"),
    "views": (f"{ROWS}, N % 4 == 0", "x", "rotated({a}, N) + {a}", "{a}"),
    "choices": (ROWS.replace("s: f32 = 0.5", "act: {silu, relu} = silu"), "x", "act({a}) * {a}", "{a}"),
    "omitted": (ROWS.replace("s: f32 = 0.5", "b: T[N] = 0"), "x", "b * {a} + b", "{a}"),
    "integers": ("x: f32[N], t: i32[N]) -> y: f32[N]", "t", "{a} * {a} + {a}", "x[{a}]"),
    "positions": ("x: f32[N]) -> y: f32[N]", "index(N)", "{a} + {a}", "x[{a}]"),
    "renames": ("x: f32[N]) -> y: f32[N]", "x", "{a} + rename(rename({a}, N -> M), M -> N)", "{a}"),
    "operand": (MATRIX, "x", "exp({a}) * {a}", "dot({a}, w, over=K)"),
    "weight": (MATRIX, "w", "exp({a}) * {a}", "dot(x, {a}, over=K)"),
    "behind a dot": (MATRIX, "dot(x, w, over=K)", "exp({a}) * {a}", "{a}"),
}
"""By name: the header of an op, the first value, the next one of one `{a}`, and what is made of the last."""

DEPTH = {"maxima": 16}
"""Each of these waits for the one before, and a row in a loop is made anew for each: that is long, not deep."""


def spec(form: str, depth: int, named: bool = True) -> str:
    """An op whose values each read the one before as often as the form does, by its name or through a function."""
    header, first, step, last = FORMS[form]
    rotated = "fn rotated(v, axis):\n    a, b = halves(v, over=axis)\n    return join(-b, a * b, over=axis)\n\n"
    if named:
        lines = [f"a0 = {first}", *(f"a{i + 1} = {step.format(a=f'a{i}')}" for i in range(depth))]
        return (
            f"{rotated}op f({header}:\n"
            + "".join(f"    {line}\n" for line in lines)
            + (f"    y = {last.format(a=f'a{depth}')}\n")
        )
    inner = f"{'step(' * depth}{first}{')' * depth}"
    return f"{rotated}fn step(v):\n    return {step.format(a='v')}\n\nop f({header}:\n    y = {last.format(a=inner)}\n"


def elaborated(text: str) -> None:
    graphs = elaborate(load(Source("f.fuse", text), None))
    warnings_of(graphs)
    for graph in graphs:
        explain(graph, compile_graph(graph))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("form", FORMS)
def test_a_deep_graph_is_built(form: str) -> None:
    (compiled,) = compile_source(Source("f.fuse", spec(form, DEPTH.get(form, 60))), None)
    assert len(compiled.text) < 400_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize("form", ["arithmetic", "scalars", "sizes", "doubles", "positions"])
def test_a_deep_graph_without_names_is_built(form: str) -> None:
    (compiled,) = compile_source(Source("f.fuse", spec(form, 30, named=False)), None)
    assert len(compiled.text) < 400_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize("form", ["arithmetic", "cases", "maxima", "factors", "bounds", "operand", "weight"])
def test_a_deep_graph_is_explained(form: str) -> None:
    elaborated(spec(form, DEPTH.get(form, 60)))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("form", "lines"), [("arithmetic", 300), ("casts", 900), ("cases", 300), ("choices", 150)])
def test_a_long_chain_of_lines_is_built(form: str, lines: int) -> None:
    compile_source(Source("f.fuse", spec(form, lines)), None)


@pytest.mark.timeout(60)
def test_a_deep_graph_has_a_bound() -> None:
    (graph,) = elaborate(load(Source("f.fuse", spec("cases", 300)), None))
    found = envelope(graph, {"x": torch.ones(3, 2), "s": 0.5})
    assert found["y"].value.tolist() == [[1.0, 1.0]] * 3


@pytest.mark.timeout(60)
@pytest.mark.parametrize("count", [65, 100])
@pytest.mark.parametrize("form", ["{}", "{}: product", "{}: sum", "apart", "renamed"])
def test_too_many_axes_are_told_at_once(form: str, count: int) -> None:
    names = [f"A{i}" for i in range(count)]
    if form == "apart":
        tensors = [f"x{i}: f32[{', '.join(names[i : i + 20])}]" for i in range(0, count, 20)]
        text = f"op f({', '.join(tensors)}) -> y: f32[A0]:\n    y = 1\n"
    elif form == "renamed":
        lines = [f"a{i + 1} = sum(rename(a{i}, N -> {name}), over={name}) + x" for i, name in enumerate(names)]
        body = "".join(f"    {line}\n" for line in ["a0 = x", *lines, f"y = a{count}"])
        text = f"op f(x: f32[N]) -> y: f32[N]:\n{body}"
    else:
        dims = {"{}": ", ", "{}: product": "*", "{}: sum": " + "}[form].join(names)
        text = f"op f(x: f32[{dims}]) -> y: f32[{dims}]:\n    y = x\n"
    with pytest.raises(SpecError, match=r"(at most 64 axes|nested too deeply)\n.*\n *\| *\^"):
        compile_source(Source("f.fuse", text), None)


@pytest.mark.timeout(60)
def test_many_dots_behind_each_other_are_built() -> None:
    weights = ", ".join(f"w{i}: f16[K{i}, K{i + 1}]" for i in range(16))
    lines = [f"a{i + 1} = cast(dot(a{i}, w{i}, over=K{i}), f16)" for i in range(16)]
    body = "".join(f"    {line}\n" for line in ["a0 = x", *lines, "y = a16"])
    compile_source(Source("f.fuse", f"op f(x: f16[M, K0], {weights}) -> y: f16[M, K16]:\n{body}"), None)
