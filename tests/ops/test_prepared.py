"""What follows from weights alone is computed once by generated files, for the plans that read it, and stays right."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from catalogue import Op as Compiled
from compiled import compiled
from hypothesis import HealthCheck, Phase, given, settings

from fusec.driver.compile import compile_file
from fusec.driver.load import load_from
from fusec.forcing import CHIPS, on_chip
from fusec.ir.arguments import layout_arguments
from fusec.runtime import H200, Op, Prepare
from fusec.testing.cases import Case, build
from fusec.testing.compare import hold, run_and_compare
from fusec.testing.strategies import Budget, cases

SPECS = {
    "8 bits": """
op f(x: T[..., K], weight w: i8[N, K], weight scale: f32[N], weight bias: T[N] = 0) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = dot(x, cast(w, f32) * scale, over=K, precision=T) + bias
""",
    "an optional gain": """
op f(x: T[M, K], weight w: f8e4m3[N, K], weight scale: T[N], weight gain: T[K] = 1) -> y: T[M, N]
where T in {f16, bf16}:
    y = dot(x, w * scale * gain, over=K, precision=T)
""",
    "a norm of rows": """
op f(x: T[M, K], weight w: T[N, K], weight gain: T[K], eps: f32 = 1e-6) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = dot(rmsnorm(x, gain, eps, over=K), cast(rmsnorm(w, 1 + gain, 1e-6, over=K), T), over=K, precision=T)
""",
    "a dot of weights": """
