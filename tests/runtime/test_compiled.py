"""The short way of launching hands the driver exactly what Triton's own launcher hands it."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from triton.backends.nvidia.driver import CudaLauncher, wrap_handle_tensordesc
from triton.tools.tensor_descriptor import TensorDescriptor

from fusec.runtime.compiled import straight, straight_spread

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


def test_a_kernel_with_descriptors_gets_what_triton_makes_of_them() -> None:
    descriptors = [
        TensorDescriptor(torch.zeros(8, 16 * many), [8, 16 * many], [16 * many, 1], [2, 16]) for many in (1, 2)
    ]
    signature = {"a_map": "tensordesc<fp32[2, 16]>", "b_map": "tensordesc<fp32[2, 16]>", "n": "i32"}
    recorder = Recorder()
    recorder.launch = wrap_handle_tensordesc(recorder.launch, signature, None)
    recorder(3, 2, 1, 7, "function", "packed", None, None, None, *descriptors, 4096)
    known = straight_spread(SimpleNamespace(run=recorder, function="function", packed_metadata="packed"), (3, 2, 1))
    assert known is not None
    launch, spread = known
    launch(7, (*spread(0, descriptors[0]), *spread(1, descriptors[1]), 4096))
    (expected, got) = recorder.calls
    assert [list(part) if isinstance(part, tuple) else part for part in got] == [*expected]


@pytest.mark.parametrize("changes", [{"global_scratch_size": 64}, {"launch": print}])
def test_what_is_unknown_takes_no_short_way_with_descriptors(changes: dict[str, Any]) -> None:
    compiled = SimpleNamespace(run=Recorder(**changes), function="function", packed_metadata="packed")
    assert straight_spread(compiled, (3, 2, 1)) is None
