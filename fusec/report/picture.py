"""A picture: what it shows as plain data, and how that is drawn. Its SVG holds both."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from matplotlib.figure import Figure

from fusec.report.style import styled, to_svg

Data: TypeAlias = Mapping[str, Any]
"""Numbers and words alone, so that it is the same after a way through JSON."""

_DATA = re.compile(r"<metadata>(\{.*?\})</metadata>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture by its file's name: `words` say in one sentence what it shows."""

    name: str
    words: str
    data: Data
    draw: Callable[[Data], Figure]

    def svg(self) -> str:
        """The picture as text, with its data in it."""
        with styled():
            return to_svg(self.draw(self.data), self.words, json.dumps(self.data))


def data_of(svg: str) -> Data:
    """The data that a picture was drawn from. Raises `ValueError` for a text that holds none."""
    found = _DATA.search(svg)
    if found is None:
        raise ValueError("there is no data in this picture")
    read: Data = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    return read


def short(number: float) -> float:
    """A number with four digits: more than any picture shows."""
    return float(f"{number:.4g}")
