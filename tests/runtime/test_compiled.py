"""The short way of launching hands the driver exactly what Triton's own launcher hands it."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from triton.backends.nvidia.driver import CudaLauncher

from fusec.runtime.compiled import straight

ANNOTATED = "arg_annotations" in inspect.getsource(CudaLauncher)
"""Whether the installed Triton describes the arguments to the driver's function, as it does from 3.7 on."""


class Recorder(CudaLauncher):
    """The installed Triton's launcher with a driver function that only takes notes."""

    def __init__(self, **changes: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.launch = lambda *arguments: self.calls.append(arguments)
        self.num_ctas = 1
        self.global_scratch_size = self.profile_scratch_size = 0
        self.global_scratch_align = self.profile_scratch_align = 1
        self.launch_cooperative_grid, self.launch_pdl = "cooperative", "pdl"
        if changes.pop("annotated", ANNOTATED):
            self.arg_annotations, self.kernel_signature = "annotations", "signature"
        vars(self).update(changes)


class Wrapped:
    """A launcher of another make: all that is known of it is that it can be called."""

    def __init__(self, inner: Recorder) -> None:
        self.inner = inner

    def __call__(self, *arguments: Any) -> None:
        self.inner(*arguments)


def launched(run: Any, recorder: Recorder) -> list[tuple[Any, ...]]:
    compiled = SimpleNamespace(run=run, function="function", packed_metadata="packed")
    straight(compiled, (3, 2, 1), (4096,))(7, (11, 0.5))
    return recorder.calls


@pytest.fixture
def expected() -> list[tuple[Any, ...]]:
    recorder = Recorder()
    recorder(3, 2, 1, 7, "function", "packed", None, None, None, 11, 0.5, 4096)
    return recorder.calls


def test_the_driver_is_called_the_same_way(expected: list[tuple[Any, ...]]) -> None:
    recorder = Recorder()
    assert launched(recorder, recorder) == expected


def test_an_unknown_launcher_is_called_as_a_whole(expected: list[tuple[Any, ...]]) -> None:
    recorder = Recorder()
    assert launched(Wrapped(recorder), recorder) == expected


def test_a_kernel_with_scratch_goes_through_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(CudaLauncher, "__call__", lambda self, *arguments: seen.append(arguments))
    recorder = Recorder(global_scratch_size=64)
    assert launched(recorder, recorder) == []
    assert seen == [(3, 2, 1, 7, "function", "packed", None, None, None, 11, 0.5, 4096)]


def test_the_form_of_triton_3_6() -> None:
    recorder = Recorder(annotated=False)
    assert launched(recorder, recorder) == [
        (3, 2, 1, 7, "function", "cooperative", "pdl", None, None, "packed", None, None, None, 11, 0.5, 4096)
    ]
