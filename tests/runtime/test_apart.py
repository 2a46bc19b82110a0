"""What is written in place may share memory with nothing: views that do are told from views that only interleave."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from random import Random

import pytest
import torch

from fusec.runtime.apart import Apart
from fusec.runtime.errors import ArgumentError

BASE = torch.arange(4096.0)
CACHE = BASE[:1536].view(6, 2, 8, 16)

APART: dict[str, Callable[[], tuple[torch.Tensor, torch.Tensor]]] = {
    "other memory": lambda: (BASE[:10], torch.zeros(10)),
    "one behind the other": lambda: (BASE[:10], BASE[10:20]),
    "keys and values of a cache": lambda: (CACHE[:, 0], CACHE[:, 1]),
    "columns of a matrix": lambda: (BASE[:100].view(10, 10)[:, :4], BASE[:100].view(10, 10)[:, 4:]),
    "even and odd elements": lambda: (BASE[0:100:2], BASE[1:100:2]),
    "rows turned": lambda: (BASE[:64].view(8, 8)[:4].t(), BASE[:64].view(8, 8)[4:]),
    "nothing": lambda: (BASE[:10], BASE[:0]),
    "beside a number for all": lambda: (BASE[:10], BASE[20:21].expand(10)),
    "bytes beside each other": lambda: (BASE[:8].view(torch.uint8)[::4], BASE[:8].view(torch.uint8)[1::4]),
}

TOGETHER: dict[str, Callable[[], tuple[torch.Tensor, torch.Tensor]]] = {
    "the same": lambda: (BASE[:10], BASE[:10]),
    "one element": lambda: (BASE[:10], BASE[9:19]),
    "a row and the matrix": lambda: (BASE[:100].view(10, 10), BASE[30:40]),
    "columns that meet": lambda: (BASE[:100].view(10, 10)[:, :5], BASE[:100].view(10, 10)[:, 4:]),
    "a cache and its keys": lambda: (CACHE, CACHE[:, 0]),
    "every second and every third": lambda: (BASE[0:100:2], BASE[3:100:3]),
    "its transpose": lambda: (BASE[:64].view(8, 8), BASE[:64].view(8, 8).t()),
    "a number for all": lambda: (BASE[:10], BASE[3:4].expand(10)),
    "other bytes of it": lambda: (BASE[:8], BASE[:8].view(torch.uint8)[5::40]),
}


def check(*tensors: torch.Tensor) -> None:
    Apart("f", ("x", "y"), (0,), tensors).check([tensor.data_ptr() for tensor in tensors])


@pytest.mark.parametrize("name", APART)
def test_arguments_that_lie_apart_are_taken(name: str) -> None:
    check(*APART[name]())


@pytest.mark.parametrize("name", TOGETHER)
def test_arguments_that_share_memory_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="f: `y` shares memory with `x`, which is written in place") as caught:
        check(*TOGETHER[name]())
    assert caught.value.argument == "y"
    one, other = TOGETHER[name]()
    check(one.clone(), other)


@pytest.mark.parametrize(
    "view",
    [
        torch.zeros(1).expand(5),
        torch.zeros(3, 1).expand(3, 4),
        torch.zeros(10).as_strided((4, 3), (1, 1)),
        torch.zeros(10).as_strided((4, 3), (2, 1)),
        torch.zeros(20).as_strided((3, 5), (4, 1)),
    ],
)
def test_what_overlaps_itself_is_refused(view: torch.Tensor) -> None:
    with pytest.raises(ArgumentError, match="`x` is written in place, but some of its elements share memory"):
        check(view, torch.zeros(1))


@pytest.mark.parametrize(
    "view",
    [
        torch.zeros(1).expand(1),
        torch.zeros(0, 1).expand(0, 4),
        torch.zeros(4, 6).t(),
        torch.zeros(4, 6)[::2, 1::3],
        torch.zeros(10).as_strided((2, 2), (3, 2)),
    ],
)
def test_what_does_not_is_taken(view: torch.Tensor) -> None:
    check(view, torch.zeros(1))


def test_drawn_views_are_judged_by_their_elements() -> None:
    random = Random(7)
    seen = {True: 0, False: 0}
    base = torch.zeros(400)
    for _ in range(1500):
        views = []
        for _ in range(2):
            shape = [random.randint(1, 4) for _ in range(random.randint(0, 3))]
            strides = [random.choice((0, 1, 2, 3, 4, 5, 8, 12, 24)) for _ in shape]
            views.append(base.as_strided(shape, strides, random.randint(0, 60)))
        places = [[view[at].storage_offset() for at in product(*map(range, view.shape))] for view in views]
        wrong = len(set(places[0])) < len(places[0]) or bool(set(places[0]) & set(places[1]))
        seen[wrong] += 1
        try:
            check(*views)
        except ArgumentError:
            assert wrong, [(view.shape, view.stride(), view.storage_offset()) for view in views]
        else:
            assert not wrong, [(view.shape, view.stride(), view.storage_offset()) for view in views]
    assert min(seen.values()) > 200
