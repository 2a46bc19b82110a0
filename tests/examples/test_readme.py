"""The README says what is so: its figures are measured, its spec and its ten lines run, its paths are there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [text for _, text in re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)]


def test_its_spec_builds() -> None:
    (spec,) = (text for text in BLOCKS if text.startswith("op "))
    assert compile_source(Source("readme.fuse", spec), None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="its tensors are those of a machine without a GPU")
def test_its_ten_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (text for text in BLOCKS if text.startswith("import torch"))
    exec(code, {})
    assert capsys.readouterr().out == "torch.Size([4, 1000])\n"


def test_its_figures_are_those_of_raw_results() -> None:
    figures: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "hooks" / "figures.py"))
    rows = re.findall(r"^\| (\w+ [^|]*\d[^|]*) \| ([\d.]+) \| ([^|]+) \| ([^|]+) \|$", README, re.MULTILINE)
    assert len(rows) >= 6
    for case, ours, *peers in rows:
        times = figures["figure_of"](case).times
        assert ours == f"{times['fusec']:.1f}", case
        known = {f"{time:.1f} ({time / times['fusec']:.2f}x)" for time in times.values()}
        shown = [re.sub(r"^[A-Za-z]+ ", "", peer) for peer in peers if peer != "-"]
        assert set(shown) <= known, case
        assert shown[0] in [
            f"{times[name]:.1f} ({times[name] / times['fusec']:.2f}x)" for name in COMPILED & times.keys()
        ]
        best = (
            min(time for name, time in times.items() if name not in {"fusec", "eager", *COMPILED}) if shown[1:] else 0
        )
        assert shown[1:] == ([f"{best:.1f} ({best / times['fusec']:.2f}x)"] if best else []), case


COMPILED = {"compile", "torch.compile"}


def test_every_path_that_it_names_is_there() -> None:
    named = re.findall(r"`((?:docs|specs|editors|benchmarks|examples)/[\w./-]*|[A-Z]+\.md)`|\]\(([\w./-]+)\)", README)
    missing = [path for pair in named for path in pair if path and not (ROOT / path).exists()]
    assert named
    assert missing == []
