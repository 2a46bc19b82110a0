"""Of which tensors TMA moves tiles, their descriptors, and launches that keep them."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from fusec.runtime import Launch, tma_launch
from fusec.runtime.tensor_map import Address, TmaView, moves_tiles, tma_view
from fusec.runtime.tma_launch import TmaLauncher

PAIR = ("a", "b")


def test_a_box_has_the_extents_and_strides_of_a_tensor() -> None:
    assert tma_view(("x",), 2, (5, 48), (24, 1)) == TmaView(("x",), (5, 24), (48, 1), (0,), 2)
    assert tma_view(PAIR, 2, (5, 48, 48), (24, 1, 1), offsets=(0, 240)) == TmaView(PAIR, (5, 24), (48, 1), (0, 240), 2)


@pytest.mark.parametrize("itemsize", [1, 2, 4])
def test_strides_and_offsets_are_multiples_of_16_bytes(itemsize: int) -> None:
    step = 16 // itemsize
    for elements in (step - 1, step + 1, step // 2, -step):
        assert tma_view(("x",), itemsize, (5, elements), (step, 1)) is None
    for elements in (0, step, 3 * step):
        assert tma_view(("x",), itemsize, (5, elements), (step, 1)) is not None
    assert tma_view(("x",), itemsize, (5, step), (step, 1), offsets=(step,)) is not None
    assert tma_view(("x",), itemsize, (5, step), (step, 1), offsets=(step // 2,)) is None
    assert tma_view(PAIR, itemsize, (5, step, step), (step, 1, 1), offsets=(0, step // 2)) is None


@pytest.mark.parametrize("itemsize", [1, 2, 4])
def test_rows_end_at_multiples_of_16_bytes(itemsize: int) -> None:
    step = 16 // itemsize
    assert tma_view(("x",), itemsize, (5, 4 * step), (3 * step, 1)) is not None
    for size in (1, step - 1, step + 1, 3 * step - step // 2):
        assert tma_view(("x",), itemsize, (5, 4 * step), (size, 1)) is None


@pytest.mark.parametrize("axes", [((0, 8), (8, 1)), ((8, 8), (0, 1)), ((2**31, 8), (8, 1)), ((8, 2**39), (8, 1))])
def test_sizes_and_strides_have_limits(axes: tuple[tuple[int, int], ...]) -> None:
    assert tma_view(("x",), 2, *axes) is None


def test_elements_of_the_last_axis_are_neighbours() -> None:
    assert tma_view(("x",), 2, (8, 16), (8, 2)) is None
    assert tma_view(("x",), 2, (8, 16), (8, 0)) is None
    assert tma_view(PAIR, 2, (8, 16, 16), (8, 1, 2)) is None


def test_an_axis_of_one_position_may_have_any_stride() -> None:
    found = tma_view(("x",), 2, (1, 3), (4, 24), (8, 1))
    assert found is not None
    assert all(stride * 2 % 16 == 0 for stride in found.strides[:-1])
    assert found.strides[-1] == 1
    assert tma_view(PAIR, 2, (1, 3, 5), (8, 1, 1)) is not None


def test_two_buffers_that_lie_otherwise_are_no_tensor_map() -> None:
    assert tma_view(PAIR, 2, (5, 48, 24), (24, 1, 1)) is None


@pytest.mark.parametrize("first", [0, 1])
def test_two_buffers_stand_on_one_another_whichever_lies_first(first: int) -> None:
    held = torch.zeros(20, 24, dtype=torch.bfloat16)
    low, high = held[2:7], held[12:17]
    found = tma_view(PAIR, 2, (4, 24, 24), (16, 1, 1), offsets=(24, 24))
    assert found is not None
    descriptor, flipped = found.cut(2, 16).at((high, low) if first else (low, high))
    assert flipped == bool(first)
    assert descriptor.base.data_ptr() == low.data_ptr() + 48
    assert (descriptor.shape, descriptor.strides) == ([2, 4, 16], [240, 24, 1])
    assert descriptor.block_shape == [2, 2, 16]


def test_one_buffer_stands_on_itself() -> None:
    x = torch.zeros(5, 24, dtype=torch.float16)
    found = tma_view(PAIR, 2, (5, 24, 24), (24, 1, 1))
    assert found is not None
    descriptor, flipped = found.cut(2, 16).at((x, x))
    assert (descriptor.strides, flipped) == ([0, 24, 1], False)


def test_addresses_make_the_same_descriptor_as_tensors() -> None:
    x = torch.zeros(9, 24, dtype=torch.bfloat16)
    found = tma_view(("x",), 2, (5, 24), (24, 1), offsets=(48,))
    assert found is not None
    by_tensor = found.cut(2, 16).at([x])[0]
    by_address = found.cut(2, 16).at([Address(x.data_ptr(), x.dtype)])[0]
    assert by_tensor.base.data_ptr() == by_address.base.data_ptr() == x.data_ptr() + 96
    assert by_tensor.base.dtype == by_address.base.dtype
    assert by_tensor.shape == by_address.shape


def test_an_address_that_is_no_multiple_of_16_bytes_is_refused() -> None:
    found = tma_view(("x",), 2, (4, 16), (16, 1))
    assert found is not None
    with pytest.raises(ValueError, match="TMA needs x at multiples of 16 bytes"):
        found.cut(2, 16).at([torch.zeros(5, 16, dtype=torch.bfloat16).view(-1)[1:]])


def test_two_buffers_too_far_apart_are_refused() -> None:
    found = tma_view(PAIR, 2, (4, 16, 16), (16, 1, 1))
    assert found is not None
    near, far = (Address(4096 + distance, torch.bfloat16) for distance in (2**40 - 16, 2**40))
    found.cut(2, 16).at([Address(4096, torch.bfloat16), near])
    with pytest.raises(ValueError, match="TMA needs a and b less than 1099511627776 bytes apart"):
        found.cut(2, 16).at([Address(4096, torch.bfloat16), far])
    x, y = (mock.Mock(device=torch.device("cpu"), **{"data_ptr.return_value": one.data_ptr()}) for one in (near, far))
    low = mock.Mock(device=torch.device("cpu"), **{"data_ptr.return_value": 4096})
    assert moves_tiles((found,), low, x)
    assert not moves_tiles((found,), low, y)


def test_what_is_moved_is_of_16_bits_and_begins_at_multiples_of_16_bytes() -> None:
    x = torch.zeros(5, 16, dtype=torch.bfloat16)
    fitting, wide = tma_view(("x",), 2, (5, 16), (16, 1)), tma_view(("x",), 4, (5, 16), (16, 1))
    assert moves_tiles((fitting, fitting), x, x)
    assert not moves_tiles((fitting, None), x)
    assert not moves_tiles((fitting, wide), x)
    assert not moves_tiles((fitting,), x, x.view(-1)[1:])


@pytest.mark.parametrize(("capability", "moves"), [((8, 9), False), ((9, 0), True), ((10, 0), True)])
def test_devices_before_hopper_have_no_copy_engine(capability: tuple[int, int], moves: bool) -> None:
    x = mock.Mock(device=torch.device("cuda"), **{"data_ptr.return_value": 256})
    with mock.patch.object(torch.cuda, "get_device_capability", return_value=capability):
        assert moves_tiles((tma_view(("x",), 2, (5, 16), (16, 1)),), x) == moves


def test_chips_of_others_have_none_whatever_they_count() -> None:
    x = mock.Mock(device=torch.device("cuda"), **{"data_ptr.return_value": 256})
    counted = mock.patch.object(torch.cuda, "get_device_capability", return_value=(9, 4))
    with counted, mock.patch.object(torch.version, "hip", "6.4"):
        assert not moves_tiles((tma_view(("x",), 2, (5, 16), (16, 1)),), x)


@triton.jit
def _pair_kernel(pair_map, x_map, bias_ptr, N, flip, BLOCK: tl.constexpr):
    """Its text is of no account: it is never run."""


@triton.jit
def _late_kernel(bias_ptr, x_map):
    """Takes a pointer before its tensor map."""


VIEWS = {
    "pair_map": TmaView(PAIR, (5, 24), (24, 1), (0, 0), 2, (2, 16)),
    "x_map": TmaView(("x",), (5, 24), (24, 1), (0,), 2, (2, 16)),
}
PLACES = {name: place for place, name in enumerate(("x_ptr", "a_ptr", "b_ptr", "bias_ptr"))}


def launcher(**changes: object) -> TmaLauncher:
    """A launch of `_pair_kernel`, ready to take addresses."""
    parts = {"arguments": {"N": 24, "flip": 7, "BLOCK": 16}, "maps": VIEWS, "flips": {"flip": "pair_map"}}
    made = TmaLauncher(Launch(_pair_kernel, (3,), options=({},), **{**parts, **changes}), PLACES)
    held = torch.zeros(40, 24, dtype=torch.bfloat16)
    with mock.patch.object(TmaLauncher, "_compile", return_value=mock.Mock(run=print)):
        assert made.first([held, held[8:], held[16:], held[24:]])
    return made


def launched(made: TmaLauncher, *addresses: int) -> tuple[object, ...]:
    """The arguments of the kernel for buffers at these addresses."""
    seen: list[tuple[object, ...]] = []
    with mock.patch.object(TmaLauncher, "_observed", lambda launcher, stream, arguments: seen.append(arguments)):
        made.launch(0, addresses)
    return seen[0]


def test_a_launch_gives_descriptors_then_pointers_then_the_rest_with_the_order_of_buffers() -> None:
    made = launcher()
    pair, x, *rest = launched(made, 4096, 8192, 16384, 77)
    assert (pair.base.data_ptr(), pair.strides[0], x.base.data_ptr()) == (8192, 4096, 4096)
    assert rest == [77, 24, 0, 16]
    pair, x, *rest = launched(made, 4096, 16384, 8192, 77)
    assert (pair.base.data_ptr(), pair.strides[0]) == (8192, 4096)
    assert rest == [77, 24, 1, 16]


def test_descriptors_are_made_once_for_every_place_of_their_buffers() -> None:
    made, at = launcher(), TmaView.at
    with mock.patch.object(TmaView, "at", autospec=True, side_effect=at) as making:
        first = launched(made, 4096, 8192, 16384, 77)
        again = launched(made, 4096, 8192, 16384, 99)
        assert making.call_count == 2
        moved = launched(made, 12288, 8192, 16384, 77)
        assert making.call_count == 3
        assert launched(made, 4096, 8192, 16384, 77)[:2] == first[:2]
        assert making.call_count == 3
    assert again[:2] == first[:2]
    assert again[2] == 99
    assert moved[0] is first[0]
    assert moved[1].base.data_ptr() == 12288


def test_the_driver_gets_what_was_made_of_each_descriptor() -> None:
    calls: list[tuple[object, ...]] = []

    def spread(number: int, descriptor: TensorDescriptor) -> tuple[object, ...]:
        return number, descriptor.base.data_ptr()

    known = (lambda stream, given: calls.append((stream, *given))), spread
    with mock.patch.object(tma_launch, "straight_spread", return_value=known):
        made = launcher()
    made.launch(5, (4096, 8192, 16384, 77))
    made.launch(6, (4096, 16384, 8192, 77))
    assert calls == [(5, 0, 8192, 1, 4096, 77, 24, 0, 16), (6, 0, 8192, 1, 4096, 77, 24, 1, 16)]


def test_a_launch_that_is_watched_goes_through_triton() -> None:
    known = (lambda stream, given: pytest.fail("not told")), (lambda number, descriptor: ())
    with mock.patch.object(tma_launch, "straight_spread", return_value=known):
        made = launcher()
    with mock.patch.object(tma_launch, "is_watched", return_value=True):
        assert len(launched(made, 4096, 8192, 16384, 77)) == 6


def test_only_so_many_descriptors_are_kept() -> None:
    with mock.patch.object(tma_launch, "_MOST_BOUND", 4):
        made = launcher()
    for number in range(1, 10):
        assert launched(made, 4096 * number, 8192, 16384, 77)[1].base.data_ptr() == 4096 * number
    assert [len(bound._kept) for bound in made._maps] == [1, 4]


def test_a_kernel_takes_its_maps_first() -> None:
    launch = Launch(_late_kernel, (3,), arguments={}, options=({},), maps={"x_map": VIEWS["x_map"]})
    with pytest.raises(TypeError, match=r"kernel\(bias_ptr, x_map\) takes its maps first, and they are x_map"):
        TmaLauncher(launch, PLACES)
