# Written by hand in the form of a generated file.
"""RMSNorm over the hidden axis, an optional bias, an activation, then rotary embedding of every head.

op rope_like(x: T[B, S, H*D], weight weight: T[H*D], cos: C[S, D], sin: C[S, D], bias: T[H*D] = 0,
             activation: {none, relu} = none, eps: f32 = 1e-6, num_heads: dim(H) = infer) -> y: T[B, S, H*D]
where T in {f16, bf16, f32}, C in {f16, bf16, f32}, D % 2 == 0
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fusec.runtime import Buffer, Checker, Launch, Op, Plan, parameter, real, squeeze

__all__ = ["RopeLike", "rope_like"]


@triton.jit(do_not_specialize=["s"])
def _rope_like_resident(
    x_ptr,
    weight_ptr,
    cos_ptr,
    sin_ptr,
    bias_ptr,
    y_ptr,
    eps,
    s,
    h,
    d,
    x_b,
    x_s,
    x_hd,
    weight_hd,
    cos_s,
    cos_d,
    sin_s,
    sin_d,
    bias_hd,
    BLOCK_H: tl.constexpr,
    HALF_D: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """One row per program, as two tiles of [heads, D/2] in registers."""
    row = tl.program_id(0).to(tl.int64)
    token = row % s
    head = tl.arange(0, BLOCK_H)[:, None]
    pair = tl.arange(0, HALF_D)[None, :]
    half = d // 2
    inside = (head < h) & (pair < half)
    first = head * d + pair
    second = first + half
    x_row = x_ptr + (row // s) * x_b + token * x_s
    a = tl.load(x_row + first * x_hd, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(x_row + second * x_hd, mask=inside, other=0.0).to(tl.float32)
    mean = (tl.sum(a * a) + tl.sum(b * b)) / (h * d)
    rstd = tl.rsqrt(mean + eps)
    a = a * rstd * tl.load(weight_ptr + first * weight_hd, mask=inside, other=0.0).to(tl.float32)
    b = b * rstd * tl.load(weight_ptr + second * weight_hd, mask=inside, other=0.0).to(tl.float32)
    if bias_ptr is not None:
        a += tl.load(bias_ptr + first * bias_hd, mask=inside, other=0.0).to(tl.float32)
        b += tl.load(bias_ptr + second * bias_hd, mask=inside, other=0.0).to(tl.float32)
    if ACTIVATION == "relu":
        a = tl.maximum(a, 0.0, propagate_nan=tl.PropagateNan.ALL)
        b = tl.maximum(b, 0.0, propagate_nan=tl.PropagateNan.ALL)
    known = pair < half
    cos_a = tl.load(cos_ptr + token * cos_s + pair * cos_d, mask=known, other=0.0).to(tl.float32)
    cos_b = tl.load(cos_ptr + token * cos_s + (pair + half) * cos_d, mask=known, other=0.0).to(tl.float32)
    sin_a = tl.load(sin_ptr + token * sin_s + pair * sin_d, mask=known, other=0.0).to(tl.float32)
    sin_b = tl.load(sin_ptr + token * sin_s + (pair + half) * sin_d, mask=known, other=0.0).to(tl.float32)
    y_row = y_ptr + row * h * d
    tl.store(y_row + first, (a * cos_a - b * sin_a).to(y_ptr.dtype.element_ty), mask=inside)
    tl.store(y_row + second, (b * cos_b + a * sin_b).to(y_ptr.dtype.element_ty), mask=inside)


def reference(
    x: torch.Tensor,
    weight: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    bias: torch.Tensor | None = None,
    activation: str = "none",
    eps: float = 1e-6,
    num_heads: int | None = None,
) -> torch.Tensor:
    """The meaning of `rope_like` in PyTorch."""
    cos, sin = squeeze(cos, 2).float(), squeeze(sin, 2).float()
    wide = x.float()
    n = wide * torch.rsqrt((wide * wide).mean(-1, keepdim=True) + eps) * weight.float()
    n = n if bias is None else n + bias.float()
    n = torch.relu(n) if activation == "relu" else n
    a, b = n.unflatten(-1, (-1, cos.shape[-1])).chunk(2, -1)
    ca, cb = cos[:, None].chunk(2, -1)
    sa, sb = sin[:, None].chunk(2, -1)
    return torch.cat([a * ca - b * sa, b * cb + a * sb], -1).flatten(-2).to(x.dtype)


def rope_like(
    x: torch.Tensor,
    weight: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    bias: torch.Tensor | None = None,
    activation: str = "none",
    eps: float = 1e-6,
    num_heads: int | None = None,
) -> torch.Tensor:
    """RMSNorm over the hidden axis, an optional bias, an activation, then rotary embedding of every head.

    x: T[B, S, H*D]; weight: T[H*D]; cos, sin: C[S, D], size-1 dimensions more are dropped; bias: T[H*D] or None;
    activation: "none" or "relu"; eps: f32; num_heads: H, or None. Returns y: T[B, S, H*D].
    T is float16, bfloat16 or float32; C is float16, bfloat16 or float32; D is even.
    """
    eps = real("rope_like", "eps", eps)
    return _OP((x, weight, cos, sin, bias), (eps,), (activation, num_heads))


def _extents(x, weight, cos, sin, bias, activation, num_heads):
    """Solve B, S, H, D, T and C, and check every argument against them. Sizes may be symbolic."""
    check = Checker("rope_like", x="T[B, S, H*D]", weight="T[H*D]", cos="C[S, D]", sin="C[S, D]", bias="T[H*D]")
    x, weight, cos, sin, bias = check.tensors(x, weight, cos, sin, bias)
    T, C = check.dtypes(T="f16 bf16 f32", C="f16 bf16 f32")
    B = x.shape[0]
    S = x.shape[1]
    D = cos.shape[1]
    H = check.quotient("H", "x", 2, x.shape[2], D)
    check.shapes(x=(B, S, H * D), weight=(H * D,), cos=(S, D), sin=(S, D), bias=(H * D,))
    check.extent("H", "num_heads", num_heads, H)
    check.require(D % 2 == 0, "D % 2 == 0", D=D)
    check.choice("activation", activation, ("none", "relu"))
    return B, S, H, D, T, C


def _outputs(B, S, H, D, T, C):
    """The outputs, in order: y."""
    return (Buffer((B, S, H * D), T),)


def _plan(x, weight, cos, sin, bias, activation, num_heads):
    """The kernels for tensors of these layouts."""
    B, S, H, D, *_ = extents = _extents(x, weight, cos, sin, bias, activation, num_heads)
    (y,) = _outputs(*extents)
    cos, sin = squeeze(cos, 2), squeeze(sin, 2)
    x_b, x_s, x_hd = x.stride()
    cos_s, cos_d = cos.stride()
    sin_s, sin_d = sin.stride()
    resident = Launch(
        _rope_like_resident,
        grid=(B * S,),
        arguments={
            "s": S,
            "h": H,
            "d": D,
            "x_b": x_b,
            "x_s": x_s,
            "x_hd": x_hd,
            "weight_hd": weight.stride(0),
            "cos_s": cos_s,
            "cos_d": cos_d,
            "sin_s": sin_s,
            "sin_d": sin_d,
            "bias_hd": 0 if bias is None else bias.stride(0),
            "BLOCK_H": triton.next_power_of_2(max(H, 1)),
            "HALF_D": triton.next_power_of_2(max(D // 2, 1)),
            "ACTIVATION": activation,
        },
        options=({"num_warps": 4, "num_stages": 1},),
    )
    return Plan(
        "rope_like",
        x.device,
        tensors=("x", "weight", "cos", "sin", "bias"),
        scalars=("eps",),
        outputs={"y": y},
        launches=(resident,),
    )


_OP = Op(
    "rope_like(Tensor x, Tensor weight, Tensor cos, Tensor sin, Tensor? bias, float eps, str activation, "
    "SymInt? num_heads) -> Tensor",
    tensors=5,
    scalars=1,
    extents=_extents,
    outputs=_outputs,
    plans=_plan,
)


class RopeLike(torch.nn.Module):
    """`rope_like` with its weight as a parameter."""

    def __init__(
        self,
        hidden_dim: int,
        head_dim: int,
        eps: float = 1e-6,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check = Checker("RopeLike")
        self.hidden_dim = check.size("hidden_dim", hidden_dim)
        self.head_dim = check.size("head_dim", head_dim)
        self.eps = real("RopeLike", "eps", eps)
        self.weight = parameter(hidden_dim, device=device, dtype=dtype)
        torch.nn.init.ones_(self.weight)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """`rope_like` of x: [B, S, hidden_dim] with tables of head_dim columns."""
        return rope_like(x, self.weight, cos, sin, None, "none", self.eps, self.hidden_dim // self.head_dim)

    def extra_repr(self) -> str:
        return f"hidden_dim={self.hidden_dim}, head_dim={self.head_dim}, eps={self.eps}"
