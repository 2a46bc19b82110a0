"""A row has the same bits whatever comes with it: one plan, with the same tiles and options, for any number of rows."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
import torch

import fusec
import generated
from fusec.forcing import on_chip
from fusec.runtime import H200, Launch, Op, Plan, batch_invariant, set_batch_invariant
from fusec.runtime.invariant import is_invariant

ROWS = (1, 2, 3, 5, 16, 17, 64, 65, 132, 133, 263, 264, 1000, 1024, 4097, 20000)

Call = Callable[[int, torch.dtype], tuple[Any, ...]]


_MEMORY = torch.empty(2**33, dtype=torch.int8)
_USED = 0


def empty(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """A tensor in one stretch of memory with the others: those far apart are in no tensor map, whatever their sizes."""
    global _USED
    size = math.prod(shape) * dtype.itemsize
    start = _USED if _USED + size <= _MEMORY.numel() else 0
    _USED = start + (size + 63) // 64 * 64
    return _MEMORY[start : start + size].view(dtype).view(shape)


CALLS: dict[str, tuple[str, Call]] = {}
"""The op and its arguments for so many rows; memory is not touched."""

for width in (96, 1000, 4096, 6000, 20000, 70000):
    CALLS |= {
        f"rmsnorm {width}": ("rmsnorm", lambda m, t, n=width: (empty(t, m, n), empty(t, n))),
        f"layernorm {width}": ("layernorm", lambda m, t, n=width: (empty(t, m, n), empty(t, n), None)),
        f"softmax {width}": ("softmax", lambda m, t, n=width: (empty(t, m, n),)),
        f"add_rmsnorm {width}": ("add_rmsnorm", lambda m, t, n=width: (empty(t, m, n), empty(t, m, n), empty(t, n))),
        f"quantize {width}": ("quantize_fp8_rows", lambda m, t, n=width: (empty(t, m, n), torch.float8_e4m3fn)),
    }
for k, n in ((64, 40), (4096, 1024), (136, 4096)):
    CALLS |= {
        f"linear {k}x{n}": ("linear", lambda m, t, k=k, n=n: (empty(t, m, k), empty(t, n, k), None)),
        f"linear, bias {k}x{n}": ("linear", lambda m, t, k=k, n=n: (empty(t, m, k), empty(t, n, k), empty(t, n))),
        f"rmsnorm_linear {k}x{n}": (
            "rmsnorm_linear",
            lambda m, t, k=k, n=n: (empty(t, m, k), empty(t, k), empty(t, n, k), None, "plain"),
        ),
        f"linear_add_rmsnorm {k}x{n}": (
            "linear_add_rmsnorm",
            lambda m, t, k=k, n=n: (empty(t, m, k), empty(t, n, k), empty(t, m, n), empty(t, n), None),
        ),
        f"gated_mlp {k}x{n}": (
            "fused_gated_mlp",
            lambda m, t, k=k, n=n: (empty(t, m, k), empty(t, n, k), empty(t, n, k), "silu"),
        ),
        f"rmsnorm_gated_mlp {k}x{n}": (
            "rmsnorm_gated_mlp",
            lambda m, t, k=k, n=n: (empty(t, m, k), empty(t, k), empty(t, n, k), empty(t, n, k), "silu"),
        ),
    }
CALLS |= {
    "bmm": ("bmm", lambda m, t: (empty(t, 3, m, 64), empty(t, 3, 64, 40))),
    "fused_rmsnorm_rope": (
        "fused_rmsnorm_rope",
        lambda m, t: (empty(t, 1, m, 512), empty(t, 512), empty(t, m, 64), empty(t, m, 64), None),
    ),
    "batches of fused_rmsnorm_rope": (
        "fused_rmsnorm_rope",
        lambda m, t: (empty(t, m, 3, 512), empty(t, 512), empty(t, 3, 64), empty(t, 3, 64), None),
    ),
    "qk_norm_rope": (
        "qk_norm_rope",
        lambda m, t: (*(empty(t, 1, m, 4, 64),) * 2, *(empty(t, 64),) * 2, *(empty(t, m, 64),) * 2, None),
    ),
    "qkv_rope": (
        "qkv_rope",
        lambda m, t: (
            empty(t, 1, m, 64),
            empty(t, 64),
            empty(t, 128, 64),
            *(empty(t, m, 32),) * 2,
            None,
            None,
            1,
            "plain",
        ),
    ),
}


def compiled_in(launch: Launch) -> dict[str, object]:
    """The arguments of a launch that its kernel is compiled for."""
    declared = launch.kernel.fn.__annotations__
    return {name: value for name, value in launch.arguments.items() if "constexpr" in str(declared.get(name))}


def planned(name: str, arguments: tuple[Any, ...]) -> list[object]:
    """What a plan launches, extents and grid apart."""
    module = sys.modules[getattr(generated, name).__module__]
    op = next(value for value in vars(module).values() if isinstance(value, Op) and value.name == name)
    return [
        (each.kernel.fn.__name__, compiled_in(each), tuple(each.options))
        if isinstance(each, Launch)
        else "a product in the library"
        for each in op.decide(*arguments).launches
    ]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("call", CALLS)
def test_the_plan_does_not_depend_on_the_rows(call: str, dtype: torch.dtype) -> None:
    op, arguments = CALLS[call]
    with batch_invariant():
        first, *others = [planned(op, arguments(rows, dtype)) for rows in ROWS]
    assert first
    assert "a product in the library" not in first
    for rows, other in zip(ROWS[1:], others, strict=True):
        assert other == first, f"with {rows} rows"


def test_without_it_plans_differ() -> None:
    """Else the test above would show nothing."""
    for op in ("rmsnorm 6000", "rmsnorm 70000", "linear 4096x1024", "linear 64x40"):
        name, arguments = CALLS[op]
        kinds = {repr(planned(name, arguments(rows, torch.bfloat16))) for rows in ROWS}
        assert len(kinds) > 1, op


BITS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "rmsnorm": lambda x: generated.rmsnorm(x, W[0]),
    "softmax": lambda x: generated.softmax(x),
    "layernorm": lambda x: generated.layernorm(x, W[0], W[1]),
    "linear": lambda x: generated.linear(x, W),
    "rmsnorm_linear": lambda x: generated.rmsnorm_linear(x, W[0], W),
    "fused_gated_mlp": lambda x: generated.fused_gated_mlp(x, W, W.flip(0)),
    "linear_add_rmsnorm": lambda x: generated.linear_add_rmsnorm(x, W, x[..., :24], W[0, :24])[1],
}
W = torch.randn(24, 200, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("op", BITS)
def test_the_bits_of_a_row_do_not_depend_on_the_others(
    op: str, dtype: torch.dtype, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[getattr(generated, op).__module__]
    monkeypatch.setitem(globals(), "W", W.to(device, dtype))
    with on_chip(module, replace(H200, few_rows=20)):  # few rows and many in small tests
        check_rows(op, dtype, device)


def check_rows(op: str, dtype: torch.dtype, device: torch.device) -> None:
    x = torch.randn(40, 200, device=device).to(dtype)
    with batch_invariant():
        wanted = BITS[op](x)
        for rows in (slice(0, 1), slice(7, 8), slice(3, 5), slice(1, 18), slice(0, 33), slice(20, 40)):
            assert torch.equal(BITS[op](x[rows]), wanted[rows])
        shuffled = torch.randperm(40, device=device)
        assert torch.equal(BITS[op](x[shuffled]), wanted[shuffled])
        assert torch.equal(BITS[op](x.view(2, 20, 200)).view(40, -1), wanted)


def test_it_holds_within_and_for_a_thread_or_everywhere() -> None:
    assert not is_invariant()
    with fusec.batch_invariant():
        assert is_invariant()
        seen: list[bool] = []
        thread = Thread(target=lambda: seen.append(is_invariant()))
        thread.start()
        thread.join()
        assert seen == [False]
        with fusec.batch_invariant(False):
            assert not is_invariant()
    try:
        set_batch_invariant(True)
        thread = Thread(target=lambda: seen.append(is_invariant()))
        thread.start()
        thread.join()
        assert seen == [False, True]
    finally:
        set_batch_invariant(False)
    assert not is_invariant()


def test_plans_of_both_ways_are_kept_apart(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Plan] = []
    run = Plan.run

    def recorded(plan: Plan, *given: Any) -> Any:
        ran.append(plan)
        return run(plan, *given)

    monkeypatch.setattr(Plan, "run", recorded)
    x, weight = torch.randn(1, 64, device=device), torch.randn(40, 64, device=device)
    for _ in range(3):
        generated.linear(x, weight)
        with batch_invariant():
            generated.linear(x, weight)
    assert len(set(map(id, ran[::2]))) == len(set(map(id, ran[1::2]))) == 1
    assert ran[0] is not ran[1]
