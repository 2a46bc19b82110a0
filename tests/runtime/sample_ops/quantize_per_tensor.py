# Written by hand in the form of a generated file.
"""FP8 with one scale for the whole tensor.

    op quantize_per_tensor(x: T[M, N]) -> (q: f8e4m3[M, N], scale: f32[])
    where T in {f16, bf16, f32}

Two kernels: partial maxima of equal runs of rows, then every program combines them in order and quantises its part.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fusec.runtime import Buffer, Checker, Launch, Op, Plan

__all__ = ["quantize_per_tensor"]


@triton.jit(do_not_specialize=["m"])
def _quantize_per_tensor_partial(x_ptr, partial_ptr, m, n, x_m, x_n, BLOCK_N: tl.constexpr, ROWS: tl.constexpr):
    """The largest magnitude of ROWS rows."""
    column = tl.arange(0, BLOCK_N)
    largest = tl.zeros((BLOCK_N,), tl.float32)
    for i in range(ROWS):
        row = tl.program_id(0).to(tl.int64) * ROWS + i
        x = tl.load(x_ptr + row * x_m + column * x_n, mask=(row < m) & (column < n), other=0.0).to(tl.float32)
        largest = tl.maximum(largest, tl.abs(x), propagate_nan=tl.PropagateNan.ALL)
    tl.store(partial_ptr + tl.program_id(0), tl.max(largest, axis=0))


@triton.jit(do_not_specialize=["m", "partials"])
def _quantize_per_tensor_combine(
    x_ptr, partial_ptr, q_ptr, scale_ptr, m, n, partials, x_m, x_n, BLOCK_N: tl.constexpr, BLOCK_P: tl.constexpr
):
    """Combine the partial maxima, and quantise one row."""
    part = tl.arange(0, BLOCK_P)
    scale = tl.maximum(tl.max(tl.load(partial_ptr + part, mask=part < partials, other=0.0), axis=0), 2.0**-96) / 448.0
    row = tl.program_id(0).to(tl.int64)
    if row == 0:
        tl.store(scale_ptr, scale)
    column = tl.arange(0, BLOCK_N)
    inside = (row < m) & (column < n)
    x = tl.load(x_ptr + row * x_m + column * x_n, mask=inside, other=0.0).to(tl.float32)
    q = tl.clamp(x / scale, -448.0, 448.0)
    tl.store(q_ptr + row * n + column, q.to(tl.float8e4nv), mask=inside)


def reference(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The meaning of `quantize_per_tensor` in PyTorch."""
    wide = x.to(torch.float32)
    largest = wide.abs().amax() if x.numel() else wide.new_zeros(())
    scale = torch.clamp(largest, min=2.0**-96) / 448.0
    return torch.clamp(wide / scale, -448.0, 448.0).to(torch.float8_e4m3fn), scale


def quantize_per_tensor(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """FP8 values and one scale for the whole tensor.

    x: T[M, N]. Returns (q: float8_e4m3fn[M, N], scale: float32[]). T is float16, bfloat16 or float32.
    """
    return _OP((x,))


def _extents(x):
    """Solve M, N and T, and check every argument against them. Sizes may be symbolic."""
    check = Checker("quantize_per_tensor", x="T[M, N]")
    (x,) = check.tensors(x)
    T = check.dtype("T", "f16 bf16 f32")
    M, N = x.shape
    return M, N, T


def _outputs(M, N, T):
    """The outputs, in order: q, scale."""
    return Buffer((M, N), torch.float8_e4m3fn), Buffer((), torch.float32)


def _plan(x):
    """The kernels for tensors of these layouts."""
    M, N, _ = extents = _extents(x)
    q, scale = _outputs(*extents)
    x_m, x_n = x.stride()
    rows = max(1, triton.cdiv(M, 512))
    partials = triton.cdiv(M, rows)
    block_n = triton.next_power_of_2(max(N, 1))
    partial = Launch(
        _quantize_per_tensor_partial,
        grid=(partials,),
        arguments={"m": M, "n": N, "x_m": x_m, "x_n": x_n, "BLOCK_N": block_n, "ROWS": rows},
        options=({"num_warps": 4, "num_stages": 1},),
    )
    combine = Launch(
        _quantize_per_tensor_combine,
        grid=(max(M, 1),),
        arguments={
            "m": M,
            "n": N,
            "partials": partials,
            "x_m": x_m,
            "x_n": x_n,
            "BLOCK_N": block_n,
            "BLOCK_P": triton.next_power_of_2(max(partials, 1)),
        },
        options=({"num_warps": 4, "num_stages": 1},),
    )
    return Plan(
        "quantize_per_tensor",
        x.device,
        tensors=("x",),
        outputs={"q": q, "scale": scale},
        workspaces={"partial": Buffer((partials,), torch.float32)},
        launches=(partial, combine),
    )


_OP = Op(
    "quantize_per_tensor(Tensor x) -> (Tensor, Tensor)",
    tensors=1,
    extents=_extents,
    outputs=_outputs,
    plans=_plan,
)
