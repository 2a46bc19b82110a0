"""Which of its plans an op takes, where there are several: the one that was measured to be best, else by rule.

A plan is known by its name, and a tile by how it differs from the one that the rules of `tiles` give, so that a table
of ways is read without the code of either. What is chosen is chosen once for every layout of the arguments.
"""

# For files that were generated before there were host tables: it goes as soon as generated/ is built again.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch

from fusec.runtime import tuned
from fusec.runtime.invariant import is_invariant
from fusec.runtime.op import Op
from fusec.runtime.tuned import Way, bucket

T = TypeVar("T")

Value: TypeAlias = int | bool | torch.dtype


@dataclass(frozen=True, slots=True)
class Shaped:
    """A tile that a plan asked for: the rule it comes from, what that was given by name, and the tile as it is."""

    rule: str
    facts: Mapping[str, int]
    tile: Any


@dataclass(slots=True)
class Trial:
    """A way that an op is told to take (None for the rules), and what is seen of the next plan that it makes.

    That is for so many `rows` in this `case`, when these plans were `possible`. The one that the rules took is the last
    of `by_rule`, or the last one possible where that is empty. `tiles` are those that were asked for.
    """

    op: str
    way: Way | None
    rows: int = 0
    case: dict[str, int | bool | str] = field(default_factory=dict)
    possible: tuple[str, ...] = ()
    by_rule: tuple[str, ...] = ()
    tiles: list[Shaped] = field(default_factory=list)


_trial: ContextVar[Trial | None] = ContextVar("trial", default=None)


class Ways:
    """The ways of one op, in the tables beside its generated `file`.

    `plans` are the names it chooses among. `case` names what an entry is for beside the number of rows: extents,
    dtypes, and whether an optional tensor is given. `spec` is the hash of the text that the file was generated from;
    entries made for another one are not used.
    """

    def __init__(self, op: str, file: str, *, spec: str, case: tuple[str, ...], plans: tuple[str, ...]) -> None:
        self.op = op
        self.spec = spec
        self.case = case
        self.plans = plans
        self._folder = Path(file).parent / tuned.FOLDER
        self._known: dict[torch.device, Mapping[tuple[object, ...], Way]] = {}

    def best(self, device: torch.device, rows: int, case: tuple[Value, ...], **possible: bool) -> Way | None:
        """The way for so many `rows` in this `case`; None where the rules are to choose.

        `possible` says of some plans whether a call with these strides can take them; it can take all others.
        """
        plans = tuple(plan for plan in self.plans if possible.get(plan, True))
        trial = _trial.get()
        if trial is not None and trial.op == self.op:
            trial.rows, trial.case = rows, dict(zip(self.case, map(_plain, case), strict=True))
            trial.possible, trial.by_rule = plans, ()
            way = trial.way
        elif device.type == "meta" or is_invariant():
            return None
        else:
            way = self._table(device).get((bucket(rows), *map(_plain, case)))
        return way if way is not None and way.plan in plans else None

    def _table(self, device: torch.device) -> Mapping[tuple[object, ...], Way]:
        if device not in self._known:
            self._known[device] = tuned.ways(self._folder, self.op, self.spec, self.case, *tuned.chip(device))
        return self._known[device]


def takes(way: Way | None, rule: bool, *plans: str) -> bool:
    """Whether an op takes one of `plans`: if `way` names it, or where there is no way, if the `rule` says so."""
    if way is not None:
        return way.plan in plans
    trial = _trial.get()
    if rule and trial is not None and (not trial.by_rule or set(plans) < set(trial.by_rule)):
        trial.by_rule = plans
    return rule


def shaped(way: Way | None, rule: Callable[..., T], *facts: int, **named: int) -> T:
    """The tile that `rule` makes of facts, with the sizes and launch options that `way` has for it."""
    tile: Any = rule(*facts, **named)
    if way is not None and way.tile:
        own = {each.name for each in fields(tile)}
        sizes = {name: value for name, value in way.tile if name in own}
        options = {name: value for name, value in way.tile if name not in own}
        tile = replace(tile, **sizes, **({"options": (options,)} if options else {}))
    trial = _trial.get()
    if trial is not None:
        known = dict(zip(signature(rule).parameters, facts, strict=False)) | named
        trial.tiles.append(Shaped(rule.__name__, known, tile))
    made: T = tile
    return made


@contextmanager
def forced(op: Op, way: Way | None) -> Iterator[Trial]:
    """Within, `op` takes this way wherever it is possible, and else goes by the rules, as it does for None.

    Plans that the op has made before are not used, and none of those made here are used afterwards.
    """
    trial = Trial(op.name, way)
    token = _trial.set(trial)
    op.forget()
    try:
        yield trial
    finally:
        _trial.reset(token)
        op.forget()


def _plain(value: Value) -> int | bool | str:
    """A dtype by its name, as it stands in a table."""
    return str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value
