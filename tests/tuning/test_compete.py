"""The fastest call wins, by more than the noise, or the first one stays."""

from __future__ import annotations

from random import Random

import pytest

from fusec.driver.tuning.race import FINALISTS, FINALS, race


class Clock:
    """Tells set times with a relative error, and counts the turns of each call."""

    def __init__(self, times: dict[int, float], noise: float = 0.0, drift: float = 0.0) -> None:
        self.times = times
        self.noise = noise
        self.drift = drift
        self.turns: list[int] = []
        self.random = Random(1)

    def __call__(self, call: int) -> float:
        self.turns.append(call)
        slower = 1 + self.drift * len(self.turns)
        return self.times[call] * slower * (1 + self.random.uniform(-self.noise, self.noise))


def test_the_fastest_wins() -> None:
    result = race([0, 1, 2, 3], Clock({0: 10.0, 1: 9.0, 2: 8.0, 3: 12.0}, noise=0.01), 7)
    assert result.winner == 2
    assert result.times[2] < result.times[1] < result.times[0]


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
def test_what_is_no_faster_than_the_noise_does_not_win(noise: float) -> None:
    times = {0: 10.0, **dict.fromkeys(range(1, 6), 10.0 * (1 - noise / 20))}
    assert race(list(times), Clock(times, noise), 7).winner == 0


class Unsteady(Clock):
    """The first call takes a tenth longer every other time; all others take what they are set to."""

    def __call__(self, call: int) -> float:
        self.turns.append(call)
        return self.times[call] * (1.1 if call == 0 and self.turns.count(0) % 2 else 1)


@pytest.mark.parametrize("seed", range(12))
def test_the_margin_is_what_the_first_call_differs_from_itself(seed: int) -> None:
    """The noise is a tenth, and so is the margin: some orders of the rounds show no more than it, others less."""
    within = race([0, 1], Unsteady({0: 10.0, 1: 9.95}), 7, seed)
    assert within.noise == pytest.approx(0.1, abs=0.011)
    assert within.winner == 0
    assert race([0, 1], Unsteady({0: 10.0, 1: 8.8}), 7, seed).winner == 1


def test_a_clock_that_drifts_is_no_noise() -> None:
    result = race([0, 1, 2], Clock({0: 10.0, 1: 9.0, 2: 11.0}, drift=0.001), 7)
    assert result.winner == 1


def test_what_is_slow_gets_one_turn() -> None:
    clock = Clock({0: 10.0, 1: 9.0, 2: 50.0})
    assert 2 not in race([0, 1, 2], clock, 5).times
    assert clock.turns.count(2) == 1


def test_the_first_call_stays_however_slow_it_is() -> None:
    result = race([0, 1], Clock({0: 100.0, 1: 9.0}), 5)
    assert result.winner == 1
    assert result.times[0] == 100.0


def test_finalists_get_more_rounds_than_others() -> None:
    times = {call: 10.0 + 0.1 * call for call in range(10)}
    clock = Clock(times)
    race(list(times), clock, 4)
    counts = {call: clock.turns.count(call) for call in times}
    assert [counts[call] for call in range(1, FINALISTS)] == [1 + 4 + 4 * FINALS] * (FINALISTS - 1)
    assert [counts[call] for call in range(FINALISTS, 10)] == [1 + 4] * (10 - FINALISTS)
    assert counts[0] == 1 + 2 * (4 + 4 * FINALS)


def test_calls_take_turns_in_another_order_each_round() -> None:
    clock = Clock(dict.fromkeys(range(4), 10.0))
    race([0, 1, 2, 3], clock, 6)
    rounds = [tuple(clock.turns[4 + 5 * number : 9 + 5 * number]) for number in range(6)]
    assert all(sorted(turns) == [0, 0, 1, 2, 3] for turns in rounds)
    assert len(set(rounds)) > 1


def test_a_single_call_wins() -> None:
    assert race([0], Clock({0: 10.0}), 1).winner == 0
