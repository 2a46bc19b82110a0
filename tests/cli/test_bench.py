"""`fusec bench`: who is wrong or fails is told and not timed; a report holds all figures and needs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Fusec
from torch.nn import functional

import generated
from fusec.commands import bench, bench_ops, peers_installed, peers_torch
from fusec.commands.bench_cases import SUITE, suite_of
from fusec.commands.bench_measure import alike, bits, flops, hold, listed, measure
from fusec.commands.bench_ops import module_of, op_calls
from fusec.commands.find import find_op
from fusec.commands.outcome import Exit
from fusec.commands.peers_torch import Arguments, Call
from fusec.commands.timing import Timing
from fusec.diagnostics import Source
from fusec.ir.graph import ChoiceParam, Graph
from fusec.reference.evaluate import evaluate
from fusec.report.results import OWN, Run, Step, from_json, to_json
from fusec.testing.cases import Case, build

SPECS = Path(__file__).resolve().parents[2] / "specs"


def clock(calls: Mapping[str, Call]) -> dict[str, Timing]:
    """Runs what it times; the n-th candidate takes 10 n microseconds."""
    for call in calls.values():
        call()
    return {who: Timing((10.0 * n, 10.0 * n), 1.0, True) for n, who in enumerate(calls, 1)}


def graph_of(op: str) -> Graph:
    return find_op(op, SPECS)[2]


@pytest.mark.parametrize("op", SUITE)
def test_ops_have_the_sizes_of_the_suite(op: str) -> None:
    graph = graph_of(op)
    cases = list(suite_of(graph, {}))
    assert len(cases) == len(SUITE[op].sizes)
    assert bool(flops(graph, cases[0])) == bool(graph.dots)
    assert bits(graph, cases[0]) == (8 if graph.dots and ("fp8" in op or "scaled" in op) else 16)


@pytest.fixture(scope="module")
def swish() -> Run:
    """A small op beside peers that are right, wrong, of another shape, broken, or missing."""
    graph = graph_of("softmax")
    case = Case(op="softmax", seed=0, extents={"N": 40}, lead=(3,), dtypes={"T": "bf16"})

    def peer(call: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Arguments], Call]:
        return lambda arguments: partial(call, arguments["x"])

    def missing(arguments: Arguments) -> Call:
        raise ImportError("no module of that name")

    others = {
        "right": peer(lambda x: torch.softmax(x, -1)),
        "wrong": peer(lambda x: torch.softmax(2 * x, -1)),
        "other": peer(lambda x: torch.softmax(x, -1)[:1]),
        "broken": peer(lambda x: torch.linalg.inv(x)),
        "missing": missing,
    }
    own = lambda x: torch.softmax(x.float(), -1).to(x.dtype)  # noqa: E731
    one = measure(own, graph, case, others.items(), clock, "cpu")
    return Run({"device": "none", "torch": "0", "command": "fusec bench <softmax>"}, (one,), copy_rate=1e12)


def test_who_is_wrong_or_fails_is_told_and_not_timed(swish: Run) -> None:
    (case,) = swish.cases
    assert case.device == {OWN: 10.0, "right": 20.0, "copy": 30.0}
    assert case.times("right") == 2
    assert (case.size, case.rows, case.bytes) == ("3x40", 3, 2 * 2 * 3 * 40)
    assert "another result" in case.failed["wrong"]
    assert "shape (1, 40) instead of (3, 40)" in case.failed["other"]
    assert case.failed.keys() == {"wrong", "other", "broken", "missing"}
    assert max(case.errors.values()) < 2.0**-8


def test_a_report_holds_all_figures_and_needs_nothing(fusec: Fusec, swish: Run, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text(to_json(swish))
    assert from_json(path.read_text(), "figures") == swish
    result = fusec("bench", "--from", path, "--report", tmp_path / "out")
    assert (result.exit_code, result.stderr.split()) == (
        0,
        [str(tmp_path / "out" / n) for n in ("report.json", "report.html")],
    )
    assert "fusec is faster by" in result.stdout
    assert (tmp_path / "out" / "report.json").read_text() == path.read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "20.0 (2.00×)" in page
    assert "fusec bench &lt;softmax&gt;" in page
    for word in ("src=", "<script", "<link", "@import", "url(http"):
        assert word not in page


def test_figures_without_a_gpu_are_those_of_a_file(fusec: Fusec, swish: Run, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text(to_json(swish))
    assert json.loads(fusec("bench", "--from", path, "--json").stdout)["cases"][0]["size"] == "3x40"
    for text, why in (
        ("{}", "is no result of"),
        ("[", "is no JSON"),
        ('{"format": "fusec bench 1"}', "no whole result"),
    ):
        path.write_text(text)
        result = fusec("bench", "--from", path)
        assert (result.exit_code, why in result.stderr) == (Exit.USAGE, True)
    assert fusec("bench", "--from", tmp_path / "none.json").exit_code == Exit.OUTPUT


def test_without_matplotlib_there_are_no_pictures(
    fusec: Fusec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "find_spec", lambda name: None if name == "matplotlib" else find_spec(name))
    result = fusec("bench", "rmsnorm", "--report", tmp_path)
    assert result.exit_code == Exit.USAGE
    assert "pip install 'fusec[report]'" in result.stderr


SMALL: dict[str, Case] = {
    **{
        op: Case(op=op, seed=1, extents={"N": 24}, lead=(2, 3), dtypes={"T": "f32", "W": "f32"})
        for op in ("rmsnorm", "rmsnorm_unit_offset", "add_rmsnorm", "layernorm", "softmax", "gated_activation")
    },
    **{
        op: Case(op=op, seed=1, extents={"N": 24}, lead=(5,), dtypes={"T": "f32", "W": "f32"})
        for op in ("rmsnorm_gradient", "layernorm_gradient")
    },
    **{
        op: Case(op=op, seed=1, extents={"K": 32, "N": 16}, lead=(5,), dtypes=dict.fromkeys("TWV", "f32"))
        for op in (
            "linear",
            "linear_activation",
            "linear_residual",
            "rmsnorm_linear",
            "fused_gated_mlp",
            "rmsnorm_gated_mlp",
            "linear_add_rmsnorm",
        )
    },
    "rope_qk": Case(
        op="rope_qk",
        seed=1,
        extents={"B": 2, "S": 3, "P": 3, "Hq": 4, "Hk": 2, "D": 8},
        dtypes={"T": "f32", "C": "f32", "I": "i64"},
        omitted=("position_ids",),
    ),
}
"""A call of every op that PyTorch, or a stand-in for a library, can do on any machine."""


def arguments_of(op: str) -> tuple[dict[str, Any], tuple[torch.Tensor, ...]]:
    """Arguments, and the results in f64."""
    graph = graph_of(op)
    dtypes = {each.name: SMALL[op].dtypes[each.name] for each in graph.variables}
    picks = {each.name: str(each.default) for each in graph.params if isinstance(each, ChoiceParam)}
    case = replace(SMALL[op], dtypes=dtypes, picks=picks)
    arguments = alike(build(graph, case).arguments)
    return arguments, tuple(evaluate(graph, arguments).values())


@pytest.mark.parametrize("op", [op for op in SMALL if op in {**peers_torch.WRITTEN, **peers_torch.OTHERS}])
def test_pytorch_does_the_same(op: str) -> None:
    arguments, exact = arguments_of(op)
    if op in peers_torch.WRITTEN:
        assert hold(listed(peers_torch.WRITTEN[op][1](**arguments)), exact) < 1e-5
    for maker in peers_torch.OTHERS.get(op, {}).values():
        if op != "rmsnorm_gradient":  # PyTorch has that for GPUs alone
            assert hold(listed(maker(arguments)()), exact) < 1e-5


class Liger:
    """What Liger has, with its signatures and its habit of turning q and k in place, in PyTorch."""

    LigerRMSNormFunction = SimpleNamespace(
        apply=lambda x, w, eps, offset, mode, in_place: functional.rms_norm(x, w.shape, w + offset, eps)
    )
    LigerFusedAddRMSNormFunction = SimpleNamespace(
        apply=lambda x, r, w, eps, offset, mode, in_place: (functional.rms_norm(x + r, w.shape, w, eps), x + r)
    )
    LigerLayerNormFunction = SimpleNamespace(apply=lambda x, w, b, eps: functional.layer_norm(x, w.shape, w, b, eps))
    LigerSoftmaxFunction = SimpleNamespace(apply=lambda x: torch.softmax(x, -1))
    LigerSiLUMulFunction = SimpleNamespace(apply=lambda a, b: functional.silu(a) * b)
    LigerRopeFunction = SimpleNamespace(
        apply=lambda q, k, cos, sin: tuple(each.copy_(turned(each, cos, sin)) for each in (q, k))
    )


def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Heads before tokens, as Hugging Face turns them."""
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


