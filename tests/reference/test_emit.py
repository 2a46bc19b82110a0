"""The emitted reference computes what the graph means, and reads like something a person wrote."""

from __future__ import annotations

import ast
import inspect
import symtable
from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from reference_specs import graphs

from fusec.diagnostics import Source
from fusec.ir.expressions import Elementwise, Reduce
from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, ScalarParam, TensorParam
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.reserved import BUILTINS
from fusec.lang.load import load
from fusec.numerics.check import check
from fusec.numerics.envelope import envelope
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.simplify import simplify
from fusec.passes.partition.prepare import prepare
from fusec.reference.emit import Function, emit, emit_all
from fusec.reference.emit.spelling import NUMBER_SPELLINGS, SPELLINGS
from fusec.reference.rounding import TORCH_DTYPES
from fusec.testing.cases import Argument, Case, build
from fusec.testing.strategies import cases

GRAPHS = graphs()

ROPE = '''
def reference(
    x: torch.Tensor, weight: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, eps: float = 1e-6,
    num_heads: int | None = None,
) -> torch.Tensor:
    """`fused_rmsnorm_rope` in plain PyTorch, in f32 or f64: the kernels have to agree."""
    T, W, C = x.dtype, weight.dtype, cos.dtype
    real = torch.float64 if torch.float64 in (T, W, C) else torch.float32
    D = cos.shape[1]
    H = x.shape[2] // D if num_heads is None else num_heads
    x = x.to(real).unflatten(-1, (H, D))  # [B, S, H, D]
    weight = weight.to(real).unflatten(-1, (H, D))  # [H, D]
    cos = cos.to(real)[:, None, :]  # [S, 1, D]
    sin = sin.to(real)[:, None, :]  # [S, 1, D]
    normed = x * torch.rsqrt((x * x).mean((-2, -1), keepdim=True) + eps) * weight  # [B, S, H, D]
    a, b = normed.chunk(2, dim=-1)  # each [B, S, H, D/2]
    ca, cb = cos.chunk(2, dim=-1)  # each [S, 1, D/2]
    sa, sb = sin.chunk(2, dim=-1)  # each [S, 1, D/2]
    y = torch.cat((a * ca - b * sa, b * cb + a * sb), dim=-1)  # [B, S, H, D]
    return y.flatten(-2).to(T)
'''


def compiled(graph: Graph) -> Callable[..., torch.Tensor | tuple[torch.Tensor, ...] | None]:
    space: dict[str, object] = {"torch": torch}
    exec(emit(graph), space)
    function = space["reference"]
    assert callable(function)
    return function


def run(graph: Graph, arguments: Mapping[str, Argument]) -> dict[str, torch.Tensor]:
    """The results of the emitted function by name, those it writes in place included."""
    given = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in arguments.items()}
    returned = compiled(graph)(**given)
    outputs = returned if isinstance(returned, tuple) else () if returned is None else (returned,)
    named = {output.name: tensor for output, tensor in zip(graph.outputs, outputs, strict=True)}
    return named | {param.name: given[param.name] for param in graph.tensors if param.mutable}


def torch_refuses(graph: Graph, case: Case) -> bool:
    """The maximum of nothing, and an integer over an extent of 0, mean something in the language but not in torch."""
    refused = ("amax", "amin", "floordiv", "mod")
    ops = {node.expr.op for node in graph.nodes if isinstance(node.expr, Reduce | Elementwise)}
    return (0 in case.lead or 0 in case.extents.values()) and not ops.isdisjoint(refused)


@pytest.mark.parametrize("name", GRAPHS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_it_computes_what_the_graph_means(name: str, data: st.DataObject) -> None:
    """In f32, or f64, as good as the bound for kernels of that precision asks."""
    graph = GRAPHS[name]
    case = data.draw(cases(graph))
    assume(not torch_refuses(graph, case))
    arguments = build(graph, case).arguments
    bounds, results = envelope(graph, arguments), run(graph, arguments)
    assert results.keys() == bounds.keys()
    for key, bound in bounds.items():
        verdict = check(bound, results[key])
        assert verdict.passes, f"{key}: {verdict}\n{case}\n{emit(graph)}"


def test_it_is_as_accurate_as_f64_on_f64() -> None:
    graph = GRAPHS["layouts"]
    case = Case(op="layouts", seed=3, extents={"A": 3, "B": 5, "C": 2, "D": 65}, dtypes={"T": "f64"})
    arguments = build(graph, case).arguments
    result = run(graph, arguments)["y"]
    assert check(envelope(graph, arguments)["y"], result).passes
    assert not check(envelope(graph, arguments)["y"], result.float().double()).passes


@pytest.mark.parametrize("name", GRAPHS)
def test_text_is_deterministic_and_fits(name: str) -> None:
    text = emit(GRAPHS[name])
    assert text == emit(GRAPHS[name])
    assert max(map(len, text.splitlines())) <= 120
    assert text == text.rstrip() + "\n"


@pytest.mark.parametrize("name", GRAPHS)
def test_text_needs_torch_alone(name: str) -> None:
    assert foreign(emit(GRAPHS[name])) == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import torch\ndef f(x):\n    return torch.exp(x)", set()),
        ("import numpy\ndef f(x):\n    return numpy.exp(x)", {"numpy"}),
        ("from math import exp\ndef f(x):\n    return exp(x)", {"math"}),
        ("def f(x):\n    import os\n    return os.fork()", {"os"}),
        ("def f(x):\n    return open(x)", {"open"}),
        ("def f(x):\n    return [numpy.exp(y) for y in x]", {"numpy"}),
    ],
)
def test_what_else_it_would_need_is_seen(text: str, found: set[str]) -> None:
    assert foreign(text) == found


