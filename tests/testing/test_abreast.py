"""Programs that run side by side compute what they compute one by one, to the bit, and leave the same memory."""

from __future__ import annotations

from collections.abc import Callable

import handwritten as kernels
import pytest
import torch
import triton
import triton.language as tl

from fusec.interpreter import abreast, exact, interpreting, programs
from fusec.interpreter.programs import Order, in_order, launched, launcher, shuffled
from fusec.testing.memory import MemoryFaultError
from fusec.testing.watching import watched

pytestmark = pytest.mark.skipif(not interpreting(), reason="about the interpreter alone")

PROGRAMS = 2 * abreast.AT_ONCE + 3
"""More than run side by side at once, and no multiple of it."""


@triton.jit
def softmax_kernel(x_ptr, y_ptr, COLUMNS: tl.constexpr):
    row = tl.program_id(0)
    place = tl.arange(0, COLUMNS)
    x = tl.load(x_ptr + row * COLUMNS + place).to(tl.float32)
    e = tl.exp(x - tl.max(x, 0))
    tl.store(y_ptr + row * COLUMNS + place, (e / tl.sum(e, 0)).to(y_ptr.dtype.element_ty))


@triton.jit
def tile_kernel(x_ptr, y_ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Everything that looks at axes: a product, halves of a row, a turned tile, sums of both axes and of all."""
    at = tl.program_id(0)
    place = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    x = tl.load(x_ptr + at * ROWS * COLUMNS + place)
    product = tl.dot(x, tl.trans(x), input_precision="ieee") + tl.dot(x, x.T, input_precision="ieee")
    first, second = tl.split(tl.reshape(x, (ROWS, COLUMNS // 2, 2)))
    turned = tl.reshape(tl.join(-second, first), (ROWS, COLUMNS))
    total = tl.sum(x, 1)[:, None] + tl.max(turned, 0, keep_dims=True) + tl.sum(product)
    total += tl.broadcast_to(tl.full([1, 1], 3, tl.int32) + at, (ROWS, COLUMNS)) + tl.zeros([ROWS, COLUMNS], tl.float32)
    tl.store(y_ptr + at * ROWS * COLUMNS + place, tl.where(x > 0, total, turned))


@triton.jit
def parting_kernel(x_ptr, y_ptr, BLOCK: tl.constexpr):
    """Adds to its own row before it takes a way of its own: so many rounds, and a branch."""
    at = tl.program_id(0)
    place = at * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + place, tl.load(y_ptr + place) + 1.0)
    total = tl.zeros([BLOCK], tl.float32)
    for step in range(at % 5, 3 + at % 3):
        total += step * tl.load(x_ptr + place)
    if at % 4 == 1:
        total = -total
    tl.store(y_ptr + place, tl.load(y_ptr + place) + total)


@triton.jit
def dealt_kernel(x_ptr, y_ptr, SPLITS: tl.constexpr, BLOCK: tl.constexpr):
    """Every program begins elsewhere; most go round as often."""
    split = tl.program_id(0) % SPLITS
    total = tl.zeros([BLOCK], tl.float32)
    for step in range(split, tl.num_programs(0) // 3, SPLITS):
        total += tl.load(x_ptr + step * BLOCK + tl.arange(0, BLOCK)) * step
    for step in range(tl.program_id(0) + 3, tl.program_id(0), -1):
        total -= step
    tl.store(y_ptr + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), total)


@triton.jit
def larger(one, other):
    """Asks which is larger, as no block can be asked."""
    if one > other:
        return one
    return other


@triton.jit
def one_by_one_kernel(x_ptr, y_ptr, OPERATION: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0)
    place = at * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + place)
    tl.store(y_ptr + place, tl.load(y_ptr + place) + x)
    if OPERATION == "scan":
        x = tl.cumsum(x, 0)
    elif OPERATION == "truth":
        x -= tl.reduce(x, 0, larger)
    else:
        tl.atomic_add(y_ptr + place, x)
    tl.store(y_ptr + place, tl.load(y_ptr + place) + x)


@triton.jit
def position_kernel(y_ptr):
    first, second, third = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    place = y_ptr + ((third * tl.num_programs(1) + second) * tl.num_programs(0) + first) * 3
    tl.store(place, first)
    tl.store(place + 1, second)
    tl.store(place + 2, third)


@triton.jit
def last_of_kernel(x_ptr, y_ptr):
    """All programs write one place."""
    tl.store(y_ptr, tl.load(x_ptr + tl.program_id(0)))


KERNELS: dict[str, tuple[Callable[..., object], tuple[int, ...], dict[str, object]]] = {
    "row": (softmax_kernel, (PROGRAMS, 64), {"COLUMNS": 64}),
    "tile": (tile_kernel, (PROGRAMS, 16, 32), {"ROWS": 16, "COLUMNS": 32}),
    "parting": (parting_kernel, (PROGRAMS, 8), {"BLOCK": 8}),
    "dealt": (dealt_kernel, (PROGRAMS, 8), {"SPLITS": 7, "BLOCK": 8}),
    "scan": (one_by_one_kernel, (PROGRAMS, 8), {"OPERATION": "scan", "BLOCK": 8}),
    "truth": (one_by_one_kernel, (PROGRAMS, 8), {"OPERATION": "truth", "BLOCK": 8}),
    "atomic": (one_by_one_kernel, (PROGRAMS, 8), {"OPERATION": "atomic", "BLOCK": 8}),
}


def result(name: str, order: Order) -> torch.Tensor:
    kernel, shape, settings = KERNELS[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    y = torch.ones(shape)
    with launched(launcher(order)):
        kernel[(PROGRAMS,)](x, y, **settings)
    return y


@pytest.mark.parametrize("name", KERNELS)
def test_programs_side_by_side_give_the_bits_of_programs_one_by_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "ONE_BY_ONE", PROGRAMS)
    assert torch.equal(result(name, in_order), result(name, shuffled(0)))


def test_programs_of_three_axes_know_their_places() -> None:
    y = torch.zeros(2, 3, 5, 3, dtype=torch.int32)
    position_kernel[(5, 3, 2)](y)
    wanted = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(5)).flip(1)
    assert torch.equal(y.view(-1, 3), wanted.int())


@pytest.mark.parametrize(("name", "times"), [("row", 3), ("dealt", 5)])
def test_what_programs_do_alike_runs_once(name: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once per group; a group of which some programs go round once more than others is two."""
    ran = []
    stored = abreast.Builder.create_masked_store
    monkeypatch.setattr(abreast.Builder, "create_masked_store", lambda *args: (ran.append(1), stored(*args)))
    result(name, in_order)
    assert len(ran) == times


def test_of_several_values_for_one_place_the_last_program_has_its_own() -> None:
    x, y = torch.arange(10.0), torch.zeros(1)
    last_of_kernel[(10,)](x, y)
    assert y.item() == 9.0


def test_a_race_of_programs_side_by_side_is_found() -> None:
    x, y = torch.arange(10.0), torch.zeros(1)
    with pytest.raises(MemoryFaultError, match="both store y"), watched({"x": x, "y": y}, writable={"y"}):
        last_of_kernel[(10,)](x, y)


def test_what_is_undone_is_not_held_against_a_program() -> None:
    """Groups that begin anew store a second time what was taken back."""
    x, y, z = torch.ones(12, 4), torch.zeros(12, 4), torch.zeros(12, 4)
    with watched({"x": x, "y": y, "z": z}, writable={"y", "z"}):
        kernels.parted_store_kernel[(12,)](x, y, z, BLOCK=4)
    assert torch.equal(y, x)
    assert torch.equal(z, torch.arange(12.0)[:, None] % 5 + x)


def test_side_by_side_ends_with_the_launch() -> None:
    with exact(), pytest.raises(abreast.AloneError), abreast.side_by_side([(0, 0, 0), (1, 0, 0)]):
        abreast.require_alone("this")
    assert abreast.lead() == 0
