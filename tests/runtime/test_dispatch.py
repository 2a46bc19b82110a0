"""Calls go the short way only where nobody watches and all tensors are plain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from unittest import mock

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fusec.runtime import dispatch
from fusec.runtime.dispatch import plain, watched


class Counting(TorchFunctionMode):
    """Somebody who counts functions."""


class Noting(TorchDispatchMode):
    """Somebody who counts operators."""


@contextmanager
def compiling() -> Iterator[None]:
    with mock.patch.object(dispatch, "is_dynamo_compiling", return_value=True):
        yield


@pytest.mark.parametrize("watching", [FakeTensorMode, Counting, Noting, forward_ad.dual_level, compiling])
def test_whoever_watches_is_seen(watching: Callable[[], AbstractContextManager[object]]) -> None:
    assert not watched()
    with watching():
        assert watched()
    assert not watched()


def test_transforms_watch() -> None:
    seen: list[bool] = []

    def call(x: torch.Tensor) -> torch.Tensor:
        seen.append(watched())
        return x.sum()

    torch.vmap(call)(torch.ones(2, 3))
    torch.func.grad(call)(torch.ones(3))
    assert seen == [True, True]
    assert not watched()


class Own(torch.Tensor):
    """A tensor of another class."""


def test_tensors_are_plain_that_hold_what_they_say() -> None:
    x, weight = torch.ones(3), torch.nn.Parameter(torch.ones(3))
    assert plain((x, None, x))
    assert plain((x, torch.nn.Parameter(x, requires_grad=False)))
    assert not plain((x, x.as_subclass(Own)))
    assert not plain((x, torch.imag(torch.ones(3, dtype=torch.complex64).conj())))
    assert not plain((x, weight))
    assert not plain((x.clone().requires_grad_(), x))
    with torch.no_grad():
        assert plain((x, weight))
        assert not plain((x, x.as_subclass(Own)))
    assert plain(())