def foreign(text: str) -> set[str]:
    """What a text imports or reads that is neither its own nor torch, nor a builtin of generated code."""
    nodes = list(ast.walk(ast.parse(text)))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    table = symtable.symtable(text, "text", "exec")
    used = {symbol.get_name() for each in _tables(table) for symbol in each.get_symbols() if symbol.is_global()}
    return (imported | (used - set(table.get_identifiers()) - BUILTINS)) - {"torch"}


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for each in table.get_children():
        yield each
        yield from _tables(each)


@pytest.mark.parametrize("name", GRAPHS)
def test_parameters_are_those_of_the_op(name: str) -> None:
    graph = GRAPHS[name]
    signature = inspect.signature(compiled(graph))
    assert list(signature.parameters) == [param.name for param in graph.params]
    behind = False  # one that may be omitted: Python wants a default of what follows it, and the call refuses None
    for param, seen in zip(graph.params, signature.parameters.values(), strict=True):
        match param:
            case TensorParam(optional=optional):
                behind = behind or optional
                expected = None if behind else inspect.Parameter.empty
            case DimParam(inferred=inferred):
                expected = None if inferred else inspect.Parameter.empty
            case ScalarParam(default=default) | ChoiceParam(default=default):
                expected = inspect.Parameter.empty if default is None else default
            case DTypeParam(default=chosen):
                expected = inspect.Parameter.empty if chosen is None else TORCH_DTYPES[chosen.name]
        assert seen.default == expected


def test_reads_like_this() -> None:
    assert emit(GRAPHS["fused_rmsnorm_rope"]) == ROPE.lstrip()


def test_functions_stand_once_above_their_first_caller() -> None:
    pair = (Function("one", GRAPHS["rope_qk"]), Function("two", GRAPHS["rope_qk_half"]))
    first, second = emit_all(pair)
    assert "def _look_up(" in first
    assert "def _look_up(" not in second
    assert [node.name for node in ast.parse(first + second).body if isinstance(node, ast.FunctionDef)][-1] == "two"


def test_an_unknown_option_is_refused() -> None:
    graph = GRAPHS["gated_activation"]
    with pytest.raises(ValueError, match="activation"):
        compiled(graph)(torch.zeros(2, 3), torch.zeros(2, 3), activation="swish")


def test_every_operation_has_a_spelling() -> None:
    assert SPELLINGS.keys() == ELEMENTWISE.keys()
    assert NUMBER_SPELLINGS.keys() <= ELEMENTWISE.keys()


PREPARED = '''
def prepare(w, scale, D, H, T):
    """What follows from weights alone, computed once for them and kept.

    Takes w: i8[H*D, K]; scale: f32[H*D] or None.
    Returns w_ready: T[H, D, K].
    """
    w = w.unflatten(-2, (H, D))  # [H, D, K]
    scale = 1 if scale is None else scale.unflatten(-1, (H, D))  # [H, D]
    return (w.float() * scale[..., None]).to(T)
'''

WEIGHTS_OF_8_BITS = """op f(x: T[M, K], weight w: i8[H*D, K], cos: T[M, D], weight scale: f32[H*D] = 1) -> y: T[M, H, D]
where T in {f16, bf16}:
    y = dot(x, cast(w, f32) * scale, over=K, precision=T) * cos
"""


def test_a_preparation_reads_like_this() -> None:
    (graph,) = elaborate(load(Source("f.fuse", WEIGHTS_OF_8_BITS), None))
    once = prepare(simplify(graph)).once
    assert once is not None
    assert emit_all((Function("prepare", once, once=True),)) == (PREPARED.lstrip(),)