class Quack:
    """What quack has: one function for norms, and one whose weights are of f32."""

    @staticmethod
    def rmsnorm(
        x: Any, weight: Any, residual: Any = None, eps: float = 0, prenorm: bool = False, weight_offset: float = 0
    ) -> Any:
        total = x if residual is None else x + residual
        out = functional.rms_norm(total, weight.shape, weight + weight_offset, eps)
        return (out, total) if prenorm else out

    @staticmethod
    def layernorm_fwd(x: Any, weight: Any, bias: Any, eps: float) -> Any:
        assert weight.dtype == bias.dtype == torch.float32
        return functional.layer_norm(x, weight.shape, weight, bias, eps)

    softmax = staticmethod(lambda x: torch.softmax(x, -1))


class FlashInfer:
    """What FlashInfer has: adds in place, reads gate and up side by side, and positions with half tables."""

    rmsnorm = staticmethod(lambda x, w, eps: functional.rms_norm(x, w.shape, w, eps))
    gemma_rmsnorm = staticmethod(lambda x, w, eps: functional.rms_norm(x, w.shape, w + 1, eps))
    layernorm = staticmethod(lambda x, w, b, eps: functional.layer_norm(x, w.shape, w, b, eps))
    gelu_and_mul = gelu_tanh_and_mul = None

    @staticmethod
    def silu_and_mul(packed: torch.Tensor) -> torch.Tensor:
        gate, up = packed.chunk(2, -1)
        return functional.silu(gate) * up

    @staticmethod
    def fused_add_rmsnorm(x: torch.Tensor, residual: torch.Tensor, w: torch.Tensor, eps: float) -> None:
        residual += x
        x.copy_(functional.rms_norm(residual, w.shape, w, eps))

    @staticmethod
    def apply_rope_with_cos_sin_cache(positions: Any, q: Any, k: Any, width: int, table: Any) -> Any:
        cos, sin = (torch.cat((half, half), -1)[positions][:, None] for half in table.chunk(2, -1))
        return tuple(turned(each.view(len(each), -1, width), cos, sin).reshape(each.shape) for each in (q, k))