op f(x: T[M, K], weight w: T[N, K], weight a: T[R, K], weight b: T[N, R]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = dot(x, w + dot(b, a, over=R), over=K, precision=T)
""",
    "heads": """
op f(x: T[M, K], weight w: i8[H*D, K], weight scale: f32[H*D], cos: T[M, D], sin: T[M, D]) -> y: T[M, H, D]
where T in {f16, bf16, f32}, D % 2 == 0:
    y = rope(dot(x, cast(w, f32) * scale, over=K, precision=T), cos, sin, over=D)
""",
    "behind a dot": """
op f(x: T[M, K], weight w: T[N, K]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = dot(x, w, over=K) / maximum(amax(abs(w), over=K), 0.5)
""",
    "two dots": """
op f(x: T[M, K], weight gate: i8[N, K], weight up: i8[N, K], weight scale: f32[N]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    a, b = cast(gate, f32) * scale, cast(up, f32) * scale
    y = silu(dot(x, a, over=K, precision=T)) * dot(x, b, over=K, precision=T)
""",
}

NOTHING_TO_PREPARE = {
    "a gain of the input": """
op f(x: T[M, K], weight gain: T[K], weight w: T[N, K], eps: f32 = 1e-6) -> y: T[M, N]
where T in {f16, bf16}:
    y = dot(rmsnorm(x, gain, eps, over=K), w, over=K, precision=T)
""",
    "a number of the call": """
op f(x: T[M, K], weight w: T[N, K], eps: f32 = 1e-6) -> y: T[M, N]
where T in {f16, bf16}:
    y = dot(x, rmsnorm(w, 1.0, eps, over=K), over=K, precision=T)
""",
    "no weight": """
op f(x: T[M, K], w: i8[N, K], scale: f32[N]) -> y: T[M, N]
where T in {f16, bf16}:
    y = dot(x, cast(w, f32) * scale, over=K, precision=T)
""",
    "nothing but what may be left out": """
op f(x: T[M, K], weight gain: T[K] = 1) -> y: T[M]
where T in {f16, bf16}:
    y = dot(x, 2 * gain, over=K, precision=T)
""",
}

REDUCED = {
    "the largest": "dot(x, w, over=K) + amax(w, over=K)",
    "the least": "dot(x, w, over=K) + amin(abs(w), over=K)",
    "a sum": "dot(x, w, over=K) + sum(w * w, over=K)",
    "a mean": "dot(x, w, over=K) + mean(w * w, over=K)",
    "of columns": "dot(x, w / maximum(amax(abs(w), over=N), 1), over=K, precision=T)",
    "of columns of two axes": "dot(x, w / maximum(amax(cast(v, f32) + w, over=(N, L)), 1), over=K, precision=T)",
    "of all": "dot(x, w / maximum(amax(abs(w), over=(N, K)), 1), over=K, precision=T)",
    "of a fixed axis": "dot(x, w / maximum(amax(f, over=L), 1), over=K, precision=T)",
    "of integers": "dot(x, w * where(amax(v, over=(K, L)) == amin(v, over=(K, L)), 2, 3), over=K, precision=T)",
    "of none that are above": "dot(x, w, over=K) + where(amax(v, over=(K, L)) < 0, 1, 2)",
    "a norm": "dot(x, cast(rmsnorm(w, 1.0, 1e-6, over=K), T), over=K, precision=T)",
}
"""What is prepared of reductions: of rows, which may be empty, of columns, which may be, of both."""

READING = ("library", "tma", "swap_ab")
"""Limits under which calls take plans that read what is prepared."""

drawn = settings(
    max_examples=4,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", params=SPECS)
def op(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    (only,) = compiled(SPECS[request.param], tmp_path_factory.mktemp("prepared"))
    return only


@contextmanager
def computing(module: Any) -> Iterator[list[int]]:
    """Within, a preparation starts anew; yields a list that grows with every time something is computed."""
    times: list[int] = []
    prepare: Prepare = module._PREPARE_F
    plain = prepare.compute

    def compute(*weights: torch.Tensor | None, **settings: Any) -> Any:
        times.append(len(times))
        return plain(*weights, **settings)

    anew = {"compute": compute, "_known": {}}
    with mock.patch.multiple(prepare, **anew):
        for op in (value for value in vars(module).values() if isinstance(value, Op)):
            op.forget()
        yield times


def of_many_rows(op: Compiled) -> Case:
    """A call of more rows than are the columns of a tile."""
    extents = {solve.name: {"M": 40, "H": 2}.get(solve.name, 16) for solve in op.program.graph.solves}
    dtypes = {variable.name: variable.options[0].name for variable in op.program.graph.variables}
    return Case(op="f", seed=0, extents=extents, lead=(40,), dtypes=dtypes)


@pytest.mark.parametrize("shape", CHIPS)
def test_results_lie_within_their_bound(op: Compiled, shape: str, device: torch.device) -> None:
    reads: list[int] = []

    @drawn
    @given(cases(op.program.graph, Budget(rows=8, elements=600)))
    def holds(case: Case) -> None:
        with on_chip(op.module, CHIPS[shape]), computing(op.module) as times:
            run_and_compare(op.call, op.program.forms, case, device=device)
        reads.extend(times)

    holds()
    # Whichever calls were drawn: those of more than a few rows take a plan that reads what is prepared.
    with on_chip(op.module, CHIPS[shape]), computing(op.module) as times:
        run_and_compare(op.call, op.program.forms, of_many_rows(op), device=device)
    assert reads or times or shape not in ("library", "swap_ab")


def test_the_table_says_the_dtypes_of_what_is_prepared(op: Compiled, device: torch.device) -> None:
    (ours,) = (each for each in vars(op.module).values() if isinstance(each, Op) and each.table.prepare)
    (variable,) = op.program.graph.variables
    for option in variable.options:
        case = replace(of_many_rows(op), dtypes={variable.name: option.name})
        given = build(op.program.graph, case, device).arguments
        decided = ours.decide(*(given[name] for name in layout_arguments(op.program.graph)), chip=CHIPS["library"])
        assert decided.prepared is not None
        values = decided.prepared._values(tuple(given[name] for name in decided.prepared.weights))
        told = [decided.dtypes[name] for name in decided.prepared.names]
        assert told == [value.dtype for value in values], option


@pytest.mark.parametrize("form", REDUCED)
def test_reductions_of_no_elements_are_prepared(form: str, tmp_path: Path, device: torch.device) -> None:
    text = (
        "op f(x: T[M, K], weight w: T[N, K], weight v: i32[N, K, L], weight f: T[N, K, L]) -> y: T[M, N]\n"
        f"where T in {{f16, bf16, f32}}, L == 4:\n    y = {REDUCED[form]}\n"
    )
    (op,) = compiled(text, tmp_path)
    for empty in ({"K"}, {"N"}, {"K", "N"}, set()):
        extents = {"M": 40, "L": 4} | {name: 0 if name in empty else 16 for name in ("N", "K")}
        known = {solve.name for solve in op.program.graph.solves}
        case = Case(op="f", seed=0, extents={n: s for n, s in extents.items() if n in known}, dtypes={"T": "bf16"})
        with on_chip(op.module, CHIPS["library"]), computing(op.module) as times:
            run_and_compare(op.call, op.program.forms, case, device=device)
        assert times or "N" in empty, empty


def arguments(op: Compiled, device: torch.device, dtype: str = "bf16", seed: int = 0) -> dict[str, Any]:
    """The arguments of a call with a few rows, weights as parameters."""
    graph = op.program.graph
    extents = {"K": 40, "N": 24, "M": 3, "R": 4, "H": 3, "D": 16}
    named = {solve.name: extents[solve.name] for solve in graph.solves}
    case = Case(op=op.name, seed=seed, extents=named, lead=(3,), dtypes={v.name: dtype for v in graph.variables})
    return build(graph, case, device).arguments


def check(op: Compiled, given: dict[str, Any]) -> None:
    results = op.call(**given)
    plain = {name: value.detach().cpu() if isinstance(value, torch.Tensor) else value for name, value in given.items()}
    hold({op.program.graph.outputs[0].name: results}, op.program.forms, plain)


def weights(op: Compiled) -> list[str]:
    assert op.program.once is not None
    return [tensor.name for tensor in op.program.once.tensors]


@pytest.mark.parametrize("shape", READING)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_computed_once_and_again_after_a_change(
    op: Compiled, shape: str, mode: Callable[[], Any], device: torch.device
) -> None:
    given = arguments(op, device)
    with on_chip(op.module, CHIPS[shape]), computing(op.module) as times:
        for count, name in enumerate(("", *weights(op)), 1):
            if name:
                given[name].copy_(arguments(op, device, seed=count)[name])
            for rows in (3, 2, 3):
                with mode():
                    check(op, given | {"x": given["x"][:rows]} | _as_long(op, given, rows))
            assert len(times) == count


def _as_long(op: Compiled, given: dict[str, Any], rows: int) -> dict[str, Any]:
    return {name: given[name][:rows] for name in ("cos", "sin") if name in given}


def test_every_call_of_weights_has_its_own(op: Compiled, device: torch.device) -> None:
    several = [arguments(op, device, seed=seed) for seed in range(3)]
    with on_chip(op.module, CHIPS["library"]), computing(op.module) as times:
        for given in several * 2:
            check(op, given)
        assert len(times) == 3


def test_other_dtypes_of_the_call_have_values_of_their_own(device: torch.device, tmp_path: Any) -> None:
    (op,) = compiled(SPECS["8 bits"], tmp_path)
    fixed = arguments(op, device)
    with on_chip(op.module, CHIPS["library"]), computing(op.module) as times:
        for dtype in ("bf16", "f16", "f32") * 2:
            check(op, arguments(op, device, dtype) | {name: fixed[name] for name in ("w", "scale")})
        assert len(times) == 3


def test_a_single_vector_reads_the_weights_as_they_are(device: torch.device, tmp_path: Any) -> None:
    (op,) = compiled(SPECS["8 bits"], tmp_path)
    given = arguments(op, device, "f32")
    with on_chip(op.module, CHIPS["resident"]), computing(op.module) as times:
        check(op, given | {"x": given["x"][:1]})
        assert not times
        check(op, given)
        assert times


def test_an_omitted_weight(device: torch.device, tmp_path: Any) -> None:
    (op,) = compiled(SPECS["an optional gain"], tmp_path)
    given = arguments(op, device)
    with on_chip(op.module, CHIPS["library"]), computing(op.module) as times:
        for _ in range(2):
            check(op, given)
            check(op, given | {"gain": None})
        assert len(times) == 2


def test_a_weight_may_have_further_dimensions_of_one_element(device: torch.device, tmp_path: Any) -> None:
    (op,) = compiled(SPECS["a norm of rows"], tmp_path)
    given = arguments(op, device)
    with on_chip(op.module, CHIPS["library"]):
        expected = op.call(**given)
        assert torch.equal(op.call(**given | {"gain": given["gain"][None]}), expected)


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in NOTHING_TO_PREPARE.items()])
def test_nothing_is_prepared(text: str, tmp_path: Any) -> None:
    (op,) = compiled(text, tmp_path)
    assert op.program.once is None
    assert "prepare" not in (op.module.__doc__ or "")
    assert not [value for value in vars(op.module).values() if isinstance(value, Prepare)]


def test_the_file_says_what_memory_is_taken(op: Compiled) -> None:
    doc = " ".join((op.module.__doc__ or "").split())
    assert op.program.once is not None
    (told,) = re.findall(r"computed once from (.*?), kept .*?: ((?:, |\w+: \w+\[.*?\])+)", doc)
    weights, kept = op.program.once.tensors, op.program.once.outputs
    assert told[0].split(", ") == [weight.name for weight in weights]
    assert re.findall(r"(\w+): (\w+)\[", told[1]) == [(output.name, str(output.element)) for output in kept]


MODULE = """
op f(x: T[..., K], weight w: T[N, K], weight scale: T[N]) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = dot(x, w * scale, over=K, precision=T)

module Scaled(in_dim: K, out_dim: N) of f
"""


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The op of `MODULE` and its class, every call with the product in the library."""
    loaded = load_from(MODULE, compile_file, tmp_path_factory.mktemp("cache"))
    module = sys.modules[loaded.f.__module__]
    with on_chip(module, replace(H200, library_work=0, skinny=0)):
        yield SimpleNamespace(module=module, Scaled=loaded.Scaled)


def _stepped(layer: torch.nn.Module) -> None:
    for weight in layer.parameters():
        weight.grad = torch.randn_like(weight)
    torch.optim.SGD(layer.parameters(), lr=0.5).step()


CHANGES: dict[str, Callable[[torch.nn.Module], Any]] = {
    "in place": lambda layer: layer.scale.mul_(2),
    "by an optimizer": _stepped,
    "load_state_dict": lambda layer: layer.load_state_dict(
        {name: torch.randn_like(weight) for name, weight in layer.state_dict().items()}
    ),
    "half": lambda layer: layer.half(),
    "half and back": lambda layer: layer.half().float(),
    "another parameter": lambda layer: setattr(layer, "w", torch.nn.Parameter(layer.w * 2)),
}


def _check(layer: Any, x: torch.Tensor, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Within the rounding of the weights and of the result, to the dtype, and of a sum of 16 products in f32."""
    x = x.to(layer.w.dtype)
    w = layer.w.double() * layer.scale.double()[:, None]
    wanted, terms = x.double() @ w.T, x.double().abs() @ w.abs().T
    unit, single = (torch.finfo(dtype).eps for dtype in (layer.w.dtype, torch.float32))
    assert ((call(x).double() - wanted).abs() <= terms * (2 * unit + 20 * single)).all()


@pytest.mark.parametrize("change", CHANGES)
def test_modules_see_changes(change: str, scaled: SimpleNamespace, device: torch.device) -> None:
    layers = [scaled.Scaled(16, 8, device=device, dtype=torch.float32) for _ in range(2)]
    x = torch.randn(5, 16, device=device)
    with torch.no_grad(), computing(scaled.module) as times:
        for layer in layers * 2:
            _check(layer, x, layer)
        assert len(times) == 2
        CHANGES[change](layers[0])
        for layer in layers * 2:
            _check(layer, x, layer)
        assert len(times) == 3


def test_in_torch_compile(scaled: SimpleNamespace, device: torch.device) -> None:
    layer, x = scaled.Scaled(16, 8, device=device, dtype=torch.float32), torch.randn(5, 16, device=device)
    whole = torch.compile(layer, fullgraph=True)
    with torch.no_grad(), computing(scaled.module) as times:
        for count in (1, 2, 3):
            for _ in range(2):
                _check(layer, x, whole)
            assert len(times) == count
            layer.scale.mul_(2)
