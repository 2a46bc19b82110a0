"""Sizes that launchers work out: where offsets need 64 bits."""

from __future__ import annotations

import pytest
import torch
from triton.language import int32, int64

from fusec.runtime import Buffer
from fusec.runtime.select.sizes import BEYOND, index_type


def meta(shape: tuple[int, ...], strides: tuple[int, ...]) -> torch.Tensor:
    return torch.empty_strided(shape, strides, device="meta")


LIMIT = 2**31 - BEYOND
"""The offset of a last element that needs 64 bits."""


@pytest.mark.parametrize(
    ("tensor", "wanted"),
    [
        (meta((LIMIT,), (1,)), int32),
        (meta((LIMIT + 1,), (1,)), int64),
        (meta((2**16, LIMIT // 2**16), (LIMIT // 2**16, 1)), int32),
        (meta((2**16, 2**15), (2**15, 1)), int64),
        (meta((2,), (LIMIT - 1,)), int32),
        (meta((2,), (LIMIT,)), int64),
        (meta((0, 2), (1, LIMIT - 1)), int32),
        (meta((3, 2), (2**30, 2**30)), int64),
        (meta((LIMIT,), (0,)), int32),
        (meta((LIMIT + 1, 2), (0, 1)), int64),
        (meta((), ()), int32),
        (None, int32),
        (Buffer((2**16, LIMIT // 2**16 - 1), torch.float32), int32),
        (Buffer((2**16, 2**15 + 1), torch.float32), int64),
    ],
)
def test_offsets_of_about_2_to_31_and_more_need_64_bits(tensor: torch.Tensor | Buffer | None, wanted: object) -> None:
    """The last element lies at an offset of one less than the limit, or at that."""
    assert index_type(tensor) is wanted
    assert index_type(None, tensor, meta((3,), (1,))) is wanted
