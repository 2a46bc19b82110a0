"""Every fault of memory is found and named; right kernels pass."""

from __future__ import annotations

import re
from contextlib import nullcontext

import handwritten as kernels
import numpy as np
import pytest
import torch

from fusec.interpreter import interpreting
from fusec.interpreter.programs import in_order, sampled, shuffled
from fusec.testing.buffers import guarded, guarded_allocations, reserved, reserved_allocations
from fusec.testing.memory import MemoryFaultError, _without
from fusec.testing.watching import watched

pytestmark = pytest.mark.skipif(not interpreting(), reason="accesses are seen in the interpreter alone")

VIEWS = {
    "contiguous": torch.arange(35.0).reshape(5, 7),
    "sliced": torch.arange(60.0).reshape(6, 10)[1:, 2:9],
    "stepped": torch.arange(140.0).reshape(10, 14)[::2, ::2],
    "transposed": torch.arange(35.0).reshape(7, 5).t(),
    "broadcast": torch.arange(7.0).expand(5, 7),
    "empty": torch.empty(0, 7),
}


def faults(run, inputs, **options) -> str:
    with pytest.raises(MemoryFaultError) as caught, guarded_allocations() as made, watched(inputs, **options) as memory:
        run_and_own(run, made, memory)
    return str(caught.value)


def run_and_own(run, made, memory):
    from_before = len(made)
    y = run()
    for held in made[from_before:]:
        memory.unwritten(held.name, held.tensor)
    return y


@pytest.mark.parametrize("view", VIEWS)
def test_a_right_kernel_passes_on_every_layout(view: str) -> None:
    x = VIEWS[view]
    with guarded_allocations() as made, watched({"x": x}, order=shuffled(7)) as memory:
        y = run_and_own(lambda: kernels.copy(x, block=8), made, memory)
    assert torch.equal(y, x)


@pytest.mark.parametrize("view", ["contiguous", "sliced", "stepped", "transposed", "broadcast"])
def test_a_dropped_mask_is_an_access_out_of_bounds(view: str) -> None:
    text = faults(lambda: kernels.copy(VIEWS[view], masked=False, block=8), {"x": VIEWS[view]})
    assert "loads through `x_ptr`" in text
    assert "x[" in text


def test_whole_vectors_may_reach_beyond_a_tensor() -> None:
    x = torch.ones(13, dtype=torch.float16)
    with guarded_allocations() as made, watched({"x": x}) as memory:
        y = run_and_own(lambda: kernels.with_total(x, 16, vector=8), made, memory)
    assert torch.equal(y, x + 13)
    assert memory.moved[-1].read["x"] == 32


@pytest.mark.parametrize(("size", "reached", "vector"), [(13, 16, 0), (13, 15, 8), (8, 16, 8)])
def test_parts_of_vectors_and_vectors_with_nothing_of_a_tensor_may_not(size: int, reached: int, vector: int) -> None:
    x = torch.ones(size, dtype=torch.float16)
    text = faults(lambda: kernels.with_total(x, reached, vector), {"x": x})
    assert f"loads through `x_ptr` out of bounds, {reached - size} times, first at x[{size}]" in text


def test_what_a_vector_has_of_no_tensor_is_poison() -> None:
    x = torch.ones(13, dtype=torch.float16)
    with guarded_allocations() as made, watched({"x": x}) as memory:
        y = run_and_own(lambda: kernels.with_total(x, 16, vector=8, replaced=False), made, memory)
    assert y.isnan().all()


def test_the_element_out_of_bounds_is_named() -> None:
    x = torch.zeros(3, 5)
    text = faults(lambda: kernels.copy(x[:, :4], masked=False, block=8), {"x": x[:, :4]})
    assert "`copy_kernel` program (0, 0, 0) loads through `x_ptr` out of bounds, 1 times, first at x[0, 4]" in text
    assert "beyond shape (3, 4) with strides (5, 1)" in text


