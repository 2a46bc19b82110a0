"""Backward passes and optimiser steps: the formulas are what autograd makes of the forward pass."""

from __future__ import annotations

import torch
from torch.nn import functional

from .table import spec


def gradients(forward, grad, *inputs):
    """What autograd gives for `inputs`, when the result of `forward` has the gradient `grad`."""
    leaves = [each.detach().clone().requires_grad_() for each in inputs]
    return torch.autograd.grad(forward(*leaves), leaves, grad)


def rms(x, gain, eps):
    return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt() * gain


@spec("""
op rmsnorm_backward(grad: T[M, N], x: T[M, N], weight: T[N], eps: f32 = 1e-6) -> dx: T[M, N]
where T in {f16, bf16, f32}:
    r = rsqrt(mean(x * x, over=N) + eps)
    wg = grad * weight
    dx = r * (wg - x * r * r * mean(wg * x, over=N))
""")
def rmsnorm_backward(grad, x, weight, eps):
    return gradients(lambda x: rms(x, weight, eps), grad, x)[0]


@spec("""
op rmsnorm_backward_gain(grad: T[M, N], x: T[M, N], weight: T[N], eps: f32 = 1e-6) -> (dx: T[M, N], dw: f32[N])
where T in {f16, bf16, f32}:
    r = rsqrt(mean(x * x, over=N) + eps)
    wg = grad * weight
    dx = r * (wg - x * r * r * mean(wg * x, over=N))
    dw = sum(grad * x * r, over=M)
""")
def rmsnorm_backward_gain(grad, x, weight, eps):
    return gradients(lambda x, weight: rms(x, weight, eps), grad, x, weight)


@spec("""
op gain_gradient(grad: T[..., N], x: T[..., N], rstd: f32[...]) -> (dw: f32[N], db: f32[N])
where T in {f16, bf16, f32}:
    dw = sum(grad * x * rstd, over=...)
    db = sum(grad, over=...)
""")
def gain_gradient(grad, x, rstd):
    rows = (grad * x * rstd[..., None]).reshape(rstd.numel(), x.shape[-1])
    return rows.sum(0), grad.reshape(rows.shape).sum(0)


@spec("""
op layernorm_backward(grad: T[M, N], x: T[M, N], weight: T[N], eps: f32 = 1e-5)
  -> (dx: T[M, N], dw: f32[N], db: f32[N])
where T in {bf16, f32}:
    centred = x - mean(x, over=N)
    rstd = rsqrt(mean(centred * centred, over=N) + eps)
    normed = centred * rstd
    wg = grad * weight
    dx = rstd * (wg - mean(wg, over=N) - normed * mean(wg * normed, over=N))
    dw = sum(grad * normed, over=M)
    db = sum(grad, over=M)
""")
def layernorm_backward(grad, x, weight, eps):
    if not x.shape[1]:
        return x, weight, weight
    forward = lambda x, w, b: functional.layer_norm(x, x.shape[1:], w, b, eps)  # noqa: E731
    return gradients(forward, grad, x, weight, torch.zeros_like(weight))


@spec("""
op softmax_backward(grad: T[..., N], p: T[..., N], scale: f32 = 1) -> dx: T[..., N]
where T in {f16, bf16, f32}:
    dx = p * (grad - sum(grad * p, over=N)) * scale
""")
def softmax_backward(grad, p, scale):
    return torch._softmax_backward_data(grad, p, -1, torch.float64) * scale


@spec("""
op log_softmax_backward(grad: T[M, N], logp: T[M, N]) -> dx: T[M, N]
where T in {bf16, f32}:
    dx = grad - exp(logp) * sum(grad, over=N)
""")
def log_softmax_backward(grad, logp):
    return grad - logp.exp() * grad.sum(1, keepdim=True)


@spec("""
op swiglu_backward(grad: T[..., N], gate: T[..., N], up: T[..., N]) -> (d_gate: T[..., N], d_up: T[..., N])
where T in {f16, bf16, f32}:
    s = sigmoid(gate)
    d_up = grad * gate * s
    d_gate = grad * up * s * (1 + gate * (1 - s))
""")
def swiglu_backward(grad, gate, up):
    return gradients(lambda gate, up: functional.silu(gate) * up, grad, gate, up)


@spec("""
op packed_swiglu_backward(grad: T[M, F], x: T[M, F + F]) -> dx: T[M, F + F]
where T in {f16, bf16, f32}:
    gate, up = split(x, F, F)
    s = sigmoid(gate)
    dx = concat(grad * up * s * (1 + gate * (1 - s)), grad * gate * s, over=F + F)
""")
def packed_swiglu_backward(grad, x):
    return gradients(lambda x: functional.silu(x.chunk(2, 1)[0]) * x.chunk(2, 1)[1], grad, x)[0]


