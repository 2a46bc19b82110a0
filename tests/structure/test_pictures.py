"""Committed pictures show the committed figures: `python -m benchmarks.pictures` makes them anew."""

from __future__ import annotations

import json
import re

from benchmarks.pictures import PICTURES, pictures
from fusec.report.picture import data_of
from fusec.report.style import DARK

MADE = {picture.name: picture for picture in pictures()}


def words(svg: str) -> list[str]:
    """All texts of a picture."""
    return sorted(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def test_every_picture_is_committed() -> None:
    assert {path.stem for path in PICTURES.glob("*.svg")} == MADE.keys()


def test_pictures_show_the_committed_figures() -> None:
    for picture in MADE.values():
        committed = (PICTURES / f"{picture.name}.svg").read_text(encoding="utf-8")
        assert data_of(committed) == json.loads(json.dumps(picture.data)), "run python -m benchmarks.pictures"
        assert words(committed) == words(picture.svg()), "run python -m benchmarks.pictures"


def test_every_colour_has_one_for_dark_pages() -> None:
    for path in PICTURES.glob("*.svg"):
        drawn = path.read_text(encoding="utf-8").partition("</style>")[2]
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawn)) <= DARK.keys(), path.name