def test_an_unwritten_output_is_named() -> None:
    x = torch.zeros(3, 5)
    text = faults(lambda: kernels.copy(x, rows=2), {"x": x})
    assert "5 of 15 elements of `allocation 1` are never stored, first allocation 1[2, 0]" in text


@pytest.mark.parametrize(("programs", "idle"), [(3, ""), (5, "2 of 5 programs store nothing, first (3, 0, 0)")])
def test_a_program_without_work_is_named(programs: int, idle: str) -> None:
    def run() -> None:
        kernels.lane_store_kernel[(programs,)](x, kernels.fresh((10,), x), 10, BLOCK=4)

    x = torch.arange(10.0)
    if idle:
        assert idle in faults(run, {"x": x})
    else:
        with guarded_allocations() as made, watched({"x": x}) as memory:
            run_and_own(run, made, memory)


def test_what_two_launches_store_is_named() -> None:
    def run() -> None:
        y = kernels.fresh((10,), x)
        kernels.lane_store_kernel[(2,)](x, y, 6, BLOCK=4)
        kernels.lane_store_kernel[(3,)](x, y, 10, BLOCK=4)

    x = torch.arange(10.0)
    assert "stores y_ptr[0], which an earlier launch has stored" in faults(run, {"x": x})


@pytest.mark.parametrize("tail", [(3,), (3, 0)])
def test_where_a_tensor_is_empty_work_may_be_done_for_nothing(tail: tuple[int, ...]) -> None:
    x, y = torch.arange(10.0), torch.empty(10)
    inputs = {"x": x, "beside": torch.empty(tail)}
    with nullcontext() if 0 in tail else pytest.raises(MemoryFaultError), watched(inputs) as memory:
        for programs in (3, 4):
            kernels.lane_store_kernel[(programs,)](x, y, 10, BLOCK=4)
        memory.unwritten("workspace", torch.empty(4), workspace=True)
    assert {kind for kind, *_ in memory.faults} == {"idle", "stored again", "spare"}


def test_where_a_tensor_is_empty_results_are_still_stored_whole() -> None:
    fault = pytest.raises(MemoryFaultError, match="4 of 4 elements of `y` are never stored")
    with fault, watched({"beside": torch.empty(3, 0)}) as memory:
        memory.unwritten("y", torch.empty(4))


def test_a_store_by_two_programs_is_a_race() -> None:
    def run() -> None:
        kernels.shared_store_kernel[(4,)](x, kernels.fresh((2,), x))

    x = torch.arange(4.0)
    assert "programs (0, 0, 0) and (1, 0, 0) both store y_ptr[0]" in faults(run, {"x": x})


def test_a_second_store_by_one_program_is_a_race_of_its_threads() -> None:
    def run() -> None:
        kernels.repeated_store_kernel[(1,)](x, kernels.fresh((4,), x), BLOCK=4)

    x = torch.arange(4.0)
    assert "program (0, 0, 0) stores y_ptr[3] twice" in faults(run, {"x": x})


def test_atomic_updates_are_no_race() -> None:
    x = torch.ones(4)
    with watched({"x": x, "y": (y := torch.zeros(1))}, writable={"y"}):
        kernels.count_kernel[(4,)](x, y)
    assert y.item() == 4.0


def test_a_write_to_an_input_is_named_and_not_carried_out() -> None:
    def run() -> None:
        kernels.increment_kernel[(4,)](x, kernels.fresh((4,), x))

    x = torch.zeros(4)
    text = faults(run, {"x": x})
    assert "stores through `x_ptr`, an input, at x[0]" in text
    assert not x.any()


def test_a_writable_input_may_be_written() -> None:
    x, y = torch.zeros(4), torch.zeros(4)
    with watched({"x": x, "y": y}, writable={"x", "y"}):
        kernels.increment_kernel[(4,)](x, y)
    assert x.tolist() == [1.0] * 4


