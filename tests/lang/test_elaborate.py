"""Elaboration: it ends, it is quick, and it fails with nothing but a SpecError; what it gives can be solved."""

from __future__ import annotations

import time

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from writing import definitions, text_of

from fusec.diagnostics import Source, SpecError
from fusec.ir.expressions import Elementwise, Reduce
from fusec.ir.graph import SIZE, Graph, TensorParam, reachable
from fusec.ir.types import product_extent, symbol
from fusec.ir.verify import verify_graph
from fusec.lang import syntax
from fusec.lang.load import load, standard_library
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.elaborate.primitives import PRIMITIVES


def graphs_of(text: str) -> tuple[Graph, ...]:
    return elaborate(load(Source("spec.fuse", text), None))


def test_every_node_points_into_the_users_file() -> None:
    (graph,) = graphs_of("op f(x: f32[B, N]) -> y: f32[B, N]:\n    y = 1 + softmax(x, over=N)\n")
    for node in graph.nodes:
        assert node.span is not None
        assert node.span.source.name == "spec.fuse"
    (exponential,) = [n for n in graph.nodes if isinstance(n.expr, Elementwise) and n.expr.op == "exp"]
    assert exponential.span is not None
    assert exponential.span.text == "softmax(x, over=N)"


def test_names_of_the_spec_reach_the_nodes() -> None:
    (graph,) = graphs_of("op f(x: f32[N]) -> y: f32[N]:\n    half = x * 0.5\n    other = half\n    y = exp(other)\n")
    live = reachable(graph.nodes, graph.roots)
    assert {graph.nodes[n].name for n in live} == {"x", None, "half", "y"}


def test_the_first_name_of_the_op_is_that_of_a_node() -> None:
    """Whatever functions call it, and whatever the op calls it later."""
    halved = "fn halved(x):\n    own = x * 0.5\n    return own\n\n"
    bodies = {"y = halved(x)": "y", "h = halved(x)\n    y = h": "h", "h = x * 0.5\n    y = halved(x)": "h"}
    for body, name in bodies.items():
        (graph,) = graphs_of(f"{halved}op f(x: f32[N]) -> y: f32[N]:\n    {body}\n")
        assert graph.nodes[graph.outputs[0].value].name == name
    (graph,) = graphs_of(f"{halved}op f(x: f32[N]) -> y: f32[N]:\n    y = exp(halved(x))\n")
    assert "own" in {graph.nodes[n].name for n in graph.live}


@pytest.mark.parametrize("over", ["8", "(8, 4)", "(8, N)", "(N, 4)", "N"])
def test_a_function_takes_axes_written_as_numbers(over: str) -> None:
    """Whether `8` is a number or an axis, the body of the function says."""
    text = f"op f(x: f32[8, 4, N]) -> y: f32[8, 4, N]:\n    y = softmax(x, over={over})\n"
    (graph,) = graphs_of(text)
    found = {tuple(map(str, node.expr.axes)) for node in graph.nodes if isinstance(node.expr, Reduce)}
    assert found == {tuple(over.strip("()").split(", "))}


def test_functions_that_multiply_are_refused_in_time() -> None:
    doubling = "fn f0(x):\n    return x + 1\n\n" + "".join(
        f"fn f{n}(x):\n    return f{n - 1}(f{n - 1}(x))\n\n" for n in range(1, 40)
    )
    start = time.monotonic()
    with pytest.raises(SpecError, match="too large"):
        graphs_of(f"{doubling}op f(x: f32[N]) -> y: f32[N]:\n    y = f39(x)\n")
    assert time.monotonic() - start < 30


def test_functions_that_nest_are_refused() -> None:
    chain = "fn f0(x):\n    return x + 1\n\n" + "".join(
        f"fn f{n}(x):\n    return {'-(' * 20}f{n - 1}(x){')' * 20}\n\n" for n in range(1, 40)
    )
    with pytest.raises(SpecError, match="nested too deeply"):
        graphs_of(f"{chain}op f(x: f32[N]) -> y: f32[N]:\n    y = f39(x)\n")


def test_a_docstring_is_data() -> None:
    (graph,) = graphs_of('op f(x: f32[N]) -> y: f32[N]:\n    """{{ x }}\\n\'\'\' import os"""\n    y = x\n')
    assert graph.doc == "{{ x }}\\n''' import os"


@st.composite
def sizes(draw: st.DrawFn, graph: Graph) -> dict[str, int]:
    """Extents that satisfy the constraints: even ones, so that every half is whole."""
    names = sorted(solve.name for solve in graph.solves)
    return {name: 2 * draw(st.integers(1, 40), label=name) for name in names}


