"""Which of its plans an op takes, where there are several: the one that was measured to be best for such a call.

A plan is known by its name, and a tile by how it differs from the one that the rules give, so that a table of choices
is read without the code of either. What is chosen is chosen once for every layout of the arguments.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import torch

from fusec.ir.host.plans import Tuned
from fusec.runtime.invariant import is_invariant
from fusec.runtime.select import tables
from fusec.runtime.select.present import kind_of
from fusec.runtime.select.tables import Choice, bucket

Value: TypeAlias = int | bool | torch.dtype

Known: TypeAlias = dict[tuple[object, ...], Choice]


def measured(
    tuned: Tuned, op: str, folder: Path, device: torch.device, rows: int, case: tuple[Value, ...]
) -> Choice | None:
    """What a table in `folder` has for so many `rows` in this `case`; None where the rules are to choose."""
    if device.type == "meta" or is_invariant():
        return None
    return _known(tuned, op, folder, device).get((bucket(rows), *map(plain, case)))


@cache
def _known(tuned: Tuned, op: str, folder: Path, device: torch.device) -> Known:
    return tables.choices(folder, op, tuned.spec, tuple(tuned.case.split()), *kind_of(device))


def forget() -> None:
    """Read tables again, when the next plan is made."""
    _known.cache_clear()
    tables.tables.cache_clear()


def plain(value: Any) -> int | bool | str:
    """A dtype by its name, as it stands in a table."""
    found: int | bool | str = str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value
    return found