def test_shuffled_programs_show_a_dependence_on_their_order() -> None:
    x = torch.arange(16.0)
    results = []
    for order in (shuffled(0), shuffled(1)):
        y = torch.zeros(8)
        with watched({"x": x, "y": y}, writable={"y"}, order=order, shared={"y"}):
            kernels.shared_store_kernel[(16,)](x, y)
        results.append(y)
    assert not torch.equal(*results)


def test_a_load_of_what_another_program_stores_is_found_in_any_order() -> None:
    for order in (in_order, shuffled(0)):
        y = torch.zeros(16)
        text = faults(
            lambda y=y: kernels.chain_kernel[(16,)](torch.ones(16), y, 16), {"y": y}, writable={"y"}, order=order
        )
        assert re.search(r"program \(\d+, 0, 0\) loads y\[\d+\], which program \(\d+, 0, 0\) stores", text)


def test_a_load_behind_its_own_store_is_found() -> None:
    x, y = torch.zeros(4), torch.zeros(4)
    text = faults(lambda: kernels.stored_then_loaded_kernel[(4,)](x, y), {"x": x, "y": y}, writable={"x", "y"})
    assert "program (0, 0, 0) loads x[0], which it has stored" in text


def test_a_load_of_what_an_earlier_launch_has_stored_is_found() -> None:
    x, y = torch.zeros(4, 1), torch.zeros(4)

    def run() -> None:
        kernels.increment_kernel[(4,)](x, y)
        kernels.copy(x)

    assert "loads x[0, 0], which an earlier launch has stored" in faults(run, {"x": x, "y": y}, writable={"x", "y"})


def test_offsets_beyond_32_bits_are_tested_without_the_memory() -> None:
    x = reserved((4, 8), (2**30, 1), torch.float32)
    x[3, 0] = 7.0
    with reserved_allocations() as made, watched({"x": x}) as memory:
        y = kernels.copy(x, block=8)
        memory.unwritten("y", made[0])
    assert y[3, 0] == 7.0
    assert memory.highest["x"] - memory.lowest["x"] == (3 * 2**30 + 7) * 4


def test_offsets_kept_in_32_bits_are_found() -> None:
    x, y = reserved((4,), (2**30,), torch.float32), torch.zeros(4)
    with watched({"x": x, "y": y}, writable={"y"}):
        kernels.wide_kernel[(4,)](x, y, 2**30)
    with pytest.raises(MemoryFaultError, match=r"first at x\[-2\]"), watched({"x": x, "y": y}, writable={"y"}):
        kernels.narrow_kernel[(4,)](x, y, 2**30)


def test_a_launch_over_more_than_2_31_elements_runs_on_a_sample_of_programs() -> None:
    rows = 2**31 // 512 + 3
    x = reserved((rows, 512), (512, 1), torch.bfloat16)
    x[-1] = 3.0
    with reserved_allocations(), watched({"x": x}, order=sampled(3, seed=1)) as memory:
        y = kernels.copy(x, block=512)
    assert y[-1].eq(3.0).all()
    assert memory.highest["x"] - memory.lowest["x"] == 2 * (rows * 512 - 1)


def matrix(seed: int) -> torch.Tensor:
    """What TMA can move, with gaps between its rows."""
    return torch.randn(7, 40, generator=torch.Generator().manual_seed(seed)).bfloat16()[:5, :24]


def test_tiles_by_tma_pass_with_their_tails() -> None:
    x = matrix(0)
    with guarded_allocations() as made, watched({"x": x}, order=shuffled(3)) as memory:
        y = run_and_own(lambda: kernels.mapped_copy(x), made, memory)
    assert torch.equal(y, x)
    assert memory.highest["x"] - memory.lowest["x"] == 2 * (4 * 40 + 23)