SOLVABLE = """
op f(
    x: f32[..., H*D, G*L], half: f32[D/2], quarter: f32[E/4], offsets: i32[B + 1], both: f32[L + M*Q],
    q: f32[Q], three: f32[3*K, 128], l: f32[L], wide: f32[W*2, E, 6],
) -> y: f32[...]:
    y = sum(x, over=(H, D, G, L))
"""


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_solved_extents_are_those_of_the_arguments(data: st.DataObject) -> None:
    (graph,) = graphs_of(SOLVABLE)
    true = {symbol(name): size for name, size in data.draw(sizes(graph)).items()}
    true[symbol("E")] = 4 * true[symbol("E")]
    found: dict[sympy.Symbol, int] = {}
    for solve in graph.solves:
        param = graph.tensor(solve.param)
        assert solve.dim is not None
        size = product_extent(param.dims[solve.dim]).subs(true)
        found[symbol(solve.name)] = int(solve.value.subs({**found, SIZE: size}))
    assert found == true


def test_solves_use_only_what_is_known_before() -> None:
    (graph,) = graphs_of(SOLVABLE)
    known = {SIZE}
    for solve in graph.solves:
        assert solve.value.free_symbols <= known
        known.add(symbol(solve.name))
        param = graph.param(solve.param)
        assert isinstance(param, TensorParam)
        assert solve.dim is not None
        assert (solve.dim < 0) == (param.name == "x")


def elaborate_or_refuse(text: str) -> None:
    """Elaborates `text` into sound graphs, or gets a SpecError whose every place can be shown; nothing else will do."""
    graphs: tuple[Graph, ...] = ()
    refusal = None
    try:
        graphs = graphs_of(text)
    except SpecError as error:
        refusal = str(error)
    assert refusal is None or refusal.count("error: ") >= 1
    for graph in graphs:
        verify_graph(graph)


NAMES = ("x", "y", "w", "N", "D", "T", "f", "g", "over", "f32", "i8", "weight", "mut", "dim", "infer", "pi", "tiny")
WORDS = st.sampled_from((*NAMES, "relu", "rmsnorm", "quantize", "rope", *PRIMITIVES))


@given(st.lists(definitions(WORDS), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_any_definitions_become_graphs_or_a_spec_error(found: list[syntax.Definition]) -> None:
    elaborate_or_refuse("\n".join(map(text_of, found)))


SIGNS = st.sampled_from(["+", "-", "*", "/", "<", "==", "//", "%"])
OPERANDS = st.sampled_from(["x", "w", "h", "k", "i", "s", "1", "2.5", "N", "pi", "c"])


def random_values() -> st.SearchStrategy[str]:
    """Expressions over the parameters below, most of them of the right kind but not always."""
    axes = st.sampled_from(["N", "D", "(N, D)", "D/2", "A + B", "...", "x"])

    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        call = st.builds(lambda f, *args: f"{f}({', '.join(args)})", st.sampled_from(["where", "concat"]), *[inner] * 3)
        over = st.builds(
            lambda f, a, axis: f"{f}({a}, over={axis})",
            st.sampled_from(["sum", "mean", "amax", "halves", "pairs", "softmax", "logsumexp"]),
            inner,
            axes,
        )
        merged = st.builds(lambda f, a, b: f"{f}({a}, {b}, over=D)", st.sampled_from(["join", "dot"]), inner, inner)
        return st.one_of(
            st.builds(lambda a, op, b: f"({a} {op} {b})", inner, SIGNS, inner),
            st.builds(lambda f, a: f"{f}({a})", st.sampled_from(["exp", "abs", "silu", "index", "floor"]), inner),
            st.builds(lambda a, b: f"x[{a}, {b}]", inner, inner),
            st.builds(lambda a: f"cast({a}, i8)", inner),
            call,
            over,
            merged,
        )

    return st.recursive(OPERANDS, grow, max_leaves=8)


@given(st.lists(random_values(), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_random_expressions_become_sound_graphs_or_a_spec_error(values: list[str]) -> None:
    body = "".join(f"    v{n} = {value}\n" for n, value in enumerate(values))
    header = (
        "op f(x: f32[N, D], w: f16[D], h: f32[N, D/2], k: f32[N, A + B], i: i32[N], s: i32, c: bool[N],\n"
        "     a: f32[A], mut out: f32[N, D]) -> y: f32[N, D]:\n"
    )
    elaborate_or_refuse(f"{header}{body}    out[i] = v0\n    y = v0 + x\n")


def test_no_composite_is_known_to_the_compiler() -> None:
    assert not {fn.name.text for fn in standard_library().fns} & set(PRIMITIVES)
