"""The other commands, with the real compiler, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Fusec

from fusec import __version__
from fusec.cli import COMMANDS, main
from fusec.commands.exits import Exit

SPEC = """op scaled(x: T[..., N], factor: f32 = 2.0) -> y: T[..., N]
where T in {f16, f32}:
    \"\"\"factor times x.\"\"\"
    y = x * factor
"""

WRONG = SPEC.replace("x * factor", "x * facto")


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    (tmp_path / "scaled.fuse").write_text(SPEC)
    return tmp_path


def shell(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as a shell runs it."""
    words = [sys.executable, "-m", "fusec", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_has_examples_and_exit_codes(fusec: Fusec, command: tuple[str, ...]) -> None:
    result = fusec(*command, "--help")
    assert result.exit_code == 0
    for word in ("Examples", f"fusec {' '.join(command)}", "Exit codes", *([] if command else COMMANDS)):
        assert word in result.stdout


def test_the_version() -> None:
    result = shell("--version")
    assert (result.returncode, result.stdout) == (0, f"fusec {__version__}\n")


def test_an_unknown_command(fusec: Fusec) -> None:
    result = fusec("bild")
    assert result.exit_code == Exit.USAGE
    assert "bild" in result.stderr


def test_a_command_that_is_interrupted(fusec: Fusec, specs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fusec.commands.check.read_specs", interrupt)
    result = fusec("check", specs)
    assert (result.exit_code, result.stderr) == (Exit.INTERRUPTED, "interrupted\n")
    monkeypatch.setattr("fusec.cli.application", interrupt)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == Exit.INTERRUPTED


def test_checking_a_right_spec(fusec: Fusec, specs: Path) -> None:
    result = fusec("check", specs)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "1 op, no mistakes\n", "")
    assert json.loads(fusec("check", specs, "--json").stdout) == {"ok": True, "ops": ["scaled"], "warnings": []}


@pytest.mark.parametrize("command", [("check",), ("explain", "scaled", "--specs")])
def test_a_warning_goes_to_standard_error_and_changes_no_exit_code(
    fusec: Fusec, specs: Path, command: tuple[str, ...]
) -> None:
    (specs / "scaled.fuse").write_text(SPEC.replace("x * factor", "x * 2"))
    result = fusec(*command, specs)
    assert result.exit_code == 0
    assert result.stderr == (
        f"{specs}/scaled.fuse:1:25: warning: parameter `factor` is not used: nothing that comes out depends on it\n"
        " 1 | op scaled(x: T[..., N], factor: f32 = 2.0) -> y: T[..., N]\n"
        "   |                         ^^^^^^\n"
        "help: use it, or drop it\n"
    )
    result = fusec(*command, specs, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    (warning,) = json.loads(result.stdout)["warnings"]
    assert (warning["severity"], warning["line"], warning["column"]) == ("warning", 1, 25)


def test_checking_counts_warnings(fusec: Fusec, specs: Path) -> None:
    (specs / "scaled.fuse").write_text(SPEC.replace("x * factor", "x * 2"))
    assert fusec("check", specs).stdout == "1 op, 1 warning\n"


def test_checking_a_wrong_spec(fusec: Fusec, specs: Path) -> None:
    (specs / "scaled.fuse").write_text(WRONG)
    (specs / "other.fuse").write_text(WRONG.replace("scaled", "other"))
    result = fusec("check", specs)
    assert (result.exit_code, result.stdout) == (Exit.SPEC, "")
    assert "scaled.fuse:4:13: error:" in result.stderr
    assert "other.fuse:4:13: error:" in result.stderr
    assert "did you mean `factor`?" in result.stderr
    told = json.loads(fusec("check", specs, "--json").stdout)
    assert [error["line"] for error in told["errors"]] == [4, 4]


def test_checking_finds_what_only_the_whole_package_has(fusec: Fusec, specs: Path) -> None:
    (specs / "again.fuse").write_text(SPEC)
    result = fusec("check", specs)
    assert result.exit_code == Exit.SPEC
    assert "scaled.fuse:1:4: error: `scaled` is defined in two files" in result.stderr
    assert "again.fuse:1:4: note: `scaled` is first defined here" in result.stderr


def test_a_module_has_a_name_of_the_package_too(fusec: Fusec, specs: Path) -> None:
    text = "op other(x: f32[N], weight w: f32[N]) -> y: f32[N]:\n    y = x * w\n\nmodule scaled(n: N) of other\n"
    (specs / "again.fuse").write_text(text)
    result = fusec("check", specs)
    assert result.exit_code == Exit.SPEC
    assert "again.fuse:4:8: note: `scaled` is first defined here" in result.stderr


def test_a_list_of_commands_waits_for_none_and_checking_for_no_torch(specs: Path) -> None:
    code = (
        "import sys; from fusec.cli import application\n"
        "application(['--help']), print('sympy' in sys.modules)\n"
        f"application(['check'])(['check', {str(specs)!r}], standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.splitlines() == ["False", "1 op, no mistakes", "False"]


def test_building_waits_for_no_torch(specs: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from fusec.cli import application\n"
        f"words = ['build', {str(specs)!r}, '--out', {str(tmp_path / 'ops')!r}, '--target', 'none', '--no-cache']\n"
        "application(words)(words, standalone_mode=False)\n"
        "print({'torch', 'triton', 'hypothesis'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.splitlines()[-1] == "set()", result.stderr


def test_explaining_waits_for_nothing_that_writes_files_or_runs_kernels(specs: Path) -> None:
    """But for jinja2: which kernels of a file are one, and so what they are called, is seen from their text."""
    code = (
        "import sys; from fusec.cli import application\n"
        f"words = ['explain', 'scaled', '--specs', {str(specs)!r}]\n"
        "application(words)(words, standalone_mode=False)\n"
        "print({'torch', 'triton', 'numpy', 'fusec.reference.emit'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.splitlines()[-1] == "set()", result.stderr


def test_explaining_an_op(fusec: Fusec, specs: Path) -> None:
    result = fusec("explain", "scaled", "--specs", specs)
    assert result.exit_code == 0, result.stderr
    title, _, plan, *lines = result.stdout.splitlines()
    assert title == "scaled: factor times x."
    assert plan == "plan 1, elementwise: blocks of ..., N"
    assert [line.split(maxsplit=1) for line in lines] == [
        ["kernel", "_scaled_elementwise"],
        ["moves", "x + y: a program, each once; --size tells the bytes of a call"],
        ["registers", "about 32 with 16 elements of a tile to a thread: (row * N) / threads + 16"],
    ]


def test_explaining_reductions(fusec: Fusec, specs: Path) -> None:
    (specs / "normal.fuse").write_text("op normal(x: f32[..., N]) -> y: f32[..., N]:\n    y = softmax(x, over=N)\n")
    told = fusec("explain", "normal", "--specs", specs).stdout
    assert "reduction 2: sum over N in softmax(x, over=N)\n    merge      refused: reduction 1 needs an earlier" in told
    assert "    moves      3 x + y: a program reads 2 x again; --size" in told
    plans = json.loads(fusec("explain", "normal", "--specs", specs, "--json").stdout)["plans"]
    streamed = next(plan for plan in plans if plan["plan"]["name"] == "row_loop")
    assert streamed["plan"]["excess"] == "2 x"
    assert [place["place"] for place in streamed["reductions"]] == [f"streamed along N, sweep {n} of 2" for n in (1, 2)]
    assert streamed["registers"]["row_loop"]["count"] > 16


def test_explaining_every_step(fusec: Fusec, specs: Path) -> None:
    result = fusec("explain", "scaled", "--specs", specs, "--ir", "all")
    assert result.exit_code == 0, result.stderr
    steps = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("--- ")]
    assert steps[0] == "elaborate"
    assert "simplify" in steps
    assert "tl.store(" in result.stdout.split("--- build_kernels")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("explain", "scald"), "no op scald in {specs}; did you mean scaled?"),
        (("explain", "zzz"), "no op zzz in {specs}; there are scaled"),
        (("explain", "scaled", "--ir", "zzz"), "no step zzz; there are elaborate, simplify"),
    ],
)
def test_asking_for_what_is_not_there(fusec: Fusec, specs: Path, arguments: tuple[str, ...], message: str) -> None:
    result = fusec(*arguments, "--specs", specs)
    assert result.exit_code == Exit.USAGE
    assert message.format(specs=specs) in result.stderr


def test_doctor_tries_everything(fusec: Fusec) -> None:
    result = fusec("doctor", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0, told
    works = {finding["what"]: finding["works"] for finding in told["findings"]}
    assert works["interpreter"]
    assert works["sm_90"]
    assert works["ptxas"]


def test_a_reader_that_goes_away_is_no_error(specs: Path) -> None:
    words = [sys.executable, "-m", "fusec", "explain", "scaled", "--specs", str(specs), "--ir", "all"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=120) == Exit.OUTPUT
        assert process.stderr is not None
        assert process.stderr.read() == ""
