"""Calls are drawn from the graph of an op alone, whatever else is loaded."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

from fusec.testing.drawing import from_strategies_alone


def test_the_text_of_modules_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def reading(module: ModuleType) -> object:
        read.append(module.__name__)
        return type(providers._local_constants)()

    monkeypatch.setattr(providers, "constants_from_module", reading)
    # Tests draw without them.
    monkeypatch.setattr(providers, "is_local_module_file", lambda _: True)

    @settings(max_examples=60, derandomize=True, database=None, phases=[Phase.generate])
    @given(st.lists(st.integers(), min_size=8))
    def draw(_: list[int]) -> None:
        monkeypatch.setattr(providers, "_sys_modules_len", None)
        monkeypatch.setattr(providers, "_seen_modules", set())

    with from_strategies_alone():
        draw()
    assert not read
    draw()
    assert "fusec.testing.drawing" in read
