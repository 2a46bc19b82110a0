"""What `benchmarks.models` writes becomes a picture, in which everybody looks different."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import raw_results
from benchmarks.models.candidates import CANDIDATES
from fusec.report.end_to_end import end_to_end
from fusec.report.results import Run
from fusec.report.style import WHO, colour, marker


def test_models_are_drawn_in_colours_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "h200.json"
    times = {who: float(at) for at, who in enumerate(CANDIDATES, 1)}
    path.write_text(json.dumps({"about": {}, "models": {"A": {"decode 1": {"wall ms": times}}}}))
    (step,) = raw_results.steps(path)
    assert (step.model, step.step, step.wall, step.graph) == ("A", "decode 1", times, {})
    assert WHO.keys() >= CANDIDATES.keys()
    looks = {who: (colour(who), marker(who)) for who in CANDIDATES}
    assert len(set(looks.values())) == len(looks)
    picture = end_to_end(Run({}, steps=(step,)), "models")
    assert picture is not None
    assert "Whole models" in picture.svg()
