"""More than 2**31 rows of several axes, parts or products: how many they are together is counted in 64 bits.

Pages of a reserved tensor take memory only where they are written; of a launch few programs run, the last ones of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from compiled import compiled
from torch import Tensor

from fusec.interpreter import interpreting
from fusec.testing.buffers import reserved, reserved_allocations
from fusec.testing.layouts import strides_of
from fusec.testing.watching import watched

pytestmark = pytest.mark.skipif(not interpreting(), reason="needs tensors larger than the memory")

MANY = 2**16
OTHERS = 2**15 + 1
"""Together more than 2**31, each of them few."""


@dataclass(frozen=True)
class Rows:
    """An op, the shape of its first argument, what it means, and its other arguments.

    Of the last row `last` elements are not zero. With rows `padded` leading axes do not lie evenly in memory.
    """

    text: str
    shape: tuple[int, ...]
    meaning: Callable[[Tensor], Tensor]
    last: int
    others: tuple[object, ...] = ()
    padded: int = 0


def normed(x: Tensor) -> Tensor:
    return x / (1 + (x * x).sum(-1, keepdim=True))


OPS = {
    "rows of leading axes": Rows(
        "op f(x: T[..., N]) -> y: T[..., N]\nwhere T in {f16, f32}:\n    y = x / (1 + sum(x * x, over=N))\n",
        (MANY, OTHERS, 2),
        normed,
        2,
        padded=1,
    ),
    "rows of two axes": Rows(
        "op f(x: T[A, B, N]) -> y: T[A, B, N]\nwhere T in {f16, f32}:\n    y = x / (1 + sum(x * x, over=N))\n",
        (MANY, OTHERS, 2),
        normed,
        2,
    ),
    "rows of three axes, of which the inner ones are many": Rows(
        "op f(x: T[A, B, C, N]) -> y: T[A, B, C, N]\nwhere T in {f16, f32}:\n    y = x / (1 + sum(x * x, over=N))\n",
        (2, MANY, OTHERS, 2),
        normed,
        2,
    ),
    "rows that are one stored dimension": Rows(
        "op f(x: T[A*B, N], b: dim(B)) -> y: T[A*B, N]\nwhere T in {f16, f32}:\n    y = x / (1 + sum(x * x, over=N))\n",
        (MANY * OTHERS, 2),
        normed,
        2,
        (OTHERS,),
    ),
    "no reduction": Rows(
        "op f(x: T[A, B]) -> y: T[A, B]\nwhere T in {f16, f32}:\n    y = x * 2\n",
        (MANY, OTHERS),
        lambda x: x * 2,
        3,
        padded=1,
    ),
    "an axis of two parts": Rows(
        "op f(x: T[M, P + Q], p: dim(P)) -> y: T[M, P + Q]\nwhere T in {f16, f32}:\n    y = x * 2\n",
        (1, MANY * OTHERS),
        lambda x: x * 2,
        3,
        (MANY * OTHERS // 2,),
    ),
    "a look-up among rows of two axes": Rows(
        "op f(x: T[A*B, N], at: i64[M], b: dim(B)) -> y: T[M, N]\nwhere T in {f16, f32}:\n    y = x[at]\n",
        (MANY * OTHERS, 2),
        lambda x: x,
        2,
        (torch.tensor([MANY * OTHERS - 1]), OTHERS),
    ),
}


@pytest.mark.parametrize("rows", OPS.values(), ids=OPS)
def test_the_last_of_many_rows_is_written(rows: Rows, tmp_path: Path) -> None:
    (op,) = compiled(rows.text, tmp_path)
    strides = strides_of((*rows.shape[:-2], rows.shape[-2] + rows.padded, rows.shape[-1]))
    x = reserved(rows.shape, strides, torch.float16)
    tail = x[(-1,) * (len(rows.shape) - 1)][-rows.last :]
    tail.copy_(torch.tensor([1.5, -2.0, 0.25])[: rows.last])
    with reserved_allocations(), watched({"x": x}, order=last_ones):
        y = op.call(x, *rows.others)
    found = y[(-1,) * (y.ndim - 1)][-rows.last :]
    assert torch.allclose(found.float(), rows.meaning(tail.float()), rtol=1e-3)


def last_ones(count: int) -> Sequence[int]:
    """The last programs of a launch."""
    return range(max(count - 4, 0), count)


@pytest.mark.parametrize("size", [2**31 - 1025, 2**31 - 3, 2**31, 2**31 + 1, 2**31 + 1025])
@pytest.mark.parametrize("axes", ["N", "M, N", "N, M"])
def test_the_last_of_one_long_axis_is_written(size: int, axes: str, tmp_path: Path) -> None:
    (op,) = compiled(f"op f(x: T[{axes}]) -> y: T[{axes}]\nwhere T in {{f16, f32}}:\n    y = x * 2\n", tmp_path)
    shape = tuple(size if axis == "N" else 1 for axis in axes.split(", "))
    x = reserved(shape, strides_of(shape), torch.float16)
    x.view(-1)[-3:].copy_(torch.tensor([1.5, -2.0, 0.25]))
    with reserved_allocations(), watched({"x": x}, order=last_ones):
        y = op.call(x)
    assert torch.equal(y.view(-1)[-3:], 2 * x.view(-1)[-3:])