@pytest.mark.parametrize(("library", "calls"), [
    (Liger, peers_installed.LIGER), (Quack, peers_installed.QUACK), (FlashInfer, peers_installed.FLASHINFER),
])  # fmt: skip
def test_libraries_are_called_for_the_same(library: Any, calls: Mapping[str, peers_installed.Maker]) -> None:
    for op, (_, maker) in calls.items():
        arguments, exact = arguments_of(op)
        before = {name: value.clone() for name, value in arguments.items() if isinstance(value, torch.Tensor)}
        call = maker(library, arguments)
        assert hold(listed(call()), exact) < 1e-5, op
        call()
        assert all(torch.equal(arguments[name], value) for name, value in before.items()), op


def test_what_a_library_has_no_kernel_for_is_told() -> None:
    gated, _ = arguments_of("gated_activation")
    with pytest.raises(peers_installed.UnfitError, match="for silu alone"):
        peers_installed.LIGER["gated_activation"][1](Liger, gated | {"activation": "relu"})()
    rope, _ = arguments_of("rope_qk")
    with pytest.raises(peers_installed.UnfitError, match="positions"):
        peers_installed.LIGER["rope_qk"][1](Liger, rope | {"position_ids": torch.zeros(2, 3)})


def test_a_whole_run_on_any_device(device: torch.device, fusec: Fusec, tmp_path: Path) -> None:
    """Our op itself, timed by a false clock, with products, limits and a model: every picture is drawn."""
    softmax = next(op_calls("softmax", SPECS, [], {}))
    lines = Case(op="softmax", seed=0, extents={"N": 32}, lead=(2,), dtypes={"T": "bf16"})
    calls = [softmax._replace(case=replace(lines, extents={"N": size})) for size in (32, 40)]
    told: list[Run] = []
    run = bench.measured(calls, clock, "off", {"device": "a clock"}, told.append, str(device))
    assert [len(found.cases) for found in told] == [1, 2]
    assert [list(case.device) for case in run.cases] == [[OWN, "eager", "torch.nn.functional", "copy"]] * 2
    steps = (Step("a model", "decode 1", {OWN: 1.0, "eager": 3.0}, {OWN: 0.5, "eager": 1.0}),)
    path = tmp_path / "run.json"
    path.write_text(to_json(Run(run.about, run.cases, 1e12, {"bf16": 500.0}, steps)))
    assert fusec("bench", "--from", path, "--report", tmp_path).exit_code == 0
    assert "Whole models" in (tmp_path / "report.html").read_text()


def test_the_shipped_op_is_timed_where_its_spec_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr(bench_ops, "load_module", lambda source, *_: built.append(source.text))
    path, source, _ = find_op("softmax", SPECS)
    assert module_of(path, source).softmax is generated.softmax
    assert built == []
    module_of(path, Source(source.name, f"{source.text}\n"))
    assert built == [f"{source.text}\n"]
