"""Tensors of bytes where 8-bit floats are declared: the same results as of views of the right type."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import fusec
from fusec.driver.compile import compile_file
from fusec.driver.load import load_from
from fusec.runtime import FusecError, ShapeMismatchError, UnsupportedDtypeError

SPEC = """
op one(q: f8e4m3[..., N], scale: f32[...]) -> y: f32[..., N]:
    y = q * scale

op other(q: f8e5m2[M, N]) -> y: f32[M, N]:
    y = q * 2

op either(a: E[M, N], b: E[M, N] = 1, weight c: F[N] = 1) -> y: f32[M, N]
where E in {f8e4m3, f8e5m2}, F in {f16, f8e5m2}:
    y = a * b + c

op floats(x: T[M, N], scale: f32[] = 1) -> y: f32[M, N]
where T in {f16, f32}:
    y = x * scale

op codes(x: f8e5m2[M, N], scale: f32[] = 1) -> y: f32[M, N]:
    y = x * scale * 4

op whole(x: u8[M, N], scale: f32[] = 1) -> y: f32[M, N]:
    y = x + scale

overload codes of floats

op counted(x: f8e4m3[M, N], scale: f32[] = 1) -> y: f32[M, N]:
    y = x * scale

overload whole of counted

op linear8(x: T[M, K], weight w: f8e4m3[N, K], weight scale: f32[N]) -> y: T[M, N]
where T in {f16, bf16}:
    y = dot(x, w * scale, over=K, precision=T)

op put(mut cache: C[P, N], slots: i32[M], x: f32[M, N])
where C in {f16, f8e4m3}:
    cache[slots] = x

op summed(q: f8e4m3[..., N]) -> y: f32[N]:
    y = sum(q, over=...)
"""

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return load_from(SPEC, compile_file, tmp_path_factory.mktemp("cache"))


def drawn(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.randn(shape, device=device).to(dtype)


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(torch.uint8)


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4), (0, 4), (3, 0), (5,)])
def test_of_one_type(shape: tuple[int, ...], ops: SimpleNamespace, device: torch.device) -> None:
    q, scale = drawn(shape, E4M3, device), torch.rand(shape[:-1], device=device)
    for _ in range(2):
        assert torch.equal(ops.one(as_bytes(q), scale), ops.one(q, scale))
    wide = torch.zeros((*shape[:-1], 2 * shape[-1]), device=device).to(E4M3)[..., ::2]
    wide.copy_(q)
    assert torch.equal(ops.one(as_bytes(wide), scale), ops.one(q, scale))


def test_of_the_other_type(ops: SimpleNamespace, device: torch.device) -> None:
    q = drawn((3, 4), E5M2, device)
    assert torch.equal(ops.other(as_bytes(q)), ops.other(q))


@pytest.mark.parametrize("dtype", [E4M3, E5M2])
def test_bytes_beside_a_tensor_that_is_declared_alike_are_of_its_type(
    dtype: torch.dtype, ops: SimpleNamespace, device: torch.device
) -> None:
    a, b = drawn((3, 4), dtype, device), drawn((3, 4), dtype, device)
    y = ops.either(a, b)
    assert torch.equal(ops.either(as_bytes(a), b), y)
    assert torch.equal(ops.either(a, as_bytes(b)), y)
    c = drawn((4,), E5M2, device)
    assert torch.equal(ops.either(as_bytes(a), b, as_bytes(c)), ops.either(a, b, c))


def test_bytes_alone_are_e4m3(ops: SimpleNamespace, device: torch.device) -> None:
    a, b = drawn((3, 4), E4M3, device), drawn((3, 4), E4M3, device)
    assert torch.equal(ops.either(as_bytes(a), as_bytes(b)), ops.either(a, b))
    assert torch.equal(ops.either(as_bytes(a)), ops.either(a))


def test_an_overload_takes_bytes_where_the_op_takes_none(ops: SimpleNamespace, device: torch.device) -> None:
    q = drawn((3, 4), E5M2, device)
    assert torch.equal(ops.floats(as_bytes(q)), ops.codes(q))


def test_integers_are_integers_where_these_are_declared(ops: SimpleNamespace, device: torch.device) -> None:
    x = torch.arange(12, dtype=torch.uint8, device=device).view(3, 4)
    assert torch.equal(ops.counted(x), x + 1.0)


def test_weights_of_bytes_are_prepared_once(ops: SimpleNamespace, device: torch.device) -> None:
    x, w, scale = drawn((40, 32), torch.float16, device), drawn((16, 32), E4M3, device), torch.rand(16, device=device)
    y = ops.linear8(x, w, scale)
    raw = as_bytes(w).clone()
    prepare = sys.modules[ops.linear8.__module__]._PREPARE_LINEAR8
    for _ in range(3):
        assert torch.equal(ops.linear8(x, raw, scale), y)
    kept = [entry for prepared in prepare._known.values() for entry in prepared._kept.values()]
    raw.bitwise_xor_(128)
    assert torch.equal(ops.linear8(x, raw, scale), -y)
    assert len(kept) == 2
    raw.data.bitwise_xor_(128)
    fusec.weights_changed()
    assert torch.equal(ops.linear8(x, raw, scale), y)


def test_bytes_are_written_in_place(ops: SimpleNamespace, device: torch.device) -> None:
    slots, x = torch.tensor([2, 0], dtype=torch.int32, device=device), torch.randn(2, 8, device=device)
    plain = torch.zeros(3, 8, device=device).to(E4M3)
    raw = torch.zeros(3, 8, dtype=torch.uint8, device=device)
    version = raw._version
    for cache in (plain, raw):
        ops.put(cache, slots, x)
    assert torch.equal(as_bytes(plain), raw)
    assert raw._version > version


def test_bytes_that_lie_too_unevenly_are_copied(ops: SimpleNamespace, device: torch.device) -> None:
    q = drawn((3, 4, 5, 8), E4M3, device)
    uneven = as_bytes(q).permute(2, 0, 1, 3)
    assert torch.equal(ops.summed(uneven), ops.summed(uneven.view(E4M3)))


def test_in_torch_compile(ops: SimpleNamespace, device: torch.device) -> None:
    q, scale = drawn((4, 8), E4M3, device), torch.rand(4, device=device)
    whole = torch.compile(lambda q, scale: ops.one(q, scale) + 1, fullgraph=True, backend="aot_eager")
    assert torch.equal(whole(as_bytes(q), scale), ops.one(q, scale) + 1)


def test_a_plan_is_that_of_the_numbers(ops: SimpleNamespace) -> None:
    q, scale = torch.empty(4, 8, dtype=torch.uint8, device="meta"), torch.empty(4, device="meta")
    assert str(ops.one.plan(q, scale)) == str(ops.one.plan(q.view(E4M3), scale))


@pytest.mark.parametrize(
    ("op", "arguments", "error", "message"),
    [
        ("one", ((3, 4), (4,)), ShapeMismatchError, r"one: `scale` should have shape \[\.\.\.\] = \[3\]"),
        ("floats", ((3, 4),), UnsupportedDtypeError, "floats: `scale` should be float32, but is float64"),
    ],
)
def test_what_does_not_fit_is_told_of_the_numbers(
    op: str, arguments: tuple[Any, ...], error: type[FusecError], message: str, ops: SimpleNamespace
) -> None:
    tensors = [torch.zeros(shape, dtype=torch.float32) for shape in arguments]
    if op == "floats":
        tensors.append(torch.zeros((), dtype=torch.float64))
    with pytest.raises(error, match=message):
        getattr(ops, op)(tensors[0].to(torch.uint8), *tensors[1:])
