"""q, k and v of a decoder layer: the norm in front, one product, norms of q and k, and their rotation."""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor

from fusec import ops
from fusec.models.fused import normed
from fusec.models.layers import Layer
from fusec.models.parts import Attention, Norm
from fusec.models.rotation import Rotation, Tables, rotated

Projected: TypeAlias = tuple[Tensor, Tensor, Tensor]

NAMES = {"plain": "plain", "unit_offset": "unit_offset", "centred": "layer"}
"""What ops call the forms of norms."""


def projected(layer: Layer, rotation: Rotation, x: Tensor, tables: Tables, has_one_norm: bool) -> Projected:
    """q, k and v, [B, S, heads, D], the first two rotated, of x behind the norm in front if nobody has computed it.

    Token s of every sequence takes row s of the tables, as it does where ops are given no positions.
    """
    attention, before = layer.attention, None if layer.is_parallel else layer.before
    weight, bias = attention.projection.both()
    if has_one_norm:
        found = (
            _behind_none(attention, rotation, x, weight, bias, tables)
            if before is None
            else _behind(before, attention, rotation, x, weight, bias, tables)
        )
        if found is not None:
            return found
    if before is not None and before.form != "centred" and before.bias is None:
        product = ops.rmsnorm_linear(x, before.weight, weight, bias, before.eps, NAMES[before.form])
    else:
        product = ops.linear(x if before is None else normed(before, x), weight, bias)
    return turned(attention, rotation, product, tables)


def _behind(
    before: Norm,
    attention: Attention,
    rotation: Rotation,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    tables: Tables,
) -> Projected | None:
    """All of it in one op, if there is one."""
    dim, kv_heads, is_full = attention.head_dim, attention.kv_heads, tables.width == attention.head_dim
    gain, form = before.weight, NAMES[before.form]
    found: Projected | None = None
    cos, sin = tables.cos, tables.sin
    if attention.q_norm is not None and attention.k_norm is not None:
        if not attention.has_whole_norms and rotation == "halves" and is_full:
            gains = attention.q_norm.weight, attention.k_norm.weight
            found = ops.qkv_norm_rope(x, gain, weight, *gains, cos, sin, kv_heads, None, bias, before.eps, form)
    elif rotation == "halves" and is_full:
        found = ops.qkv_rope(x, gain, weight, cos, sin, kv_heads, None, bias, before.eps, form)
    elif rotation == "halves":
        found = ops.qkv_rope_partial(x, gain, weight, cos, sin, kv_heads, dim, None, bias, before.eps, form)
    elif rotation != "none":
        cos, sin = tables.once(rotation)
        found = ops.qkv_rope_interleaved(
            x, gain, weight, *tables.once(rotation), kv_heads, dim, None, bias, before.eps, form
        )
    return found


def _behind_none(
    attention: Attention, rotation: Rotation, x: Tensor, weight: Tensor, bias: Tensor | None, tables: Tables
) -> Projected | None:
    """The same without a norm in front, if there is an op for it."""
    if rotation != "halves" or tables.width != attention.head_dim:
        return None
    q_norm, k_norm = attention.q_norm, attention.k_norm
    if q_norm is None or k_norm is None:
        found: Projected = ops.linear_qkv_rope(*(x, weight, tables.cos, tables.sin, attention.kv_heads, None, bias))
        return found
    if not attention.has_whole_norms or q_norm.form == "centred":
        return None
    found = ops.linear_qkv_norm_rope(
        *(x, weight, q_norm.weight, k_norm.weight, tables.cos, tables.sin, None, bias),
        *(q_norm.eps, NAMES[q_norm.form]),
    )
    return found


def turned(attention: Attention, rotation: Rotation, product: Tensor, tables: Tables) -> Projected:
    """q, k and v of one product, behind norms and rotation."""
    q_norm, k_norm, dim = attention.q_norm, attention.k_norm, attention.head_dim
    is_whole = attention.has_whole_norms
    heads = product.view(*product.shape[:-1], -1, dim)
    q, k, v = heads.split_with_sizes([attention.heads, attention.kv_heads, attention.kv_heads], -2)
    if q_norm is not None and k_norm is not None and is_whole:
        q, k = (normed(norm, each.flatten(-2)).view(each.shape) for norm, each in ((q_norm, q), (k_norm, k)))
    if q_norm is None or k_norm is None or is_whole:
        return *rotated(rotation, q, k, tables), v
    if "centred" not in (q_norm.form, k_norm.form) and rotation == "halves" and tables.width == dim:
        gains = q_norm.gain, k_norm.gain
        q, k = ops.qk_norm_rope(q, k, *gains, tables.cos, tables.sin, None, q_norm.eps)
        return q, k, v
    return *rotated(rotation, normed(q_norm, q), normed(k_norm, k), tables), v
