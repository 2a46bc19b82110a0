"""Tests run in this process by pytest, and what each came to: whether it held, its seconds, the lines it reached."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from fusec.testing.mutation.reach import TO, Lines, started

OPTIONS = (
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:timeout",
    "--no-header",
    "--tb=no",
    "-W",
    "ignore",
)

settings.register_profile(
    "mutation",
    # The same calls whenever a test runs; a call that fails is not made smaller.
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def held(
    tests: Sequence[str], tell: Callable[[dict[str, Any]], None], lines: Lines | None, part: tuple[int, int]
) -> int:
    """Run tests, named as pytest names them, and `tell` of each; until one fails, unless `lines` are noted.

    Of all that are collected, `part` runs: the first number of it says which, the second of how many.
    """
    settings.load_profile("mutation")
    stop = () if lines else ("-x",)
    return int(pytest.main([*OPTIONS, *stop, *tests], plugins=[_Told(tell, lines, part)]))


class _Told:
    """A plugin that tells of every test."""

    def __init__(self, tell: Callable[[dict[str, Any]], None], lines: Lines | None, part: tuple[int, int]) -> None:
        self._tell = tell
        self._part = part
        self._noted = _Noted(lines)
        self._outcomes: list[str] = []
        self._fixtures: dict[int, tuple[float, dict[str, set[int]]]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        """A module is told when it has been imported: its tests cannot run without."""
        if not isinstance(collector, pytest.Module):
            return (yield)
        if not self._noted.begun:
            self._tell({"loaded": _plain(self._noted.take())})
            self._noted.begun = True
        name = collector.nodeid
        self._tell({"collects": name})
        with self._noted.during() as during:
            report = yield
        held = report.outcome != "failed"
        self._tell({"module": name, "held": held, "seconds": during.seconds, "lines": _plain(during.lines)})
        return report

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Only the part that is asked for: neighbours, which share what is made for them."""
        which, count = self._part
        items[:] = items[len(items) * which // count : len(items) * (which + 1) // count]
        if self._noted.lines:
            self._tell({"collected": [item.nodeid for item in items]})

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        """What a fixture does for several tests belongs to each of them; that takes its time once for all."""
        if not self._noted.lines or fixturedef.scope == "function":
            return (yield)
        with self._noted.during() as during:
            result = yield
        # What is done once for all tests tells nothing of one of them.
        if fixturedef.scope != "session":
            self._fixtures[id(fixturedef)] = (during.seconds, during.lines)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """A test: whether it held, or None where it was skipped."""
        self._tell({"begins": item.nodeid})
        self._outcomes = []
        if self._noted.lines:
            _forget()
        with self._noted.during() as during:
            result = yield
        shared, lines = 0.0, during.lines
        for definitions in item._fixtureinfo.name2fixturedefs.values():  # type: ignore[attr-defined]
            for each in definitions:
                further = self._fixtures.get(id(each))
                if further:
                    shared += further[0]
                    _join(lines, further[1])
        held = None if "skipped" in self._outcomes else "failed" not in self._outcomes
        told = {"seconds": round(during.seconds, 3), "shared": round(shared, 3), "lines": _plain(lines)}
        self._tell({"test": item.nodeid, "held": held, **told})
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The setup, the call or the end of a test."""
        self._outcomes.append(report.outcome)


class _During:
    seconds = 0.0

    def __init__(self) -> None:
        self.lines: dict[str, set[int]] = {}


class _Noted:
    """Seconds, and lines if they are noted, of one thing after another; of what happens within, to that alone."""

    def __init__(self, lines: Lines | None) -> None:
        self.lines = lines
        self.begun = False
        self._outer: list[_During] = []
        self._since = 0.0
        self._file = os.path.join(tempfile.gettempdir(), f"lines-{os.getpid()}")

    def take(self) -> dict[str, set[int]]:
        """The lines since the last time."""
        return self.lines.take() if self.lines else {}

    @contextmanager
    def during(self) -> Generator[_During, None, None]:
        """The seconds and lines within."""
        self._add()
        made = _During()
        self._outer.append(made)
        try:
            yield made
        finally:
            self._add()
            self._outer.pop()

    def _add(self) -> None:
        """What was noted since the last time belongs to the innermost of what is going on."""
        now, found = time.perf_counter(), self.take()
        if self._outer:
            self._outer[-1].seconds += now - self._since
            _join(self._outer[-1].lines, found)
            if self.lines:
                _join(self._outer[-1].lines, started(self._file))
                os.environ[TO] = self._file
        self._since = now


def _join(lines: dict[str, set[int]], further: dict[str, set[int]]) -> None:
    for path, found in further.items():
        lines.setdefault(path, set()).update(found)


def _plain(lines: dict[str, set[int]]) -> dict[str, str]:
    """Lines as bits of a number, as text."""
    return {path: f"{sum(1 << line for line in found):x}" for path, found in lines.items()}


def _forget() -> None:
    """Forget what functions keep of earlier calls: a test that finds it there seems not to reach them."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("fusec.", "test_")):
            for value in list(vars(module).values()):
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()
