"""The search for the best choices of an op: what to try, whether it runs, whether it is right, and how long it takes.

Each question is a job for a worker, which may crash or hang at it: that costs its answer and nothing else. Candidates
run for the first time in many processes at once, where they are compiled, too; then those that came through are held
against the error bound and timed, one case after another with the device to themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fusec.driver.tuning.candidates import Outline, candidates
from fusec.runtime.select.chip import Chip
from fusec.runtime.select.tables import Choice

Job: TypeAlias = dict[str, Any]

Ask: TypeAlias = Callable[[str, Sequence[Job], int | None], list[Any]]
"""Has workers do these jobs, for which there is a word, so many at once, and gives their answers in order.

An answer has a `failure`, None where there is none, and else says why the job has no result.
"""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to search: so many tiles for each plan, and rounds of timing; on this chip."""

    tiles: int = 8
    rounds: int = 7
    chip: Chip = field(default_factory=Chip)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case: the best `choice`, None for the rules, or why there is no answer (`failure`).

    `times` has the microseconds of every choice that was timed to the end, the rules' under None, and `refused` why
    another was not.
    """

    outline: Outline | None
    choice: Choice | None
    times: Mapping[Choice | None, float]
    refused: Mapping[Choice | None, str]
    noise: float = 0.0
    failure: str | None = None


def search(cases: Sequence[Job], ask: Ask, effort: Effort) -> list[Outcome]:
    """The best choice for each of several calls of an op. A case is the part of a job that says which call it is."""
    outlines = [_outline(answer) for answer in ask("plans", [{**case, "do": "outline"} for case in cases], None)]
    choices = [
        () if isinstance(outline, str) else candidates(outline, effort.chip, effort.tiles) for outline in outlines
    ]
    tries = [
        {**case, "do": "try", "choice": to_plain(choice)}
        for case, of in zip(cases, choices, strict=True)
        for choice in of
    ]
    answers = iter(ask("candidates", tries, None))
    refusals = [{choice: reason for choice in of if (reason := next(answers)["failure"])} for of in choices]
    running = [at for at, (of, refused) in enumerate(zip(choices, refusals, strict=True)) if of and None not in refused]
    left = {at: [choice for choice in choices[at] if choice not in refusals[at]] for at in running}
    races = [
        {**cases[at], "do": "measure", "choices": [to_plain(choice) for choice in left[at]], "rounds": effort.rounds}
        for at in running
    ]
    measured = dict(zip(running, ask("calls", races, 1), strict=True))
    return [_outcome(outline, refusals[at], left.get(at, []), measured.get(at)) for at, outline in enumerate(outlines)]


def to_plain(choice: Choice | None) -> dict[str, Any] | None:
    """A choice as plain values, for a job."""
    return None if choice is None else {"plan": choice.plan, "tile": dict(choice.tile)}


def from_plain(plain: Mapping[str, Any] | None) -> Choice | None:
    """The choice of a job."""
    return None if plain is None else Choice(plain["plan"], tuple(plain["tile"].items()))


def _outline(answer: Any) -> Outline | str:
    failure: str | None = answer["failure"]
    return failure or Outline.of(answer["outline"])


def _outcome(
    outline: Outline | str, refused: Mapping[Choice | None, str], choices: list[Choice | None], race: Any
) -> Outcome:
    if isinstance(outline, str):
        return Outcome(None, None, {}, {}, failure=outline)
    failure = f"as the rules have it: {refused[None]}" if None in refused else race["failure"]
    if failure:
        return Outcome(outline, None, {}, refused, failure=failure)
    refused = {**refused, **{choices[int(at)]: reason for at, reason in race["refused"].items()}}
    times = {choices[int(at)]: time for at, time in race["times"].items()}
    return Outcome(outline, choices[race["winner"]], times, refused, race["noise"])
