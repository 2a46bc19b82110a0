"""`fusec build`, with a compiler that needs no time: what it prints, where, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import fake
import pytest
from conftest import Fusec
from fake import COMPILER

from fusec.commands.exits import Exit
from fusec.driver.build import Verification


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two specs, in an empty working folder, with an empty store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fusec.commands.build.COMPILER", COMPILER)
    monkeypatch.setenv("PYTHONPATH", str(Path(fake.__file__).parent))
    monkeypatch.setattr("fusec.commands.build.default_folder", lambda: tmp_path / "store")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "one.fuse").write_text("alpha\n")
    (tmp_path / "specs" / "two.fuse").write_text("beta\n")
    return tmp_path / "specs"


def test_a_build_ends_in_a_table(fusec: Fusec, specs: Path) -> None:
    result = fusec("build", "--jobs", "1")
    assert (result.exit_code, result.stderr) == (Exit.OK, "")
    *header, alpha, first, beta, second, gate, changes = result.stdout.splitlines()
    titles = "op, plan kernels bytes moved above least registers spills shared with error memory bound / bound"
    assert " ".join(header).split() == titles.split()
    assert [line.split() for line in (alpha, beta)] == [["alpha", "-"], ["beta", "-"]]
    assert first.split() == second.split()
    assert first.split()[:6] == ["resident", "1", "x", "+", "y", "-"]
    registers, spills, shared = map(int, first.split()[6:])
    assert 8 < registers < 64
    assert spills == 0
    assert shared < 1024
    # Kernels of rows are the same for both chips.
    alike = "2 of them need no more than one that leaves registers free"
    assert gate == f"Resource gate: 4 kernel variants on sm_80, sm_90; {alike}."
    assert changes == "generated: 4 added"
    assert sorted(path.name for path in Path("generated").iterdir()) == ["__init__.py", "one.py", "py.typed", "two.py"]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_table_fits_the_columns_that_there_are_and_no_message_is_broken_for_them(
    fusec: Fusec, specs: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = "a-" * 40
    *table, changes, note = fusec("build", "--target", "none", "--out", out).stdout.splitlines()
    assert max(map(len, table)) <= width
    assert changes == f"{out}: 4 added"
    assert note.startswith(f"Python cannot import a package of the name {out!r}; ")


def test_a_second_build_changes_nothing(fusec: Fusec, specs: Path) -> None:
    fusec("build", "--target", "none")
    assert fusec("build", "--target", "none").stdout.splitlines()[-1] == "generated: up to date"


def test_a_folder_that_python_cannot_import_is_told(fusec: Fusec, specs: Path) -> None:
    *_, changes, note = fusec("build", "--target", "none", "--out", "my-ops").stdout.splitlines()
    assert changes == "my-ops: 4 added"
    assert note.startswith("Python cannot import a package of the name 'my-ops'")


def test_json_holds_everything_and_nothing_else_is_printed(fusec: Fusec, specs: Path) -> None:
    result = fusec("build", "--json", "--target", "sm_90", "--report", "report.json")
    assert (result.exit_code, result.stderr) == (Exit.OK, "")
    told = json.loads(result.stdout)
    assert told == json.loads(Path("report.json").read_text())
    assert told["ok"]
    assert told["written"]
    assert [op["op"] for op in told["ops"]] == ["alpha", "beta"]
    (verdict,) = told["ops"][0]["gate"]
    assert (verdict["target"], verdict["failure"], verdict["resources"]["spills"]) == ("sm_90", None, 0)


def test_checking_fails_on_a_stale_package_and_writes_nothing(fusec: Fusec, specs: Path) -> None:
    result = fusec("build", "--check", "--target", "none")
    assert result.exit_code == Exit.SPEC
    assert result.stderr == "error: generated is stale: run `fusec build` and commit the result\n"
    assert not Path("generated").exists()
    fusec("build", "--target", "none")
    assert fusec("build", "--check", "--target", "none").exit_code == Exit.OK


def test_the_mistakes_of_all_specs_go_to_standard_error(fusec: Fusec, specs: Path) -> None:
    (specs / "one.fuse").write_text("wrong\n")
    (specs / "two.fuse").write_text("beta\nwrong\n")
    result = fusec("build")
    assert (result.exit_code, result.stdout) == (Exit.SPEC, "")
    assert result.stderr == (
        "specs/one.fuse:1:1: error: this is wrong\n 1 | wrong\n   | ^^^^^\n\n"
        "specs/two.fuse:2:1: error: this is wrong\n 2 | wrong\n   | ^^^^^\n"
    )
    told = json.loads(fusec("build", "--json").stdout)
    assert [(error["file"], error["line"]) for error in told["errors"]] == [
        ("specs/one.fuse", 1),
        ("specs/two.fuse", 2),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "sm_1"), "unknown target sm_1; there are sm_80, sm_86, sm_89, sm_90, sm_100, sm_120 and none"),
        (("nowhere",), "nowhere"),
        (("--jobs", "0"), "--jobs"),
        (("--nonsense",), "nonsense"),
    ],
)
def test_wrong_usage(fusec: Fusec, specs: Path, arguments: Sequence[str], message: str) -> None:
    result = fusec("build", *arguments)
    assert result.exit_code == Exit.USAGE
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_without_specs_is_wrong_usage(fusec: Fusec, specs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = fusec("build", "empty")
    assert (result.exit_code, result.stderr) == (Exit.USAGE, "error: no .fuse files in empty\n")


def test_warnings_of_specs_are_told_by_every_build(fusec: Fusec, specs: Path) -> None:
    (specs / "two.fuse").write_text("beta\ndoubtful\n")
    for _ in ("compiled", "from the store"):
        result = fusec("build", "--target", "none")
        assert result.exit_code == Exit.OK
        assert result.stderr == "specs/two.fuse:2:1: warning: this is doubtful\n 2 | doubtful\n   | ^^^^^^^^\n"
    result = fusec("build", "--target", "none", "--json")
    assert (result.exit_code, result.stderr) == (Exit.OK, "")
    (warning,) = json.loads(result.stdout)["warnings"]
    assert (warning["file"], warning["line"], warning["severity"]) == ("specs/two.fuse", 2, "warning")
    (specs / "one.fuse").write_text("wrong\n")
    told = json.loads(fusec("build", "--json").stdout)
    assert [(len(told["errors"]), told["warnings"])] == [(1, [warning])]


def test_a_kernel_that_spills_fails_a_strict_build_and_is_a_warning_of_any_other(fusec: Fusec, specs: Path) -> None:
    (specs / "one.fuse").write_text("alpha 2048 32\n")
    result = fusec("build", "--strict", "--target", "sm_90")
    assert result.exit_code == Exit.FAILED
    first, last = result.stderr.splitlines()
    assert first.startswith("error: alpha: alpha f32 on sm_90: spills ")
    assert last == "generated was left as it was"
    assert "alpha" in result.stdout
    assert not Path("generated").exists()
    result = fusec("build", "--target", "sm_90")
    assert result.exit_code == Exit.OK
    assert result.stderr.startswith("warning: alpha: alpha f32 on sm_90: spills ")
    assert Path("generated").exists()


def test_a_wrong_op_fails_the_build(fusec: Fusec, specs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = (Verification("alpha", "here", 0.25), Verification("beta", "here", None, "off\nby one"))
    monkeypatch.setattr("fusec.commands.build.verify_package", lambda *_: found)
    result = fusec("build", "--verify", "--target", "none")
    assert result.exit_code == Exit.FAILED
    assert result.stderr.splitlines() == ["error: beta on here: off ... by one", "generated was left as it was"]
    ops = [line.split() for line in result.stdout.splitlines() if line.startswith(("alpha", "beta"))]
    assert ops == [["alpha", "0.25"], ["beta", "wrong"]]


def test_a_table_shows_errors_beside_plans_and_what_did_not_run(
    fusec: Fusec, specs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = Verification("alpha", "here", 0.25, errors={"double": 0.25}, bounded=0.975)
    left = Verification("beta", "here", None, not_run=("double",))
    monkeypatch.setattr("fusec.commands.build.verify_package", lambda *_: (ran, left))
    result = fusec("build", "--verify", "--target", "none")
    assert result.exit_code == Exit.OK
    assert result.stderr.splitlines() == ["warning: beta on here: not run: double"]
    _, _, alpha, first, beta, second, note, _ = (line.split() for line in result.stdout.splitlines())
    assert (alpha, first[0], first[-1]) == (["alpha", "98%", "0.25"], "resident", "0.25")
    assert (beta, second[0], second[-2:]) == (["beta", "-"], "resident", ["not", "run"])
    assert note[:5] == ["Verification:", "1", "of", "2", "kernels"]
    strict = fusec("build", "--verify", "--strict", "--target", "none")
    assert strict.exit_code == Exit.FAILED
    assert strict.stderr.splitlines()[0] == "error: beta on here: not run: double"


def test_a_kernel_that_the_gate_does_not_know_is_told(fusec: Fusec, specs: Path) -> None:
    (specs / "one.fuse").write_text("alpha unknown\n")
    result = fusec("build", "--target", "sm_90")
    assert result.exit_code == Exit.OK
    assert result.stderr == "warning: alpha: not compiled: double\n"
    assert "Resource gate: 1 kernel variants on sm_90; 1 kernels were not compiled." in result.stdout
    told = json.loads(fusec("build", "--target", "sm_90", "--json").stdout)
    assert [op["not_compiled"] for op in told["ops"]] == [["double"], []]
    assert fusec("build", "--target", "sm_90", "--strict").exit_code == Exit.FAILED
    assert fusec("build", "--target", "none").stderr == ""


def test_a_fault_of_the_compiler_names_the_pass_and_shows_no_traceback(fusec: Fusec, specs: Path) -> None:
    (specs / "one.fuse").write_text("broken\n")
    result = fusec("build")
    assert (result.exit_code, result.stdout) == (Exit.INTERNAL, "")
    assert result.stderr.splitlines()[:2] == [
        "internal error in passes/schedule/fake: fell over",
        "the graph it was given",
    ]
    assert "please report" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in fusec("build", "--debug").stderr


def test_a_file_of_the_user_in_the_way(fusec: Fusec, specs: Path) -> None:
    Path("generated").mkdir()
    Path("generated/one.py").write_text("mine\n")
    result = fusec("build", "--target", "none")
    assert result.exit_code == Exit.OUTPUT
    assert "generated/one.py: in the way" in result.stderr
    assert Path("generated/one.py").read_text() == "mine\n"


def test_a_folder_that_cannot_be_written(fusec: Fusec, specs: Path) -> None:
    Path("file").touch()
    result = fusec("build", "--target", "none", "--out", "file/generated")
    assert result.exit_code in (Exit.USAGE, Exit.OUTPUT)
    assert "Traceback" not in result.stderr


def test_results_are_reused_unless_told_otherwise(fusec: Fusec, specs: Path) -> None:
    (specs / "calls").touch()
    for arguments in ((), (), ("--no-cache",)):
        fusec("build", "--target", "none", *arguments)
    assert (specs / "calls").read_text().split() == ["one", "two", "one", "two"]


def test_what_hands_did_to_the_package_is_told(fusec: Fusec, specs: Path) -> None:
    fusec("build", "--target", "none")
    text = Path("generated/one.py").read_text()
    Path("generated/copy.py").write_text(text)
    Path("generated/one.py").write_text(f"{text}# mine\n")
    result = fusec("build", "--target", "none")
    assert result.exit_code == Exit.OK
    assert result.stderr.splitlines() == [
        "warning: generated/one.py was edited since the last build, and was replaced by what its spec makes",
        "warning: generated/copy.py is not as a build left it and belongs to no spec: it stays",
    ]
    assert result.stdout.splitlines()[-1] == "generated: 1 changed"
    assert (Path("generated/one.py").read_text(), Path("generated/copy.py").read_text()) == (text, text)
