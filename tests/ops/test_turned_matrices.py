"""Matrices that lie across each other: programs take square tiles of them, and results are the same."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from fusec.driver.compile import compile_file
from fusec.driver.load import load_from
from fusec.runtime import Op

SPEC = """
op turned(x: E[K, N]) -> y: E[N, K]
where E in {f8e4m3, f16, f32}:
    y = x

op scaled(x: T[B, K, N], s: f32[K], z: T[N]) -> y: T[B, N, K]
where T in {f16, f32}:
    y = x * s + z
"""


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return load_from(SPEC, compile_file, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float16, torch.float32])
@pytest.mark.parametrize("size", [(1, 1), (5, 130), (129, 65), (16, 16), (0, 4), (4, 0), (300, 17), (1, 200), (200, 1)])
def test_a_matrix_that_is_turned(
    size: tuple[int, int], dtype: torch.dtype, ops: SimpleNamespace, device: torch.device
) -> None:
    x = torch.randn(size, device=device).to(dtype)
    for given in (
        x,
        x.t().contiguous().t(),
        torch.randn((2 * size[0], 2 * size[1]), device=device).to(dtype)[::2, ::2],
    ):
        y = ops.turned(given)
        assert y.is_contiguous()
        assert torch.equal(y.double(), given.t().double())


@pytest.mark.parametrize("size", [(1, 70, 40), (3, 33, 129), (2, 1, 50)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_what_is_computed_of_one(
    size: tuple[int, int, int], dtype: torch.dtype, ops: SimpleNamespace, device: torch.device
) -> None:
    x, s, z = (torch.randn(shape, device=device) for shape in (size, size[1:2], size[2:]))
    x, z = x.to(dtype), z.to(dtype)
    wanted = (x.double() * s.double()[:, None] + z.double()).transpose(1, 2).to(dtype)
    torch.testing.assert_close(ops.scaled(x, s, z), wanted)


@pytest.mark.parametrize(
    ("dtype", "layout", "tile"),
    [
        (torch.float8_e4m3fn, "across", (128, 128)),
        (torch.float16, "across", (64, 64)),
        (torch.float32, "across", (32, 32)),
        (torch.float16, "along", (1, 2048)),
    ],
)
def test_tiles_are_square_where_something_lies_across(
    dtype: torch.dtype, layout: str, tile: tuple[int, int], ops: SimpleNamespace
) -> None:
    x = torch.empty(4096, 8192, dtype=dtype, device="meta")
    given = x if layout == "across" else x.t().contiguous().t()
    own = next(each for each in vars(sys.modules[ops.turned.__module__]).values() if isinstance(each, Op))
    (step,) = own.decide(given).steps
    (launch,) = step.launches
    assert (launch.arguments["ROWS"], launch.arguments["BLOCK_K"]) == tile
