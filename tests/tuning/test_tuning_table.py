"""Tables: what was found comes back, in order, with a line each; and what is stale is told and not used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusec.driver.tuning import table
from fusec.driver.tuning.table import Found, remarks, update
from fusec.runtime.select import tables as tuned
from fusec.runtime.select.tables import Choice, choices, path_of, read

CASE = {"K": 3584, "N": 18944, "T": "bfloat16", "bias": False}
TILE = Choice("product", (("block_m", 16), ("num_warps", 4)))


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are read once in a process; here each time."""
    monkeypatch.setattr(tuned, "tables", tuned.tables.__wrapped__)


def put(package: Path, op: str, *found: Found, spec: str = "abc", device: str = "NVIDIA H200") -> None:
    update(package, device, "sm_90", op, spec, found)


def look_up(package: Path, op: str = "linear", spec: str = "abc", device: str = "NVIDIA H200") -> dict[Any, Choice]:
    return choices(package / "tuned", op, spec, tuple(CASE), device, "sm_90")


def test_what_was_found_comes_back(tmp_path: Path) -> None:
    put(tmp_path, "linear", Found(1, CASE, Choice("resident")), Found(12, CASE, TILE))
    assert look_up(tmp_path) == {
        (1, 3584, 18944, "bfloat16", False): Choice("resident"),
        (16, 3584, 18944, "bfloat16", False): TILE,
    }


def test_the_file_is_for_people_too(tmp_path: Path) -> None:
    put(tmp_path, "linear", Found(2048, CASE, TILE), Found(16, CASE, Choice("library")), Found(4, CASE, None))
    put(tmp_path, "bmm", Found(16, {"N": 64}, TILE))
    path = tmp_path / "tuned" / "nvidia-h200.toml"
    torch, triton = tuned.toolchain()
    assert (
        path.read_text().split("\n", 3)[3]
        == f"""\
device = "NVIDIA H200"
family = "sm_90"

[op.bmm]
spec = "abc"
torch = "{torch}"
triton = "{triton}"
choices = [
    {{ rows = 16, case = {{ N = 64 }}, plan = "product", tile = {{ block_m = 16, num_warps = 4 }} }},
]

[op.linear]
spec = "abc"
torch = "{torch}"
triton = "{triton}"
choices = [
    {{ rows = 16, case = {{ K = 3584, N = 18944, T = "bfloat16", bias = false }}, plan = "library" }},
    {{ rows = 2048, case = {{ K = 3584, N = 18944, T = "bfloat16", bias = false }}, plan = "product", \
tile = {{ block_m = 16, num_warps = 4 }} }},
]
"""
    )


def test_entries_are_in_order_whatever_the_order_they_were_found_in(tmp_path: Path) -> None:
    found = [Found(rows, {**CASE, "N": n}, TILE) for n in (3584, 18944, 512) for rows in (2048, 1, 16)]
    put(tmp_path / "one", "linear", *found)
    for each in reversed(found):
        put(tmp_path / "other", "linear", each)
    texts = [path_of(tmp_path / name / "tuned", "NVIDIA H200").read_text() for name in ("one", "other")]
    assert texts[0] == texts[1]
    entries = read(path_of(tmp_path / "one" / "tuned", "NVIDIA H200")).ops["linear"].entries
    assert [(entry.case["N"], entry.rows) for entry in entries] == [
        (n, rows) for n in (512, 3584, 18944) for rows in (1, 16, 2048)
    ]


def test_new_entries_take_the_place_of_old_ones(tmp_path: Path) -> None:
    put(tmp_path, "linear", Found(1, CASE, Choice("resident")), Found(16, CASE, TILE), Found(64, CASE, TILE))
    put(tmp_path, "linear", Found(16, CASE, Choice("library")), Found(64, CASE, None))
    assert {key[0]: choice for key, choice in look_up(tmp_path).items()} == {
        1: Choice("resident"),
        16: Choice("library"),
    }


def test_entries_of_an_older_spec_go_when_it_is_tuned_again(tmp_path: Path) -> None:
    put(tmp_path, "linear", Found(1, CASE, Choice("resident")))
    put(tmp_path, "linear", Found(16, CASE, TILE), spec="new")
    assert [key[0] for key in look_up(tmp_path, spec="new")] == [16]


def said(
    package: Path, spec: str = "abc", plans: tuple[str, ...] = (), ops: tuple[str, ...] = ("linear",)
) -> list[str]:
    path = package / "tuned" / "nvidia-h200.toml"
    return [line.removeprefix(f"{path}: ") for line in remarks(package, dict.fromkeys(ops, (spec, plans)))]


