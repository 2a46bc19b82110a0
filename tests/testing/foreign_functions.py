"""Functions that stand for `rmsnorm` and `softmax`: right, or wrong in one way, as somebody might write them."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.language.extra.libdevice import rsqrt


@triton.jit
def norm_kernel(x_ptr, weight_ptr, y_ptr, columns, eps, BLOCK: tl.constexpr, BEYOND: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * columns
    column = tl.arange(0, BLOCK)
    inside = column < columns
    x = tl.load(x_ptr + row + column, mask=inside, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0).to(tl.float32)
    y = x * rsqrt(tl.sum(x * x, 0) / columns + eps) * weight
    tl.store(y_ptr + row + column, y.to(y_ptr.dtype.element_ty), mask=column < columns + BEYOND)


def norm(x, weight, eps=1e-6):
    """Right where it is not refused."""
    return _launched(x, weight, eps, 0)


def stores_beyond(x, weight, eps=1e-6):
    """Stores one element too many of a row, which the next row's program mostly puts right."""
    return _launched(x, weight, eps, 1)


def _launched(x, weight, eps, beyond):
    if not (x.is_contiguous() and weight.is_contiguous()):
        raise ValueError("tensors have to be contiguous")
    y = torch.empty_like(x)
    if y.numel():
        columns = x.shape[-1]
        block = triton.next_power_of_2(columns + beyond)
        norm_kernel[(y.numel() // columns,)](x, weight, y, columns, eps, BLOCK=block, BEYOND=beyond)
    return y


def plain(x, weight, eps=1e-6):
    wide = x.float()
    return (wide * (wide.square().mean(-1, keepdim=True) + eps).rsqrt() * weight.float()).to(x.dtype)


def adds_eps_outside(x, weight, eps=1e-6):
    """A wrong formula: eps stands behind the root."""
    wide = x.float()
    return (wide / (wide.square().mean(-1, keepdim=True).sqrt() + eps) * weight.float()).to(x.dtype)


def rounds_early(x, weight, eps=1e-6):
    """Rounds to the type of x before the gain."""
    wide = x.float()
    return (wide * (wide.square().mean(-1, keepdim=True) + eps).rsqrt()).to(x.dtype).float().mul(weight).to(x.dtype)


def reads_what_it_allocates(x, weight, eps=1e-6):
    """Takes uninitialised memory for zeros."""
    total = torch.empty((*x.shape[:-1], 1), dtype=torch.float32, device=x.device)
    total += x.float().square().sum(-1, keepdim=True)
    return (x.float() * (total / x.shape[-1] + eps).rsqrt() * weight.float()).to(x.dtype)


def writes_its_input(x, weight, eps=1e-6):
    x.copy_(plain(x, weight, eps))
    return x.clone()


def differs_from_call_to_call(x, weight, eps=1e-6, _calls=[0]):  # noqa: B006
    """Within the bound of f32 the last bit comes and goes."""
    _calls[0] += 1
    y = plain(x, weight, eps)
    return torch.nextafter(y, y * 2) if y.dtype == torch.float32 and _calls[0] % 2 else y


def by_position(hidden, gain, epsilon=1e-6, out=None):
    """Its parameters have other names than the op's."""
    return plain(hidden, gain, epsilon)


def needs_more(x, weight, eps, block):
    return plain(x, weight, eps)


def only_rows(x, weight, eps=1e-6):
    if x.ndim != 2:
        raise NotImplementedError("matrices only")
    return plain(x, weight, eps)


def refuses(x, weight, eps=1e-6):
    raise NotImplementedError("not on this chip")


def softmax_of_small_numbers(x):
    """Overflows: the largest element is not taken off."""
    powers = x.float().exp()
    return (powers / powers.sum(-1, keepdim=True)).to(x.dtype)
