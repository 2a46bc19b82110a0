"""What the interpreter said of an op is kept: it says the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusec.commands import verify_package, verify_package_worker
from fusec.driver.compile import compile_file
from fusec.driver.specs import read_spec
from fusec.driver.store import Store

SPEC = "op {name}(x: f32[N]) -> y: f32[N]:\n    y = x * {factor}\n"
RIGHT = {"worst": 0.5, "failure": None, "errors": {}, "not_run": [], "bounded": 1.0}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ops that workers are asked for; `bad` is wrong."""
    found: list[str] = []

    def run_jobs(module: str, jobs: list[dict[str, Any]], *_: object) -> list[dict[str, Any]]:
        found.extend(job["op"] for job in jobs)
        return [{**RIGHT, "failure": "wrong" if job["op"] == "bad" else None} for job in jobs]

    monkeypatch.setattr(verify_package, "run_jobs", run_jobs)
    monkeypatch.setattr(verify_package, "gpu_name", lambda: None)
    return found


def verified(folder: Path, store: Store, **factors: int) -> list[tuple[str, str | None]]:
    files = []
    for name, factor in factors.items():
        path = folder / f"{name}.fuse"
        path.write_text(SPEC.format(name=name, factor=factor))
        files.append((path, compile_file(read_spec(path), folder)))
    checks = verify_package.verify_package(folder, files, 1, lambda *_: None, store)
    return [(check.op, check.failure) for check in checks]


def test_what_was_right_is_run_again_where_it_changed(tmp_path: Path, asked: list[str]) -> None:
    store = Store(tmp_path / "store")
    assert verified(tmp_path, store, good=2, bad=2) == [("good", None), ("bad", "wrong")]
    assert verified(tmp_path, store, good=2, bad=2) == [("good", None), ("bad", "wrong")]
    assert asked == ["good", "bad", "bad"]
    verified(tmp_path, store, good=3)
    assert asked[3:] == ["good"]
    verified(tmp_path, Store(None), good=3)
    assert asked[4:] == ["good"]


def test_a_gpu_is_asked_every_time(tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_package, "gpu_name", lambda: "a GPU")
    store = Store(tmp_path / "store")
    for _ in range(2):
        verified(tmp_path, store, good=2)
    assert asked == ["good", "good"]


def test_one_worker_plans_a_spec_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "good.fuse"
    path.write_text(SPEC.format(name="good", factor=2))
    planned = verify_package_worker._planned.__wrapped__
    first = planned(str(path), str(tmp_path / "plans"))
    monkeypatch.delattr(verify_package_worker, "plan_source")
    assert planned(str(path), str(tmp_path / "plans")) == first


def test_ops_of_other_files_come_before_further_ones_of_a_file(tmp_path: Path, asked: list[str]) -> None:
    files = []
    for number in range(2):
        path = tmp_path / f"file{number}.fuse"
        path.write_text("\n".join(SPEC.format(name=f"op_{number}_{place}", factor=2) for place in range(2)))
        files.append((path, compile_file(read_spec(path), tmp_path)))
    checks = verify_package.verify_package(tmp_path, files, 1, lambda *_: None, Store(None))
    assert asked == ["op_0_0", "op_1_0", "op_0_1", "op_1_1"]
    assert [check.op for check in checks] == ["op_0_0", "op_0_1", "op_1_0", "op_1_1"]
