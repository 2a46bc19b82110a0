"""Choices for a call that are worth measuring: every plan, and of a plan with tiles those that ought to be fastest.

The time model is a rough one: it only has to rank tiles well enough that the best is among the first dozen; what counts
is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from fusec.runtime.select.chip import MMA, Chip
from fusec.runtime.select.tables import Choice
from fusec.runtime.select.tiles import Contraction, GemmTile
from fusec.runtime.select.time_model import gemm_time

FEW = 128
"""The most rows for which a plan for few rows is tried. One without tiles reads the other operand once for each."""

SIZES = (1 / 4, 1 / 2, 1, 2, 4)
"""How the sizes of a tile are varied, as factors of what the rules say."""

STRIPS = "skinny_tile"
"""The rule whose tiles have a strip of each matrix as their side; those of others have one as their block."""

TILES = "_tile"
"""How rules end that make tiles of a contraction; those of others are tiles of rows."""

WARPS, STAGES = (4, 8), (2, 3, 4, 5)

WORSE = 1.5
"""How much slower than the best a tile may be by the model."""

REPEATED = 1.1
"""How much slower another set of launch options for the same sizes is taken for than it is."""

LAUNCHED = ("num_warps", "num_stages")
"""What of a tile is an option of its launch."""


@dataclass(frozen=True, slots=True)
class Tiled:
    """A tile that a plan asks for: the rule that made it, of which facts, its sizes and launch options, all by name."""

    rule: str
    facts: Mapping[str, Any]
    sizes: Mapping[str, int]
    options: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outline:
    """A call as the choice among its plans sees it: the plan by rule, and the tiles that each of `plans` asks for."""

    rows: int
    case: Mapping[str, int | bool | str]
    by_rule: str
    plans: Mapping[str, tuple[Tiled, ...]]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Outline:
        """The outline that a worker has told in plain values."""
        plans = {name: tuple(Tiled(**tile) for tile in tiles) for name, tiles in plain["plans"].items()}
        return cls(plain["rows"], plain["case"], plain["by_rule"], plans)


def candidates(outline: Outline, chip: Chip, most: int) -> tuple[Choice | None, ...]:
    """The choices to try: None for what the rules choose, then each plan as the rules make it, then `most` tiles each.

    Tiles that do not fit the chip, or that the model takes for slow, are not among them.
    """
    plans = {
        name: tiles for name, tiles in outline.plans.items() if outline.rows <= FEW or not _is_for_few(name, tiles)
    }
    found: list[Choice | None] = [None, *(Choice(name) for name in plans if name != outline.by_rule)]
    for name, tiles in plans.items():
        found += [Choice(name, tuple(tile.items())) for tile in _tiles(tiles, chip)[:most]]
    return tuple(found)


def estimate(tile: Mapping[str, int], tiled: Tiled, chip: Chip) -> float | None:
    """Microseconds for all tiles of a contraction, or None where one does not fit an SM.

    `tile` has sizes and launch options. The facts have the names of the fields of `runtime.select.tiles.Contraction`.
    """
    options = {name: value for name, value in tile.items() if name in LAUNCHED}
    sizes = {name: value for name, value in tile.items() if name not in LAUNCHED}
    contraction = Contraction(**tiled.facts)
    time = gemm_time(contraction, GemmTile(**sizes, options=(options,)), chip, tiled.rule == STRIPS)
    return None if time is None else time.us


def _is_for_few(plan: str, tiles: Sequence[Tiled]) -> bool:
    return plan.startswith("gemv") or any(tile.rule == STRIPS for tile in tiles)


def _tiles(tiled: Sequence[Tiled], chip: Chip) -> list[dict[str, int]]:
    """Tiles for all that a plan asks for at once, those first that the model takes for fastest."""
    if not tiled:
        return []
    first = tiled[0]
    if not first.rule.endswith(TILES):
        return _row_tiles(first, chip)
    # A size of 1 belongs to something that the plan does not do.
    varied = {name: size for name, size in first.sizes.items() if size > 1}
    found: list[tuple[float, dict[str, int]]] = []
    for sizes in product(*(_around(size, chip) for size in varied.values())):
        named = dict(zip(varied, sizes, strict=True))
        launched = [{**named, "num_warps": warps, "num_stages": stages} for warps, stages in product(WARPS, STAGES)]
        timed = [(time, tile) for tile in launched if (time := _total(tile, tiled, chip)) is not None]
        # The same sizes once more are not as likely to win as others that are hardly slower.
        found += [(time * REPEATED**place, tile) for place, (time, tile) in enumerate(sorted(timed, key=_time_of))]
    ordered = sorted(found, key=_time_of)
    own = {**varied, **first.options}
    return [tile for time, tile in ordered if time <= WORSE * ordered[0][0] and tile != own]


def _row_tiles(first: Tiled, chip: Chip) -> list[dict[str, int]]:
    """Tiles of rows beside that of the rule, those first that differ least: the model does not tell them apart."""
    own = {**{name: size for name, size in first.sizes.items() if size > 1}, "num_warps": first.options["num_warps"]}
    # A block that holds a whole row need not be longer, but may be as long as the rule has it.
    longest = max(first.facts["row"], own.get("block", 1))
    most = {"num_warps": chip.program_warps, "block": longest, "splits": chip.most_splits}
    found: list[tuple[int, dict[str, int]]] = []
    for factors in product((1, 0.5, 2), repeat=len(own)):
        tile = {name: int(size * factor) for (name, size), factor in zip(own.items(), factors, strict=True)}
        if all(0 < size <= most.get(name, size) for name, size in tile.items()) and tile != own:
            found.append((sum(factor != 1 for factor in factors), {**tile, "num_stages": first.options["num_stages"]}))
    return [tile for _, tile in sorted(found, key=lambda each: each[0])]


def _total(tile: Mapping[str, int], tiled: Sequence[Tiled], chip: Chip) -> float | None:
    """Microseconds for all that a plan asks for, or None where the tile does not fit."""
    times = [time for each in tiled if (time := estimate(tile, each, chip)) is not None]
    return sum(times) if len(times) == len(tiled) else None


def _time_of(timed: tuple[float, dict[str, int]]) -> float:
    return timed[0]


def _around(size: int, chip: Chip) -> list[int]:
    least, most = (MMA, chip.accumulator_columns) if size >= MMA else (1, MMA)
    return [int(size * factor) for factor in SIZES if least <= size * factor <= most]