def test_stale_entries_are_not_used_and_are_told(tmp_path: Path) -> None:
    put(tmp_path, "linear", Found(1, CASE, TILE))
    put(tmp_path, "bmm", Found(1, CASE, TILE))
    assert said(tmp_path, ops=("linear", "bmm")) == []
    assert look_up(tmp_path, spec="other") == {}
    assert said(tmp_path, "other") == [
        "stale, and not used here: bmm: the package has no such op",
        "stale, and not used here: linear: tuned for another text of its spec",
    ]


def test_entries_of_plans_that_are_gone_are_told(tmp_path: Path) -> None:
    put(tmp_path, "linear", Found(1, CASE, TILE), Found(16, CASE, Choice("library")))
    assert said(tmp_path, plans=("gemm", "library")) == ["stale, and not used here: linear: there is no plan product"]
    assert said(tmp_path, plans=("product", "library")) == []


def test_tiles_of_older_names_are_not_used_and_are_told(tmp_path: Path) -> None:
    put(tmp_path, "linear", Found(1, CASE, Choice("gemm", (("side", 16),))), Found(16, CASE, TILE))
    assert [rows for rows, *_ in look_up(tmp_path)] == [16]
    assert said(tmp_path) == ["stale, and not used here: linear: tiles have no side"]


@pytest.mark.parametrize("versions", [("2.10.0", "3.5.1"), ("2.12.9", "3.6.9"), ("9.9", "9.9")])
def test_entries_of_another_toolchain_are_used_and_said_to_be_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versions: tuple[str, str]
) -> None:
    put(tmp_path, "linear", Found(1, CASE, TILE))
    put(tmp_path, "bmm", Found(1, CASE, TILE))
    had = tuned.toolchain()
    assert [choice.older for choice in look_up(tmp_path).values()] == [False]
    monkeypatch.setattr(tuned, "toolchain", lambda: versions)
    monkeypatch.setattr(table, "toolchain", lambda: versions)
    assert look_up(tmp_path) == {(1, *CASE.values()): TILE}
    assert [choice.older for choice in look_up(tmp_path).values()] == [True]
    told = f"tuned with torch {had[0]} and triton {had[1]}, and used with {versions[0]} and {versions[1]}"
    assert said(tmp_path, ops=("linear", "bmm")) == [f"older: bmm, linear: {told}"]


def test_what_is_measured_again_is_no_longer_older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries keep the toolchain they were measured with when others are put beside them."""
    put(tmp_path, "linear", Found(1, CASE, TILE), Found(16, CASE, TILE))
    for module in (tuned, table):
        monkeypatch.setattr(module, "toolchain", lambda: ("9.9", "9.9"))
    put(tmp_path, "linear", Found(16, CASE, Choice("library")), Found(64, CASE, TILE))
    assert {rows: choice.older for (rows, *_), choice in look_up(tmp_path).items()} == {1: True, 16: False, 64: False}


def test_a_device_has_its_own_table_and_else_that_of_its_family(tmp_path: Path) -> None:
    put(tmp_path, "linear", Found(1, CASE, Choice("resident")), Found(16, CASE, TILE))
    put(tmp_path, "linear", Found(16, CASE, Choice("library")), device="NVIDIA H100 80GB HBM3")
    own = look_up(tmp_path, device="NVIDIA H100 80GB HBM3")
    assert {key[0]: str(choice) for key, choice in own.items()} == {1: "resident", 16: "library"}
    assert {key[0]: choice for key, choice in look_up(tmp_path).items()}[16] == TILE
    assert choices(tmp_path / "tuned", "linear", "abc", tuple(CASE), "NVIDIA A100", "sm_80") == {}


@pytest.mark.parametrize("text", ["", "device = 1", "a b", 'device = "x"\nfamily = "y"\n[op]\nlinear = 3\n'])
def test_a_file_that_is_no_table_is_told_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tuned" / "nvidia-h200.toml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.warns(
        UserWarning, match=r"nvidia-h200\.toml is no table of tuned choices.*the rules choose without it"
    ):
        assert look_up(tmp_path) == {}
    assert "is no table" in next(remarks(tmp_path, {}))
    with pytest.raises(ValueError, match="is no table"):
        put(tmp_path, "linear", Found(1, CASE, TILE))
    assert path.read_text() == text


def test_names_and_texts_are_data(tmp_path: Path) -> None:
    case = {"Größe": 3, 'a"b': "x\n[op]"}
    put(tmp_path, "linear", Found(1, case, TILE), device='odd "name"\\')
    (written,) = tuned.tables(tmp_path / "tuned")
    assert written.device == 'odd "name"\\'
    assert written.ops["linear"].entries[0].case == case
