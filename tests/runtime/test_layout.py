"""Shapes and strides: every element of every tensor must be reached exactly once, in the same row."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusec.runtime import collapse, contiguous, squeeze
from fusec.runtime.layout import layout
from fusec.runtime.select.sizes import is_flat


@st.composite
def strided_tensors(draw: st.DrawFn) -> tuple[list[int], list[list[int]]]:
    """A shape, and strides of up to three tensors of it: permuted, broadcast, sliced or contiguous."""
    shape = draw(st.lists(st.integers(0, 4), max_size=5))
    many = []
    for _ in range(draw(st.integers(1, 3))):
        order = draw(st.permutations(range(len(shape))))
        steps, step = [0] * len(shape), 1
        for dim in reversed(order):
            steps[dim] = step
            step *= draw(st.integers(max(shape[dim], 1), shape[dim] + 2))
        many.append([0 if draw(st.booleans()) and draw(st.booleans()) else step for step in steps])
    return shape, many


@given(strided_tensors())
def test_collapsed_rows_visit_the_same_elements(case: tuple[list[int], list[list[int]]]) -> None:
    shape, strides = case
    rows = collapse(shape, *strides)
    wanted = sorted(
        tuple(sum(i * step for i, step in zip(index, steps, strict=True)) for steps in strides)
        for index in product(*map(range, shape))
    )
    visited = sorted(
        tuple(
            base + row // rows.inner * outer + row % rows.inner * inner
            for base, (outer, inner) in zip(offsets, rows.strides, strict=True)
        )
        for offsets in rows.offsets
        for row in range(rows.count)
    )
    assert visited == wanted


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 3, 4, 5)])
def test_contiguous_tensors_are_one_axis(shape: tuple[int, ...]) -> None:
    rows = collapse(shape, contiguous(shape), contiguous(shape))
    assert (rows.inner, len(rows.offsets)) == (1, 1)


def test_two_axes_remain_without_further_launches() -> None:
    x = torch.empty(6, 5, 4, 3).permute(2, 0, 1, 3)
    rows = collapse(x.shape[:3], x.stride()[:3], contiguous(x.shape)[:3])
    assert (rows.count, rows.inner, len(rows.offsets)) == (120, 30, 1)


def test_the_two_longest_axes_stay_in_the_kernel() -> None:
    shape, order = (2, 9, 3, 8), (3, 2, 1, 0)
    x = torch.empty([shape[dim] for dim in order]).permute(order)
    rows = collapse(shape, x.stride(), contiguous(shape))
    assert (rows.count, rows.inner, len(rows.offsets)) == (72, 8, 6)


def test_offsets_beyond_32_bits() -> None:
    rows = collapse((2, 2, 2), (2**40, 2**30, 2**35))
    assert max(offset for (offset,) in rows.offsets) + sum(rows.strides[0]) == 2**40 + 2**30 + 2**35


@pytest.mark.parametrize("shape", [(1, 7, 1, 4), (7, 1, 4), (7, 4), (1, 1, 7, 4)])
def test_squeeze_drops_leading_ones_down_to_the_rank(shape: tuple[int, ...]) -> None:
    table = torch.empty(shape)
    squeezed = squeeze(table, 2)
    assert squeezed.shape == (7, 4)
    assert squeezed.data_ptr() == table.data_ptr()


def test_squeeze_keeps_declared_ones_and_real_axes() -> None:
    assert squeeze(torch.empty(1, 1, 1, 4), 2).shape == (1, 4)
    assert squeeze(torch.empty(3, 1, 7, 4), 2).shape == (3, 7, 4)
    assert squeeze(torch.empty(4), 2).shape == (4,)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (2, 0, 3)])
def test_contiguous_agrees_with_pytorch(shape: tuple[int, ...]) -> None:
    assert contiguous(shape) == torch.empty(shape).stride()


def test_layouts_differ_where_a_plan_would() -> None:
    x = torch.empty(8, 8)
    assert layout(x) == layout(torch.empty(8, 8))
    others = [x.t(), x[:4], x.half(), x.flatten()[1:57].view(7, 8), x.to("meta"), None]
    assert len({layout(x), *map(layout, others)}) == len(others) + 1
    assert layout(x.flatten()[1:]) != layout(x.flatten()[4:])


def test_tensors_are_one_run_of_memory_each() -> None:
    """One that is not given does not matter; a last axis of one element has to have a stride of 1."""
    whole, apart = torch.empty(3, 4), torch.empty(3, 8)[:, ::2]
    assert is_flat(whole, None, torch.empty(()))
    assert is_flat(None)
    assert not is_flat(whole, apart)
    assert not is_flat(apart, None)
    assert not is_flat(whole.T)
    assert not is_flat(torch.empty(3, 1).as_strided((3, 1), (1, 7)))
