"""`fusec.load`: a path or a text to an op, through a folder of generated files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake import compile_lines

import fusec
from fusec.diagnostics import SpecError, SpecWarning
from fusec.driver.load import load_from
from fusec.driver.store import Store

SPEC = '''op shifted(x: T[..., N], by: f32 = 1.0) -> y: T[..., N]
where T in {f16, f32}:
    """x + by."""
    y = x + by
'''


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, for `fusec.load` too."""
    monkeypatch.setattr("fusec.driver.load.default_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def test_one_op_is_loaded_as_itself(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "one.fuse").write_text("alpha\n")
    alpha = load_from(tmp_path / "one.fuse", compile_lines, cache)
    assert alpha() == "alpha"
    assert load_from(str(tmp_path / "one.fuse"), compile_lines, cache) is alpha


def test_several_ops_are_a_namespace(cache: Path) -> None:
    ops = load_from("alpha\nbeta\n", compile_lines, cache)
    assert (ops.alpha(), ops.beta()) == ("alpha", "beta")


def test_a_changed_spec_is_another_op(cache: Path) -> None:
    assert load_from("alpha\n", compile_lines, cache)() == "alpha"
    assert load_from("beta\n", compile_lines, cache)() == "beta"


def test_a_damaged_file_of_the_cache_is_written_again(cache: Path) -> None:
    load_from("delta\n", compile_lines, cache)
    (path,) = (cache / "loaded").glob("*.py")
    text = path.read_text()
    path.write_text("raise SystemExit\n")
    code = (
        "from pathlib import Path; from fake import compile_lines; from fusec.driver.load import load_from;"
        f"print(load_from('delta\\n', compile_lines, Path({str(cache)!r}))())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("delta\n", "")
    assert path.read_text() == text


def test_a_cache_that_cannot_be_read_is_not_used(tmp_path: Path) -> None:
    assert Store(tmp_path / "nowhere").get("spec", "key") is None
    (tmp_path / "file").touch()
    Store(tmp_path / "file").put("spec", "key", 1)
    assert Store(tmp_path / "file").get("spec", "key") is None


def test_a_path_that_leads_nowhere(cache: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no spec 'nowhere\.fuse'; give the path"):
        fusec.load("nowhere.fuse")


def test_a_text_of_one_line_is_no_path(cache: Path) -> None:
    with pytest.raises(SpecError, match="`y` cannot stand here; expected the end of the line"):
        fusec.load("op f(x: f32[N]) -> y: f32[N]: y = x")


def test_the_mistakes_of_a_text(cache: Path) -> None:
    with pytest.raises(SpecError) as caught:
        fusec.load(SPEC.replace("x + by", "x + bi"))
    assert str(caught.value).startswith("text.fuse:4:13: error:")


def test_a_warning_is_one_of_python_at_the_call(cache: Path) -> None:
    for _ in ("compiled", "from the cache"):
        with pytest.warns(SpecWarning, match=r"text\.fuse:1:26: warning: parameter `by` is not used") as caught:
            fusec.load(SPEC.replace("x + by", "x"))
        assert caught[0].filename == __file__


def test_a_real_op(cache: Path, device: torch.device) -> None:
    shifted = fusec.load(SPEC)
    x = torch.arange(12, dtype=torch.float32, device=device).reshape(3, 4)
    assert torch.equal(shifted(x), x + 1)
    assert torch.equal(shifted(x, by=0.5), x + 0.5)
    assert shifted is fusec.load(SPEC)


def test_an_unknown_name_of_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        vars(fusec)["__getattr__"]("lode")
