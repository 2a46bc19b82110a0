"""Rows that quantising has trouble with: kinds of numbers, drawn alike every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

ROWS, COLUMNS = 12, 32
ULP = 2.0**-23


def outlier(x: Tensor) -> Tensor:
    x[::5, 3] *= 1000
    return x


def holed(x: Tensor, hole: float) -> Tensor:
    x[4, 5] = hole
    return x


def draw(kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    normal = torch.randn(ROWS, COLUMNS, generator=generator)
    uniform = torch.rand(ROWS, COLUMNS, generator=generator)
    kinds: Mapping[str, Callable[[], Tensor]] = {
        "normal": lambda: normal,
        "positive": lambda: uniform + 1,
        "negative": lambda: -1 - uniform,
        "heavy_tailed": lambda: normal / uniform**2,
        "outlier": lambda: outlier(normal),
        "zero": lambda: torch.zeros_like(normal),
        "zero_rows": lambda: torch.where(torch.arange(ROWS)[:, None] % 4 == 0, -0.0, normal),
        "nan": lambda: holed(normal, torch.nan),
        "infinite": lambda: holed(normal, -torch.inf),
        "subnormal": lambda: normal * 2.0**-135,
        "scale_of_one": lambda: torch.where(uniform < 0.5, 448.0, 57344.0) * torch.exp2((8 * normal).round()),
        "beside_it": lambda: torch.where(uniform < 0.5, 448.0, 57344.0) * (1 + ULP * normal.sign()),
        "ties": lambda: (normal * 16).round() / 2,
    }
    return kinds[kind]()


KINDS = (
    "normal",
    "positive",
    "negative",
    "heavy_tailed",
    "outlier",
    "zero",
    "zero_rows",
    "nan",
    "infinite",
    "subnormal",
    "scale_of_one",
    "beside_it",
    "ties",
)
