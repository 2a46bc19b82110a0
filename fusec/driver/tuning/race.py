"""Which of several calls is the fastest, and whether that is more than noise.

Calls take turns in rounds, in another order each time, so that a clock that drifts meets all of them alike. The first
one is timed twice in every round: by how much it differs from itself is the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median, quantiles
from typing import TypeAlias

Timer: TypeAlias = Callable[[int], float]
"""Microseconds that the call of this number takes now."""

SLOW = 2.0
"""What takes so many times as long as the best in its first turn gets no other."""

FINALISTS = 4

FINALS = 3
"""How many times the rounds for finalists."""

TWIN = -1
"""Stands in a round for the second turn of the first call."""


@dataclass(frozen=True, slots=True)
class Result:
    """The `winner`, and the microseconds of every call that was timed to the end; the first of all calls is the rule.

    `noise` is how much a time may differ from that of the same call, as a part of it.
    """

    winner: int
    times: Mapping[int, float]
    noise: float


def race(calls: Sequence[int], timer: Timer, rounds: int, seed: int = 0) -> Result:
    """Time `calls`, by number, and find the best: the first one unless another one is faster by more than the noise."""
    first = calls[0]
    tried = {call: timer(call) for call in calls}
    quick = [call for call in calls if call == first or tried[call] <= SLOW * min(tried.values())]
    early = _rounds(quick, timer, rounds, Random(seed))
    best = sorted(quick, key=lambda call: median(early[call]))[:FINALISTS]
    final = _rounds(list(dict.fromkeys([first, *best])), timer, FINALS * rounds, Random(seed + 1))
    noise = _noise(final[first], final[TWIN])
    times = {call: median(each) for call, each in {**early, **final}.items() if call != TWIN}
    # Compared round by round: what slows down a whole round says nothing.
    ratios = {call: median(_ratios(final[first], final[call])) for call in final if call != TWIN}
    winner = min(ratios, key=ratios.__getitem__)
    return Result(winner if ratios[winner] < 1 - noise else first, times, noise)


def _rounds(calls: Sequence[int], timer: Timer, rounds: int, random: Random) -> dict[int, list[float]]:
    """The time of each call in every round, and that of the first one's twin."""
    turns = [TWIN, *calls]
    times: dict[int, list[float]] = {call: [] for call in turns}
    for _ in range(rounds):
        for call in random.sample(turns, len(turns)):
            times[call].append(timer(calls[0] if call == TWIN else call))
    return times


def _noise(one: Sequence[float], other: Sequence[float]) -> float:
    """How far three of four rounds stay apart at most, of two calls that are the same."""
    apart = [abs(ratio - 1) for ratio in _ratios(one, other)]
    return quantiles(apart, n=4)[-1] if len(apart) > 1 else apart[0]


def _ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [b / a for a, b in zip(one, other, strict=True)]
