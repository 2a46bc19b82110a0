"""Which launches of a call may begin before the one in front of them has ended."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from fusec.runtime import Launch, Matrix, Product, overlap
from fusec.runtime.overlap import OVERLAP, in_turn, overlaps


def launch(overlap: bool | None = True, grid: int = 3, kernel: object = None) -> Launch:
    """The launch of a kernel, each time of another one unless it is named."""
    arguments = {} if overlap is None else {OVERLAP: overlap}
    return Launch(kernel or object(), (grid,), arguments, options=({"num_warps": 4}, {"num_warps": 8}))


PRODUCT = Product(*(Matrix(name, (16, 16), (16, 1)) for name in "abc"))


@pytest.mark.parametrize(
    ("capability", "hip", "driver", "may"),
    [
        ((8, 9), None, 13000, False),
        ((9, 0), None, 13000, True),
        ((9, 0), None, 12030, True),
        ((9, 0), None, 12020, False),
        ((10, 0), None, 13000, True),
        ((9, 4), "6.4", 13000, False),
    ],
)
def test_kernels_overlap_from_hopper_on(capability: tuple[int, int], hip: str | None, driver: int, may: bool) -> None:
    with (
        mock.patch.object(torch.cuda, "get_device_capability", return_value=capability),
        mock.patch.object(torch.version, "hip", hip),
        mock.patch.object(overlap, "_driver", return_value=driver),
    ):
        assert overlaps(torch.device("cuda")) == may


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a driver")
def test_without_a_driver_nothing_overlaps() -> None:
    with mock.patch.object(torch.cuda, "get_device_capability", return_value=(9, 0)):
        assert not overlaps(torch.device("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a driver")
def test_the_driver_says_what_it_is_for() -> None:
    assert overlap._driver() >= 12000


def test_interpreted_kernels_do_not_overlap() -> None:
    assert not overlaps(torch.device("cpu"))
    assert overlaps(torch.device("meta"))


def test_all_but_the_first_begin_early() -> None:
    first, second, third = in_turn([launch(), launch(), launch()])
    assert first.options == launch().options
    for later in (second, third):
        assert later.options == [{"num_warps": 4, "launch_pdl": True}, {"num_warps": 8, "launch_pdl": True}]


def test_a_kernel_that_is_launched_again_waits_outside() -> None:
    _, first, again = in_turn([launch(), launch(kernel="a"), launch(kernel="a")])
    assert isinstance(first, Launch)
    assert all(way["launch_pdl"] for way in first.options)
    assert again.options == launch().options


@pytest.mark.parametrize("overlap", [False, None])
def test_a_kernel_that_does_not_wait_begins_in_its_time(overlap: bool | None) -> None:
    assert [one.options for one in in_turn([launch(), launch(overlap)])] == [launch().options] * 2


def test_what_is_idle_is_left_out() -> None:
    (only,) = in_turn([launch(grid=0), launch(), launch(grid=0)])
    assert only.options == launch().options


def test_a_kernel_behind_a_product_begins_early_and_products_stay_as_they_are() -> None:
    first, second, third = in_turn([PRODUCT, launch(), PRODUCT])
    assert first == third == PRODUCT
    assert isinstance(second, Launch)
    assert all(way["launch_pdl"] for way in second.options)
