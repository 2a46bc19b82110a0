# Written by hand in the form of a generated file.
"""RMSNorm over the last axis.

    op rmsnorm(x: T[..., N], weight: T[N], eps: f32 = 1e-6) -> y: T[..., N]
    where T in {f16, bf16, f32, f64}

One kernel, one read and one write of x: 2*rows*N + N elements moved, which is the least possible.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fusec.runtime import Buffer, Checker, Launch, Op, Plan, collapse, contiguous, real

__all__ = ["rmsnorm"]


@triton.jit(do_not_specialize=["rows"])
def _rmsnorm_resident(
    x_ptr,
    weight_ptr,
    y_ptr,
    eps,
    rows,
    n,
    inner,
    x_outer,
    x_inner,
    x_n,
    weight_n,
    y_outer,
    y_inner,
    BLOCK_N: tl.constexpr,
    COMPUTE: tl.constexpr,
):
    """One row per program, kept in registers."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK_N)
    inside = column < n
    x_row = x_ptr + (row // inner) * x_outer + (row % inner) * x_inner
    x = tl.load(x_row + column * x_n, mask=inside, other=0.0).to(COMPUTE)
    weight = tl.load(weight_ptr + column * weight_n, mask=inside, other=0.0).to(COMPUTE)
    mean = tl.sum(x * x, axis=0) / n
    y = x * tl.rsqrt(mean + eps) * weight
    y_row = y_ptr + (row // inner) * y_outer + (row % inner) * y_inner
    tl.store(y_row + column, y.to(y_ptr.dtype.element_ty), mask=inside)


def reference(x: torch.Tensor, weight: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """The meaning of `rmsnorm` in PyTorch."""
    wide = torch.promote_types(x.dtype, torch.float32)
    x_wide = x.to(wide)
    mean = (x_wide * x_wide).mean(-1, keepdim=True)
    return (x_wide * torch.rsqrt(mean + eps) * weight.to(wide)).to(x.dtype)


def rmsnorm(x: torch.Tensor, weight: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """RMSNorm over the last axis.

    x: T[..., N]; weight: T[N]; eps: f32. Returns y: T[..., N]. T is float16, bfloat16, float32 or float64.
    Raises `DeviceError`, `ShapeMismatchError` or `UnsupportedDtypeError`, which name the argument.
    """
    eps = real("rmsnorm", "eps", eps)
    return _OP((x, weight), (eps,))


def _extents(x, weight):
    """Solve N and T, and check every argument against them. Sizes may be symbolic."""
    check = Checker("rmsnorm", x="T[..., N]", weight="T[N]")
    x, weight = check.tensors(x, weight)
    T = check.dtype("T", "f16 bf16 f32 f64")
    *lead, N = x.shape
    check.shapes(x=(*lead, N), weight=(N,))
    return lead, N, T


def _outputs(lead, N, T):
    """The outputs, in order: y."""
    return (Buffer((*lead, N), T),)


def _plan(x, weight):
    """The kernels for tensors of these layouts."""
    lead, N, T = extents = _extents(x, weight)
    (y,) = _outputs(*extents)
    rows = collapse(lead, x.stride()[:-1], contiguous(y.shape)[:-1])
    (x_outer, x_inner), (y_outer, y_inner) = rows.strides
    launches = [
        Launch(
            _rmsnorm_resident,
            grid=(rows.count,),
            arguments={
                "rows": rows.count,
                "n": N,
                "inner": rows.inner,
                "x_outer": x_outer,
                "x_inner": x_inner,
                "x_n": x.stride(-1),
                "weight_n": weight.stride(0),
                "y_outer": y_outer,
                "y_inner": y_inner,
                "BLOCK_N": triton.next_power_of_2(max(N, 1)),
                "COMPUTE": tl.float64 if T is torch.float64 else tl.float32,
            },
            options=({"num_warps": 4, "num_stages": 1},),
            offsets={"x": x_offset, "y": y_offset},
        )
        for x_offset, y_offset in rows.offsets
    ]
    return Plan(
        "rmsnorm",
        x.device,
        tensors=("x", "weight"),
        scalars=("eps",),
        outputs={"y": y},
        launches=launches,
    )


_OP = Op(
    "rmsnorm(Tensor x, Tensor weight, float eps) -> Tensor",
    tensors=2,
    scalars=1,
    extents=_extents,
    outputs=_outputs,
    plans=_plan,
)