@pytest.mark.parametrize("wrong", [{"rows": 6}, {"columns": 32}], ids=str)
def test_a_box_larger_than_its_buffer_is_out_of_bounds(wrong: dict[str, int]) -> None:
    x = matrix(0)
    text = faults(lambda: kernels.mapped_copy(x, **wrong), {"x": x})
    where = "x[5, 0]" if "rows" in wrong else "x[0, 24]"
    assert "loads through `x_map` out of bounds" in text
    assert f"first at {where}, beyond shape (5, 24) with strides (40, 1)" in text


def test_a_tile_that_is_stored_twice_is_a_race() -> None:
    x = matrix(0)
    text = faults(lambda: kernels.mapped_copy(x, tile=4), {"x": x})
    assert "programs (0, 0, 0) and (1, 0, 0) both store y[2, 0]" in text


def test_tiles_that_nobody_makes_are_unwritten() -> None:
    x = matrix(0)
    text = faults(lambda: kernels.mapped_copy(x, programs=2), {"x": x})
    assert "24 of 120 elements of `allocation 1` are never stored, first allocation 1[4, 0]" in text


def test_a_store_through_the_box_of_an_input_is_named_and_not_carried_out() -> None:
    def run() -> None:
        source = kernels.matrix_view("z", 5, 24, 40).cut(2, 32).at([z])[0]
        target = kernels.matrix_view("x", 5, 24, 24).cut(2, 32).at([x])[0]
        kernels.mapped_copy_kernel[(3,)](source, target, STEP=2)

    x, z = torch.zeros(5, 24, dtype=torch.bfloat16), matrix(0)
    assert "stores through `y_map`, an input, at x[0, 0]" in faults(run, {"x": x, "z": z})
    assert not x.any()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("own", [False, True])
def test_a_box_of_two_buffers_covers_both_in_either_order(first: int, own: bool) -> None:
    a, b = pair(first)
    with guarded_allocations() as made, watched({} if own else {"a": a, "b": b}) as memory:
        y = run_and_own(lambda: kernels.mapped_second(a, b), made, memory)
    assert torch.equal(y, b)


@pytest.mark.parametrize("own", [False, True])
def test_between_two_buffers_of_a_box_is_out_of_bounds(own: bool) -> None:
    a, b = pair(0)
    text = faults(lambda: kernels.mapped_second(a, b, rows=6), {} if own else {"a": a, "b": b})
    assert "loads through `pair_map` out of bounds, 48 times, first at a[5, 0], beyond shape (5, 24)" in text


def test_one_buffer_may_stand_on_itself() -> None:
    x = matrix(0)
    with guarded_allocations() as made, watched({"x": x}) as memory:
        y = run_and_own(lambda: kernels.mapped_second(x, x), made, memory)
    assert torch.equal(y, x)


def pair(first: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two matrices that lie alike, the `first` one before the other."""
    held = torch.randn(20, 24, generator=torch.Generator().manual_seed(first)).bfloat16()
    a, b = held[2:7], held[12:17]
    return (b, a) if first else (a, b)


def test_guards_notice_what_no_hook_sees() -> None:
    held = guarded("y", (3, 4), (5, 1), torch.float32)
    held.tensor.fill_(1.0)
    assert held.disturbed() is None
    held.tensor.as_strided((1,), (1,), held.tensor.storage_offset() + 4).fill_(0.0)
    assert "beside `y` changed, the first 16 bytes from its start" in str(held.disturbed())


@pytest.mark.parametrize("apart", [1, 4, 300, 1 << 33])
def test_what_is_missing_is_found_however_far_elements_lie_apart(apart: int) -> None:
    addresses = np.arange(100, dtype=np.uint64) * np.uint64(apart) + np.uint64(1 << 40)
    missing = addresses[[3, 50, 99]]
    elsewhere = np.array([0, 2**63, (1 << 40) - 1], np.uint64)
    written = np.concatenate([np.setdiff1d(addresses, missing), elsewhere])
    assert _without(addresses[::-1], written).tolist() == missing.tolist()
    assert _without(addresses, addresses).size == 0
    assert _without(addresses, elsewhere).tolist() == addresses.tolist()