@spec("""
op gelu_backward(grad: T[..., N], x: T[..., N]) -> dx: T[..., N]
where T in {f16, bf16, f32}:
    density = exp(-0.5 * x * x) / sqrt(2 * pi)
    dx = grad * (0.5 * (1 + erf(x * sqrt(0.5))) + x * density)
""")
def gelu_backward(grad, x):
    return gradients(functional.gelu, grad, x)[0]


@spec("""
op loss_backward(logits: T[M, V], labels: i64[M], grad: f32[M]) -> d_logits: T[M, V]
where T in {f16, bf16, f32}:
    d_logits = (softmax(logits, over=V) - where(index(V) == labels, 1, 0)) * grad
""")
def loss_backward(logits, labels, grad):
    return (logits.softmax(1) - 1.0 * (torch.arange(logits.shape[1]) == labels[:, None])) * grad[:, None]


@spec("""
op bias_gradient(grad: T[B, S, H*D], heads: dim(H)) -> (db: f32[H*D], per_head: f32[H])
where T in {f16, bf16, f32}:
    db = sum(grad, over=(B, S))
    per_head = sum(grad, over=(B, S, D))
""")
def bias_gradient(grad, heads):
    db = grad.sum((0, 1))
    return db, db.reshape(heads, -1).sum(1) if db.numel() else db.new_zeros(heads)


@spec("""
op adamw_step(param: T[N], grad: T[N], first: f32[N], second: f32[N], step: f32 = 1, rate: f32 = 1e-3,
              beta1: f32 = 0.875, beta2: f32 = 0.96875, eps: f32 = 1e-8, decay: f32 = 0.01)
  -> (new_param: T[N], new_first: f32[N], new_second: f32[N])
where T in {bf16, f32}:
    new_first = beta1 * first + (1 - beta1) * grad
    new_second = beta2 * abs(second) + (1 - beta2) * grad * grad
    unbiased = new_first / (1 - beta1 ** step)
    spread = sqrt(new_second / (1 - beta2 ** step))
    new_param = param * (1 - rate * decay) - rate * unbiased / (spread + eps)
""")
def adamw_step(param, grad, first, second, step, rate, beta1, beta2, eps, decay):
    first = first.lerp(grad, 1 - beta1)
    second = beta2 * second.abs() + (1 - beta2) * grad.square()
    ahead = first / (1 - beta1**step) / ((second / (1 - beta2**step)).sqrt() + eps)
    return param - rate * decay * param - rate * ahead, first, second


@spec("""
op clipped_gradient(grad: T[N], square_norm: f32[], most: f32 = 1) -> (y: T[N], coefficient: f32[])
where T in {f16, bf16, f32}:
    coefficient = minimum(most / (sqrt(abs(square_norm)) + 1e-6), 1)
    y = grad * coefficient
""")
def clipped_gradient(grad, square_norm, most):
    coefficient = (most / (square_norm.abs().sqrt() + 1e-6)).clamp_max(1)
    return grad * coefficient, coefficient


@spec("""
op normalised_momentum(grad: T[M, N], momentum: f32[M, N], mu: f32 = 0.9375)
  -> (update: T[M, N], new_momentum: f32[M, N])
where T in {bf16, f32}:
    new_momentum = mu * momentum + grad
    ahead = grad + mu * new_momentum
    update = ahead * rsqrt(sum(ahead * ahead, over=(M, N)) + 1e-7)
""")
def normalised_momentum(grad, momentum, mu):
    momentum = mu * momentum + grad
    ahead = grad + mu * momentum
    return ahead / (ahead.square().sum() + 1e-7).sqrt(), momentum


@spec("""
op momentum_in_place(mut param: T[M, N], grad: T[M, N], mut momentum: f32[M, N], mu: f32 = 0.875, rate: f32 = 0.125)
  -> peak: f32[M]
where T in {bf16, f32}:
    ahead = mu * momentum + (1 - mu) * grad
    momentum[index(M), index(N)] = ahead
    param[index(M), index(N)] = param - rate * ahead
    peak = amax(abs(grad), over=N)
""")
def momentum_in_place(param, grad, momentum, mu, rate):
    ahead = momentum.lerp(grad, 1 - mu)
    peak = grad.abs().amax(1) if grad.shape[1] else torch.full((len(grad),), -torch.inf)
    return peak, param - rate * ahead, ahead
