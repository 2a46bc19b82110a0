"""`fusec bench`: who is wrong or fails is told and not timed; a report holds all figures and needs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import Fusec

import generated
from fusec.commands import bench, bench_ops
from fusec.commands.bench_cases import SUITE, Sizes, suite_of
from fusec.commands.bench_measure import bits, flops, measure
from fusec.commands.bench_ops import module_of, op_calls, swept_calls
from fusec.commands.exits import Exit
from fusec.commands.find import find_op
from fusec.commands.limits import Limit
from fusec.commands.peers_torch import Arguments, Call
from fusec.commands.sizes import choose, sweep
from fusec.commands.timing import Timing
from fusec.diagnostics import Source
from fusec.driver.specs import read_specs
from fusec.ir.graph import Graph
from fusec.lang.load import load
from fusec.passes.graph.elaborate.op import elaborate
from fusec.report.results import OWN, Run, Step, from_json, to_json
from fusec.testing.cases import Case

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


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    """A machine with a GPU, as the command sees it, whose clock is false: calls run where tests do."""
    monkeypatch.setattr(bench, "torch", SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: True, get_device_name=lambda: "a GPU"),
        compiler=torch.compiler, __version__=torch.__version__,
    ))  # fmt: skip
    monkeypatch.setattr(bench, "time_calls", lambda calls, rounds: clock(calls))
    monkeypatch.setattr(bench, "measured", partial(bench.measured, device=str(device)))
    monkeypatch.setattr(
        bench, "best", lambda timer, kinds: [Limit("copy", "TB/s", 4.0), Limit("bf16", "TFLOP/s", 800.0)]
    )
    monkeypatch.setitem(SUITE, "softmax", Sizes(("...=2 N=32", "...=2 N=40")))


@pytest.mark.usefixtures("machine")
def test_the_command_tells_and_keeps_what_it_measures(fusec: Fusec, tmp_path: Path) -> None:
    one = fusec("bench", "softmax", "--size", "...=3", "--size", "N=24", "--compile", "off", "--specs", SPECS)
    assert (one.exit_code, one.stderr) == (0, "")
    told = [line.split()[0] for line in one.stdout.splitlines()]
    assert told[:5] == ["candidate", "fusec", "eager", "torch.nn.functional", "a"]
    out = tmp_path / "new" / "figures.json"
    many = fusec("bench", "softmax", "--suite", "--compile", "off", "--specs", SPECS, "--out", out, "--json")
    assert many.exit_code == 0, many.stderr
    assert many.stdout == f"{out.read_text()}\n"
    found = from_json(out.read_text(), "figures")
    assert (found.copy_rate, found.ceilings, found.about["device"]) == (4e12, {"bf16": 800.0}, "a GPU")
    assert [case.size for case in found.cases] == ["2x32", "2x40"]
    wrong = fusec("bench", "rmsnorm_rounded", "--suite", "--specs", SPECS)
    assert (wrong.exit_code, "is not in the suite, which has rmsnorm" in wrong.stderr) == (Exit.USAGE, True)
    assert fusec("bench", "softmax", "--compile", "fast").exit_code == Exit.USAGE


def test_every_shipped_op_has_sizes_of_its_own_accord() -> None:
    for path, source in read_specs(SPECS).items():
        for graph in elaborate(load(source, path.parent)):
            assert sweep(graph, {})[-1] == choose(graph, [], {}), graph.name
    assert choose(graph_of("linear"), [], {}).extents == {"K": 4096, "N": 4096}
    assert choose(graph_of("rope_qk"), [], {}).extents["D"] == 128


def test_an_op_that_the_suite_lacks_is_swept_from_one_row_up() -> None:
    norm = [ready.case for ready in swept_calls("rmsnorm_rounded", SPECS, {"T": "f16"})]
    assert [(case.lead, case.extents["N"], case.dtypes["T"]) for case in norm] == [
        ((2**exponent,), 4096, "f16") for exponent in (0, 4, 8, 11, 14)
    ]
    assert norm[-1] == choose(graph_of("rmsnorm_rounded"), [], {"T": "f16"})
    assert [ready.case for ready in swept_calls("softmax", SPECS, {})] == list(suite_of(graph_of("softmax"), {}))


@pytest.mark.usefixtures("machine")
def test_an_op_that_is_wrong_is_no_result(fusec: Fusec, monkeypatch: pytest.MonkeyPatch) -> None:
    right = generated.softmax
    module = SimpleNamespace(softmax=lambda x: right(x) * 2, reference_softmax=lambda x: torch.softmax(x, -1))
    monkeypatch.setattr(bench_ops, "module_of", lambda *_: module)
    result = fusec("bench", "softmax", "--suite", "--compile", "off", "--specs", SPECS)
    assert result.exit_code == Exit.FAILED
    assert "softmax 2x32: fusec: ValueError: another result" in result.stdout
