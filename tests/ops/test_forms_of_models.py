"""Shipped ops beside the layers of models that they stand for: the same roundings, bit for bit where they say so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from generated import (
    fused_rmsnorm_rope,
    linear_qkv_norm_rope,
    linear_qkv_rope,
    linear_softcap,
    qkv_norm_rope,
    qkv_rope,
    qkv_rope_interleaved,
    qkv_rope_partial,
    rmsnorm_add,
    rmsnorm_add_rmsnorm,
    rmsnorm_linear,
    rope_append_kv_cache,
    rope_append_paged_kv_cache,
)


def drawn(*size: int, seed: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed)).to(dtype)


def unit(x: Tensor) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)


NORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "plain": lambda x, w: (w.float() * unit(x)).to(x.dtype),  # Olmo2RMSNorm
    "unit_offset": lambda x, w: (unit(x) * (1.0 + w.float())).to(x.dtype),  # Gemma2RMSNorm, Gemma3RMSNorm
    "rounded": lambda x, w: w * unit(x).to(x.dtype),  # Glm4RMSNorm
}


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_behind_a_block_rounds_as_the_layers_of_hugging_face(norm: str, device: torch.device) -> None:
    # Whole numbers: their squares have one sum, in whatever order they are added.
    x = (drawn(5, 64, seed=1) * 8).round()
    residual, weight, behind = drawn(5, 64, seed=2) * 30, drawn(64, seed=3), drawn(64, seed=4)
    total = residual + NORMS[norm](x, weight)
    y = NORMS[norm](total, behind)
    arguments = [each.to(device) for each in (x, residual, weight, behind)]
    assert torch.equal(rmsnorm_add(*arguments[:3], norm=norm).cpu(), total)
    found = rmsnorm_add_rmsnorm(*arguments, norm=norm)
    assert torch.equal(found[0].cpu(), total)
    torch.testing.assert_close(found[1].cpu(), y, rtol=2**-7, atol=0)


B, S, K, HQ, HK, D, R = 2, 3, 16, 4, 2, 8, 4
X = drawn(B, S, K, seed=5, dtype=torch.float32)
GAIN = drawn(K, seed=6, dtype=torch.float32)
WEIGHT = drawn((HQ + 2 * HK) * D, K, seed=7, dtype=torch.float32)
HEAD_GAINS = drawn(D, seed=8, dtype=torch.float32), drawn(D, seed=9, dtype=torch.float32)
WIDE_GAINS = drawn(HQ * D, seed=10, dtype=torch.float32), drawn(HK * D, seed=11, dtype=torch.float32)
ANGLES = drawn(7, D // 2, seed=12, dtype=torch.float32) * 3
ROWS = torch.tensor([[2, 0, 6], [1, 1, 3]])
Heads = tuple[Tensor, Tensor, Tensor]


def halves(x: Tensor, angles: Tensor) -> Tensor:
    """`apply_rotary_pos_emb` of Llama, with tables that have every angle twice, one half behind the other."""
    full = torch.cat((angles, angles), -1)[ROWS][:, :, None]
    low, high = x.chunk(2, -1)
    return x * full.cos() + torch.cat((-high, low), -1) * full.sin()


def neighbours(x: Tensor, angles: Tensor) -> Tensor:
    """That of Cohere and GLM, whose tables have every angle twice, side by side."""
    full = angles.repeat_interleave(2, -1)[ROWS][:, :, None]
    turned = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    return x * full.cos() + turned * full.sin()


def projected(x: Tensor) -> Heads:
    q, k, v = (x @ WEIGHT.T).unflatten(-1, (-1, D)).split([HQ, HK, HK], dim=-2)
    return q, k, v


def rotated(heads: Heads, turn: Callable[[Tensor], Tensor]) -> Heads:
    q, k, v = heads
    return turn(q), turn(k), v


def partly(turn: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.cat((turn(x[..., :R], ANGLES[:, : R // 2]), x[..., R:]), -1)


def normed_heads(heads: Heads) -> Heads:
    q, k, v = heads
    return unit(q) * HEAD_GAINS[0], unit(k) * HEAD_GAINS[1], v


def normed_together(heads: Heads) -> Heads:
    q, k, v = heads
    wide = (unit(each.flatten(-2)) * gain for each, gain in zip((q, k), WIDE_GAINS, strict=True))
    q, k = (each.unflatten(-1, (-1, D)) for each in wide)
    return q, k, v


def tables(angles: Tensor) -> tuple[Tensor, Tensor]:
    return angles.cos(), angles.sin()


FULL, PART = tables(torch.cat((ANGLES, ANGLES), -1)), tables(torch.cat((ANGLES[:, : R // 2],) * 2, -1))
SIDE_BY_SIDE = tuple(table[:, ::2] for table in tables(ANGLES.repeat_interleave(2, -1)))
TURN, BOTH = partial(halves, angles=ANGLES), partial(neighbours, angles=ANGLES)
NORMED = unit(X) * GAIN
FORMS: dict[str, tuple[Callable[..., Heads], tuple[object, ...], dict[str, object], Heads]] = {
    "llama": (qkv_rope, (X, GAIN, WEIGHT, *FULL, HK), {}, rotated(projected(NORMED), TURN)),
    "gemma": (
        qkv_rope,
        (X, GAIN, WEIGHT, *FULL, HK),
        {"norm": "unit_offset"},
        rotated(projected(unit(X) * (1 + GAIN)), TURN),
    ),
    "qwen3": (
        qkv_norm_rope,
        (X, GAIN, WEIGHT, *HEAD_GAINS, *FULL, HK),
        {},
        rotated(normed_heads(projected(NORMED)), TURN),
    ),
    "phi4": (qkv_rope_partial, (X, GAIN, WEIGHT, *PART, HK, D), {}, rotated(projected(NORMED), partly(halves))),
    "glm": (
        qkv_rope_interleaved,
        (X, GAIN, WEIGHT, *tables(ANGLES[:, : R // 2]), HK, D),
        {"norm": "rounded"},
        rotated(projected(NORMED), partly(neighbours)),
    ),
    "cohere": (
        qkv_rope_interleaved,
        (X, GAIN, WEIGHT, *SIDE_BY_SIDE, HK, D),
        {"norm": "layer"},
        rotated(projected(layer_norm(X, (K,), GAIN, None, 1e-6)), BOTH),
    ),
    "no norm": (linear_qkv_rope, (X, WEIGHT, *FULL, HK), {}, rotated(projected(X), TURN)),
    "olmo2": (
        linear_qkv_norm_rope,
        (X, WEIGHT, *WIDE_GAINS, *FULL),
        {},
        rotated(normed_together(projected(X)), TURN),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_projections_with_their_rotation_are_those_of_models(form: str, device: torch.device) -> None:
    op, arguments, chosen, expected = FORMS[form]
    placed = [each.to(device) if isinstance(each, Tensor) else each for each in arguments]
    found = op(*placed, position_ids=ROWS.to(device), **chosen)
    for own, right in zip(found, expected, strict=True):
        torch.testing.assert_close(own.cpu(), right, rtol=1e-4, atol=1e-4)


def test_logits_are_capped_as_those_of_gemma(device: torch.device) -> None:
    expected = torch.tanh(X @ WEIGHT.T / 5.0) * 5.0
    torch.testing.assert_close(linear_softcap(X.to(device), WEIGHT.to(device), 5.0).cpu(), expected)


def test_a_gain_may_be_stored_as_its_distance_from_one(device: torch.device) -> None:
    x, gain, weight = (each.to(device) for each in (X, GAIN, WEIGHT))
    for rows in (x, x[:1, :1]):  # One row is a launch of its own.
        found = rmsnorm_linear(rows, gain, weight, norm="unit_offset").cpu()
        torch.testing.assert_close(found, (unit(rows.cpu()) * (1 + GAIN)) @ WEIGHT.T, rtol=1e-4, atol=1e-4)


LONG, PAGE = 8, 2


def test_keys_and_values_go_to_a_contiguous_cache(device: torch.device) -> None:
    q, k, v = projected(X)
    keys, values = (drawn(B, LONG, HK, D, seed=seed, dtype=torch.float32) for seed in (13, 14))
    at = torch.arange(B)[:, None], ROWS
    right = [each.clone() for each in (keys, values)]
    right[0][at], right[1][at] = TURN(k), v
    placed = [each.to(device) for each in (q, k, v, *FULL, ROWS, keys, values)]
    torch.testing.assert_close(rope_append_kv_cache(*placed).cpu(), TURN(q))
    # Of two tokens for one place, as those of the second sequence, one stays.
    torch.testing.assert_close(placed[-2][0].cpu(), right[0][0])
    torch.testing.assert_close(placed[-1][0].cpu(), right[1][0])


def test_keys_and_values_go_to_pages(device: torch.device) -> None:
    q, k, v = (each.flatten(0, 1) for each in projected(X))
    pages = [drawn(LONG, PAGE, HK, D, seed=seed, dtype=torch.float32) for seed in (15, 16)]
    slots = torch.tensor([5, 9, -1, 0, 15, 2], dtype=torch.int32)
    right = [each.clone() for each in pages]
    turned = [TURN(each.unflatten(0, (B, S))).flatten(0, 1) for each in (q, k)]
    written = slots >= 0
    right[0].flatten(0, 1)[slots[written]] = turned[1][written]
    right[1].flatten(0, 1)[slots[written]] = v[written]
    placed = [each.to(device) for each in (q, k, v, *FULL, ROWS.flatten(), slots, *pages)]
    torch.testing.assert_close(rope_append_paged_kv_cache(*placed).cpu(), turned[0])
    for own, expected in zip(placed[-2:], right, strict=True):
        torch.testing.assert_close(own.cpu(), expected)


def test_half_tables_of_every_sequence_stand_before_a_norm_and_rotation(device: torch.device) -> None:
    x, gain = drawn(B, S, HQ * D, seed=17, dtype=torch.float32), WIDE_GAINS[0]
    own = tables(ANGLES[ROWS])
    expected = TURN((unit(x) * gain).unflatten(-1, (HQ, D))).flatten(-2)
    placed = [each.to(device) for each in (x, gain, *own)]
    torch.testing.assert_close(fused_rmsnorm_rope(*placed, num_heads=HQ).cpu(), expected, rtol=1e-4, atol=1e-4)
