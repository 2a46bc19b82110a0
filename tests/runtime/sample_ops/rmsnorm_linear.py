# Written by hand in the form of a generated file.
"""RMSNorm and a linear layer: the library's product between two kernels, and the gain in the weights beforehand.

    op rmsnorm_linear(x: T[..., K], weight gain: T[K] = 1, weight proj: T[N, K], weight bias: T[N] = 0, eps: f32 = 1e-6)
        -> y: T[..., N]
    where T in {f16, bf16, f32}

Prepared: folded = proj * gain. Then scale = rsqrt(mean(x * x) + eps); sum = x @ folded.T; y = sum * scale + bias.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fusec.runtime import Buffer, Checker, Launch, Matrix, Op, Plan, Prepare, Product, collapse, contiguous, real

__all__ = ["rmsnorm_linear"]


@triton.jit(do_not_specialize=["rows"])
def _rmsnorm_linear_scale(
    x_ptr, scale_ptr, eps, rows, k, inner, x_outer, x_inner, x_k, scale_outer, scale_inner, BLOCK_K: tl.constexpr
):
    """One row per program."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK_K)
    x_row = x_ptr + (row // inner) * x_outer + (row % inner) * x_inner
    x = tl.load(x_row + column * x_k, mask=column < k, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, axis=0) / k + eps)
    tl.store(scale_ptr + (row // inner) * scale_outer + (row % inner) * scale_inner, scale)


@triton.jit
def _rmsnorm_linear_finish(sum_ptr, scale_ptr, bias_ptr, y_ptr, n, bias_n, BLOCK_N: tl.constexpr, BIAS: tl.constexpr):
    """A block of one row per program."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = column < n
    y = tl.load(sum_ptr + row * n + column, mask=inside, other=0.0) * tl.load(scale_ptr + row)
    if BIAS:
        y += tl.load(bias_ptr + column * bias_n, mask=inside, other=0.0).to(tl.float32)
    tl.store(y_ptr + row * n + column, y.to(y_ptr.dtype.element_ty), mask=inside)


def reference(
    x: torch.Tensor,
    gain: torch.Tensor | None,
    proj: torch.Tensor,
    bias: torch.Tensor | None = None,
    eps: float = 1e-6,
) -> torch.Tensor:
    """The meaning of `rmsnorm_linear` in PyTorch, in f64."""
    wide = x.double()
    y = wide * torch.rsqrt((wide * wide).mean(-1, keepdim=True) + eps)
    y = (y if gain is None else y * gain.double()) @ proj.double().T
    return (y if bias is None else y + bias.double()).to(x.dtype)


def rmsnorm_linear(
    x: torch.Tensor,
    gain: torch.Tensor | None,
    proj: torch.Tensor,
    bias: torch.Tensor | None = None,
    eps: float = 1e-6,
) -> torch.Tensor:
    """RMSNorm and a linear layer. x: T[..., K]; gain: T[K]; proj: T[N, K]; bias: T[N]. Returns y: T[..., N]."""
    eps = real("rmsnorm_linear", "eps", eps)
    return _OP((x, gain, proj, bias), (eps,))


def _prepare_rmsnorm_linear(gain, proj):
    """What depends on weights alone, computed once: folded [N, K]."""
    if gain is None:
        return proj
    return (proj.float() * gain.float()).to(proj.dtype)


_PREPARE = Prepare(_prepare_rmsnorm_linear, weights=("gain", "proj"), names=("folded",))


def _extents(x, gain, proj, bias):
    """Solve K, N and T, and check every argument against them. Sizes may be symbolic."""
    check = Checker("rmsnorm_linear", x="T[..., K]", gain="T[K]", proj="T[N, K]", bias="T[N]")
    x, gain, proj, bias = check.tensors(x, gain, proj, bias)
    T = check.dtype("T", "f16 bf16 f32")
    N, K = proj.shape
    *lead, _ = x.shape
    check.shapes(x=(*lead, K), gain=(K,), bias=(N,))
    return lead, K, N, T


def _outputs(lead, K, N, T):
    """The outputs, in order: y."""
    return (Buffer((*lead, N), T),)


def _plan(x, gain, proj, bias):
    """The kernels and products for tensors of these layouts."""
    lead, K, N, _ = extents = _extents(x, gain, proj, bias)
    (y,) = _outputs(*extents)
    rows = collapse(lead, x.stride()[:-1], contiguous(y.shape)[:-1], contiguous(lead))
    x_lead, y_lead, scale_lead = rows.strides
    outer, inner = rows.count // rows.inner, rows.inner
    launches = []
    for x_offset, y_offset, scale_offset in rows.offsets:
        launches += [
            Launch(
                _rmsnorm_linear_scale,
                grid=(rows.count,),
                arguments={
                    "rows": rows.count,
                    "k": K,
                    "inner": inner,
                    "x_outer": x_lead[0],
                    "x_inner": x_lead[1],
                    "x_k": x.stride(-1),
                    "scale_outer": scale_lead[0],
                    "scale_inner": scale_lead[1],
                    "BLOCK_K": triton.next_power_of_2(max(K, 1)),
                },
                options=({"num_warps": 4},),
                offsets={"x": x_offset, "scale": scale_offset},
            ),
            Product(
                Matrix("x", (outer, inner, K), (*x_lead, x.stride(-1)), x_offset),
                Matrix("folded", (outer, K, N), (0, 1, K)),
                Matrix("sum", (outer, inner, N), (*y_lead, 1), y_offset),
            ),
        ]
    launches.append(
        Launch(
            _rmsnorm_linear_finish,
            grid=(rows.count * len(rows.offsets), triton.cdiv(N, 128)),
            arguments={
                "n": N,
                "bias_n": 0 if bias is None else bias.stride(0),
                "BLOCK_N": 128,
                "BIAS": bias is not None,
            },
            options=({"num_warps": 4},),
        )
    )
    return Plan(
        "rmsnorm_linear",
        x.device,
        tensors=("x", "gain", "proj", "bias"),
        scalars=("eps",),
        outputs={"y": y},
        workspaces={"scale": Buffer(tuple(lead), torch.float32), "sum": Buffer(y.shape, torch.float32)},
        prepared=_PREPARE.like(gain, proj),
        launches=launches,
    )


_OP = Op(
    "rmsnorm_linear(Tensor x, Tensor? gain, Tensor proj, Tensor? bias, float eps) -> Tensor",
    tensors=4,
    scalars=1,
    extents=_extents,
    outputs=_outputs,
    plans=_plan,
)
