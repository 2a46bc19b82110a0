"""`fusec tune` up to where it needs a GPU, and from where it has its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Fusec

from fusec.commands import tune
from fusec.commands.exits import Exit
from fusec.commands.outcome import UsageError
from fusec.commands.tune import Subject, find, require_built, require_table
from fusec.commands.tune_shapes import USUAL_ROWS, cases, parse
from fusec.driver.tuning.search import Effort, Job
from fusec.runtime.select.tables import read

LINEAR = """op linear(x: T[..., K], weight weight: T[N, K], weight bias: T[N] = 0) -> y: T[..., N]
where T in {f16, bf16}:
    y = dot(x, weight, over=K) + bias
"""

BMM = "op bmm(a: T[B, M, K], b: T[B, K, N]) -> y: T[B, M, N]\nwhere T in {bf16, f32}:\n    y = dot(a, b, over=K)\n"

HEADS = """op heads(x: T[B, S, K], weight weight: T[H*D, K], weight gain: T[D]) -> y: T[B, S, H*D]
where T in {bf16, f32}, D % 2 == 0:
    y = dot(x, weight, over=K) * gain
"""

SCALED = "op scaled(x: f32[N]) -> y: f32[N]:\n    y = 2 * x\n"

TOTAL = "op total(x: f32[..., N]) -> y: f32[N]:\n    y = sum(x, over=...)\n"


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    folder = tmp_path / "specs"
    folder.mkdir()
    for name, text in (("linear", LINEAR), ("bmm", BMM), ("heads", HEADS), ("scaled", SCALED), ("total", TOTAL)):
        (folder / f"{name}.fuse").write_text(text)
    return folder


def op(specs: Path, name: str) -> Subject:
    (found,) = find(specs, [name])
    return found


def sizes(specs: Path, name: str, *shapes: str, **options: Any) -> list[dict[str, Any]]:
    """The extents of the calls of an op, `...` among them."""
    about = op(specs, name)
    made = cases(about.graph, about.choosing, shapes, options.get("dtypes", {}), options.get("given", ()))
    return [{**case.extents, **({"...": case.lead} if case.lead else {})} for case in made]


def test_without_a_gpu_it_says_so(fusec: Fusec, specs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = fusec("tune", "--specs", specs)
    assert result.exit_code == Exit.USAGE
    assert result.stderr == "error: there is no GPU here: plans are measured on the device that they are for\n"


def test_shapes_as_they_are_written() -> None:
    assert parse("M=1,16 K=3584  N=3584,18944") == {"M": (1, 16), "K": (3584,), "N": (3584, 18944)}
    assert parse("") == {}
    for wrong in ("M", "M=", "M=1,", "M=a", "M=1;2", "=1 M=2x3", "M=-1"):
        with pytest.raises(UsageError, match=r"write AXIS=EXTENT,EXTENT, for instance 'M=1,16,2048 K=4096 N=4096'"):
            parse(wrong)


def test_shapes_are_all_combinations(specs: Path) -> None:
    found = sizes(specs, "linear", "M=1,16 K=64 N=32,48", "M=16 K=64 N=48", "M=2 K=8 N=8")
    assert found == [
        {"K": 64, "N": 32, "...": (1,)},
        {"K": 64, "N": 48, "...": (1,)},
        {"K": 64, "N": 32, "...": (16,)},
        {"K": 64, "N": 48, "...": (16,)},
        {"K": 8, "N": 8, "...": (2,)},
    ]


def test_sizes_that_nobody_names_are_usual_ones(specs: Path) -> None:
    assert sizes(specs, "linear") == [{"K": 4096, "N": 4096, "...": (rows,)} for rows in USUAL_ROWS]
    assert sizes(specs, "bmm", "M=8") == [{"B": 32, "M": 8, "K": 4096, "N": 4096}]
    assert sizes(specs, "heads", "M=8") == [{"B": 1, "S": 8, "K": 4096, "H": 32, "D": 128}]
    assert sizes(specs, "heads", "B=3 S=5") == [{"B": 3, "S": 5, "K": 4096, "H": 32, "D": 128}]


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("linear", "B=3", {}, "--shapes B: linear has no axis B; it has K, N, M"),
        ("heads", "M=4 D=3", {}, "heads cannot have these extents"),
        ("linear", "M=4", {"dtypes": {"T": "f32"}}, "--dtype T=f32: it is one of f16, bf16"),
        ("linear", "M=4", {"dtypes": {"U": "f32"}}, "--dtype U: linear has no type variable U; it has T"),
        ("linear", "M=4", {"given": ["gain"]}, "--with gain: linear has no optional tensor gain; it has bias"),
        ("bmm", "M=4", {"given": ["gain"]}, "--with gain: bmm has no optional tensor gain; it has none"),
    ],
)
def test_shapes_that_an_op_cannot_have(
    specs: Path, name: str, shape: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        sizes(specs, name, shape, **options)
    assert message in str(caught.value)


def test_optional_tensors_are_left_out_unless_they_are_asked_for(specs: Path) -> None:
    about = op(specs, "linear")
    for given, omitted in (((), ("bias",)), (("bias",), ())):
        (case,) = cases(about.graph, about.choosing, ["M=4"], {"T": "f16"}, given)
        assert (case.omitted, case.dtypes) == (omitted, {"T": "f16"})


def test_the_ops_that_have_a_choice(specs: Path) -> None:
    assert [each.graph.name for each in find(specs, [])] == ["bmm", "heads", "linear", "scaled"]
    assert [each.graph.name for each in find(specs, ["linear", "bmm", "linear"])] == ["linear", "bmm"]
    with pytest.raises(UsageError, match="total has no rows to count"):
        find(specs, ["total"])
    with pytest.raises(UsageError, match=r"no op linea in .*; there are bmm, heads, linear, scaled"):
        find(specs, ["linea"])


def test_a_package_of_other_specs_is_not_tuned(fusec: Fusec, specs: Path, tmp_path: Path) -> None:
    package = tmp_path / "made"
    about = op(specs, "linear")
    with pytest.raises(UsageError, match=r"linear\.py is not what .*linear\.fuse makes: run `fusec build"):
        require_built(about, package)
    assert fusec("build", specs, "--out", package, "--target", "none").exit_code == 0
    require_built(about, package)
    (specs / "linear.fuse").write_text(LINEAR + "\n")
    with pytest.raises(UsageError, match="run `fusec build"):
        require_built(op(specs, "linear"), package)


def test_a_table_that_cannot_be_read_stops_it_before_it_measures(tmp_path: Path) -> None:
    path = tmp_path / "nvidia-h200.toml"
    require_table(path)
    path.write_text("what")
    with pytest.raises(UsageError, match=r"is no table of tuned choices.*mend it or move it away"):
        require_table(path)


def test_what_is_found_is_written_told_and_used_and_a_build_keeps_it(fusec: Fusec, specs: Path, tmp_path: Path) -> None:
    package = tmp_path / "made"
    assert fusec("build", specs, "--out", package, "--target", "none").exit_code == 0
    about = op(specs, "linear")
    asked = cases(about.graph, about.choosing, ["M=1,12,64,100 K=64 N=32"], {}, ())
    jobs = [tune.job(about, package, case) for case in asked]
    outcomes = tune.tune(about, package, jobs, answering, Effort(), "Chip 9", "sm_9")
    path = package / "tuned" / "chip-9.toml"
    entries = {entry.rows: str(entry.choice) for entry in read(path).ops["linear"].entries}
    assert entries == {1: "gemv", 16: "gemv"}
    # Lines of the table: the op, then a case each.
    lines = list(tune.rows({"linear": outcomes}))
    assert [line[1:6] for line in lines[1:3]] == [
        ("1", "gemv", "8.0", "10.0", "1.25x"),
        ("12", "gemv", "4.0", "10.0", "2.50x"),
    ]
    assert lines[3][2] == "library (by rule)"
    assert lines[4][2] == "as the rules have it: RuntimeError: no"
    told = tune.to_json("Chip 9", {"linear": asked}, {"linear": outcomes})
    assert not told["ok"]
    assert json.loads(json.dumps(told))["ops"]["linear"][1]["microseconds"]["by rule"] == 10.0
    # A build leaves the table alone, and says when it no longer counts.
    text = path.read_text()
    assert "stale" not in fusec("build", specs, "--out", package, "--target", "none").stdout
    (specs / "linear.fuse").write_text(LINEAR.replace("+ bias", "+ bias * 2"))
    rebuilt = fusec("build", specs, "--out", package, "--target", "none")
    assert rebuilt.exit_code == 0
    assert f"{path}: stale, and not used here: linear: tuned for another text of its spec" in rebuilt.stdout
    assert path.read_text() == text


def answering(what: str, jobs: Sequence[Job], at_once: int | None) -> list[Any]:
    """Workers that find `gemv` best for 1 row and 12, nothing better than the rules for 64, and fail at 100."""
    return [_answer(job, job["case"]["lead"][0]) for job in jobs]


def _answer(job: Job, rows: int) -> dict[str, Any]:
    case = {"K": 64, "N": 32, "T": "bfloat16", "bias": False}
    if job["do"] == "outline":
        plans = {"library": [], "gemv": []}
        return {"failure": None, "outline": {"rows": rows, "case": case, "by_rule": "library", "plans": plans}}
    if job["do"] == "try":
        return {"failure": "RuntimeError: no" if rows == 100 and job["choice"] is None else None}
    times = {1: [10.0, 8.0], 12: [10.0, 4.0], 64: [10.0, 11.0]}[rows]
    best = min(range(2), key=times.__getitem__)
    return {"failure": None, "winner": best, "times": dict(enumerate(times)), "noise": 0.01, "refused": {}}
