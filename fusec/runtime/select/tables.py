"""Tables of measured choices: a file for each kind of device, in the folder `tuned` beside the generated modules.

`fusec tune` writes them. An entry depends on the text of its spec, the names of plans and of what tiles have, and the
family of chip: where one of these is another it is stale, and as if it were not there. One that was measured with other
versions of PyTorch and Triton is older: it is used until somebody measures again.
"""

from __future__ import annotations

import re
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = "tuned"

LARGEST = 8192
"""Rows from which on all calls count alike."""


TILE = frozenset({"block_m", "block_n", "block_k", "splits", "rows", "block", "num_warps", "num_stages"})
"""What tiles have, by the names of a table."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan by its name, and the sizes and launch options of its tile where they are not what the rules say.

    One is `older` if it was measured with another toolchain, with which kernels may have needed fewer registers.
    """

    plan: str
    tile: tuple[tuple[str, int], ...] = ()
    older: bool = field(default=False, compare=False)

    def names(self, plan: str) -> bool:
        """Whether a plan is the one, or among those that stand with blanks between."""
        return any(name.rpartition(".")[-1] == plan for name in self.plan.split())

    def fitting(self, options: dict[str, int]) -> Iterator[dict[str, int]]:
        """Launch options of its tile. Behind those of an older choice come others, should the tile no longer fit."""
        yield options
        stages = options.get("num_stages", 2) if self.older else 2
        yield from ({**options, "num_stages": fewer} for fewer in range(stages - 1, 1, -1))

    def __str__(self) -> str:
        return " ".join([self.plan, *(f"{name}={value}" for name, value in self.tile)])


BY_RULE = Choice("")
"""No choice: the rules are to make it, whatever a table says."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The best choice in a `case`, by name, for calls of `rows` rows, a power of two, or of more than half as many.

    It was measured with a `toolchain`, versions of PyTorch and of Triton.
    """

    rows: int
    case: Mapping[str, int | bool | str]
    choice: Choice
    toolchain: tuple[str, str]

    @property
    def is_known(self) -> bool:
        """Whether tiles have what the entry says of one."""
        return all(name in TILE for name, _ in self.choice.tile)


@dataclass(frozen=True, slots=True)
class OpTable:
    """What is known of one op: its entries, and the spec they were measured with."""

    spec: str
    entries: tuple[Entry, ...]

    def stale(self, spec: str) -> str | None:
        """Why these entries are not used with this `spec`; None where they are."""
        return "tuned for another text of its spec" if self.spec != spec else None


@dataclass(frozen=True, slots=True)
class Table:
    """What was measured on one kind of device; `family` holds the devices that may do with it for want of their own."""

    device: str
    family: str
    ops: Mapping[str, OpTable]


def toolchain() -> tuple[str, str]:
    """The versions of PyTorch and Triton, without what says how they were built."""
    return _version("torch"), _version("triton")


@cache
def _version(package: str) -> str:
    # To import them takes seconds.
    return version(package).partition("+")[0]


def path_of(folder: Path, device: str) -> Path:
    """The file of a kind of device in a folder of tables."""
    return folder / f"{re.sub(r'[^a-z0-9]+', '-', device.lower()).strip('-')}.toml"


def bucket(rows: int) -> int:
    """The number of rows that calls of `rows` rows share their entries with: the next power of two."""
    return min(1 << max(rows - 1, 0).bit_length(), LARGEST)


def choices(
    folder: Path, op: str, spec: str, case: tuple[str, ...], device: str, family: str
) -> dict[tuple[object, ...], Choice]:
    """The choices for an op by rows and case: those of this device, else of its family; older ones, but none stale."""
    found: dict[tuple[object, ...], Choice] = {}
    for table in sorted(tables(folder), key=lambda table: table.device == device):
        known = table.ops.get(op)
        if known is None or table.family != family or known.stale(spec):
            continue
        for entry in filter(lambda entry: entry.is_known, known.entries):
            choice = replace(entry.choice, older=entry.toolchain != toolchain())
            found[(entry.rows, *map(entry.case.get, case))] = choice
    return found


@cache
def tables(folder: Path) -> tuple[Table, ...]:
    """Every table of a folder, read once. One that cannot be read is left out, with a warning."""
    return tuple(_readable(folder))


def _readable(folder: Path) -> Iterator[Table]:
    for path in sorted(folder.glob("*.toml")):
        try:
            yield read(path)
        except ValueError as error:
            warnings.warn(f"{error}; the rules choose without it", stacklevel=2)


def read(path: Path) -> Table:
    """The table in a file. Raises `ValueError` where it is none."""
    try:
        about = tomllib.loads(path.read_text(encoding="utf-8"))
        ops = {name: _op(held) for name, held in about.get("op", {}).items()}
        return Table(str(about["device"]), str(about["family"]), ops)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no table of tuned choices ({type(error).__name__}: {error})") from error


def _op(held: dict[str, Any]) -> OpTable:
    own = {"torch": held["torch"], "triton": held["triton"]}
    return OpTable(held["spec"], tuple(_entry({**own, **each}) for each in held["choices"]))


def _entry(held: dict[str, Any]) -> Entry:
    choice = Choice(held["plan"], tuple(held.get("tile", {}).items()))
    return Entry(held["rows"], held["case"], choice, (held["torch"], held["triton"]))
