# Written by hand in the form of a generated file.
"""Adds to a tensor in place.

op accumulate(mut total: f32[N], x: f32[N], factor: f32, count: i32 = 1):
    total = total + factor * count * x
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fusec.runtime import Checker, Launch, Op, Plan, integer, real

__all__ = ["accumulate"]


@triton.jit(do_not_specialize=["count", "n"])
def _accumulate(total_ptr, x_ptr, factor, count: tl.int32, n, total_n, x_n, BLOCK: tl.constexpr):
    """One block of elements per program."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(total_ptr + i * total_n, mask=i < n, other=0.0)
    x = tl.load(x_ptr + i * x_n, mask=i < n, other=0.0)
    tl.store(total_ptr + i * total_n, total + factor * count * x, mask=i < n)


def accumulate(total: torch.Tensor, x: torch.Tensor, factor: float, count: int = 1) -> None:
    """Adds `factor * count * x` to `total`, both float32[N]."""
    factor = real("accumulate", "factor", factor)
    count = integer("accumulate", "count", count, bits=32)
    return _OP((total, x), (factor, count))


def _extents(total, x):
    """Solve N, and check every argument against it. Sizes may be symbolic."""
    check = Checker("accumulate", total="f32[N]", x="f32[N]")
    total, x = check.tensors(total, x)
    N = total.shape[0]
    check.shape("x", (N,))
    return (N,)


def _outputs(N):
    """There are none."""
    return ()


def _plan(total, x):
    """The kernels for tensors of these layouts."""
    (N,) = _extents(total, x)
    launch = Launch(
        _accumulate,
        grid=(triton.cdiv(N, 64),),
        arguments={"n": N, "total_n": total.stride(0), "x_n": x.stride(0), "BLOCK": 64},
        options=({"num_warps": 4},),
    )
    return Plan(
        "accumulate",
        x.device,
        tensors=("total", "x"),
        scalars=("factor", "count"),
        mutated=("total",),
        outputs={},
        launches=(launch,),
    )


_OP = Op(
    "accumulate(Tensor(a!) total, Tensor x, float factor, SymInt count) -> ()",
    tensors=2,
    scalars=2,
    extents=_extents,
    outputs=_outputs,
    plans=_plan,
)
