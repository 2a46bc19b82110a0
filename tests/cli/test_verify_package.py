"""What the interpreter said of an op is kept: it says the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fusec.commands import verify_package
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
