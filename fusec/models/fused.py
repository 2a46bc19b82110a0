"""What stands in for the forward of a module: the same inputs and outputs, by ops of ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from fusec import ops
from fusec.models.calls import Calls, attention_function
from fusec.models.parts import GatedMlp, Layer, Norm


@dataclass(slots=True)
class FusedNorm:
    """An RMSNorm in one launch. Where `rounded`, a row is rounded before the gain, as Llama's module does."""

    norm: Norm
    rounded: bool

    def forward(self, hidden_states: Tensor) -> Tensor:
        """As the module's own."""
        _no_training(self.norm.module)
        op = ops.rmsnorm_unit_offset if self.norm.offset else ops.rmsnorm_rounded if self.rounded else ops.rmsnorm
        y: Tensor = op(hidden_states, self.norm.weight, self.norm.eps)
        return y


@dataclass(slots=True)
class FusedMlp:
    """A gated MLP in two products: gate, up and activation are one kernel."""

    mlp: GatedMlp

    def forward(self, x: Tensor) -> Tensor:
        """As the module's own."""
        _no_training(self.mlp.module)
        gate, up = self.mlp.weights
        y: Tensor = ops.linear(ops.fused_gated_mlp(x, gate, up, self.mlp.activation), self.mlp.down.weight)
        return y


@dataclass(slots=True)
class FusedLayer:
    """A decoder layer in four products: the norms, the rotation, the activation and the residual stand in them."""

    layer: Layer
    calls: Calls
    original: Any
    parts: tuple[nn.Module, ...]

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As the module's own; attention itself is what the config of the model names."""
        _no_training(self.layer.module)
        if self._is_watched():
            return self.original(hidden_states, attention_mask=attention_mask, position_ids=position_ids, **kwargs)
        cos, sin = kwargs.pop("position_embeddings")
        cache = kwargs.pop(self.calls.cache, None)
        q, k, v = self._projected(hidden_states, cos, sin)
        attended = self._attend(q, k, v, attention_mask, cache, {"cos": cos, "sin": sin}, kwargs)
        attention, between, mlp = self.layer.attention, self.layer.between, self.layer.mlp
        total, normed = ops.linear_add_rmsnorm(
            attended, attention.out.weight, hidden_states, between.gain, attention.out.bias, between.eps
        )
        gate, up = mlp.weights
        expanded = ops.fused_gated_mlp(normed, gate, up, mlp.activation)
        result: Tensor = ops.linear_residual(expanded, mlp.down.weight, total, mlp.down.bias)
        return result

    def _projected(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v of the normalised input, [B, S, heads, D], the first two rotated."""
        before, attention = self.layer.before, self.layer.attention
        weight, bias = attention.projection.weight, attention.projection.bias
        rows, tables = _rows(x, cos), (cos.flatten(0, -2), sin.flatten(0, -2))
        if attention.q_norm is None and cos.shape[-1] == attention.head_dim:
            found: tuple[Tensor, Tensor, Tensor] = ops.qkv_rope(
                x, before.gain, weight, *tables, attention.kv_heads, rows, bias, before.eps
            )
            return found
        projected = ops.rmsnorm_linear(x, before.gain, weight, bias, before.eps)
        heads = projected.view(*projected.shape[:-1], -1, attention.head_dim)
        q, k, v = torch.split(heads, [attention.heads, attention.kv_heads, attention.kv_heads], dim=-2)
        if attention.q_norm is None or attention.k_norm is None:
            q, k = ops.rope_qk_partial(q, k, *tables, rows)
        else:
            gains = attention.q_norm.gain, attention.k_norm.gain
            q, k = ops.qk_norm_rope(q, k, *gains, *tables, rows, attention.q_norm.eps)
        return q, k, v

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, cache: Any, tables: dict[str, Tensor], kwargs: Any
    ) -> Tensor:
        """What attention makes of them, [B, S, heads * D], through the cache if there is one."""
        module = self.layer.attention.module
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        if cache is not None:
            if self.calls.update == "kwargs":
                k, v = cache.update(k, v, module.layer_idx, kwargs=kwargs)
            else:
                k, v = cache.update(k, v, module.layer_idx, {**tables, "cache_position": kwargs.get("cache_position")})
        attended, weights = attention_function(module)(module, q, k, v, mask, dropout=0.0, **self.calls.extra, **kwargs)
        flat: Tensor = attended.flatten(-2)
        for hook in module._forward_hooks.values():
            hook(module, (), (flat, weights))
        return flat

    def _is_watched(self) -> bool:
        """Whether somebody waits for what a part of the layer makes, which is never made here.

        What Hugging Face collects for `output_attentions` is made: the weights of attention.
        """
        return any(part._forward_pre_hooks or any(map(_is_own, part._forward_hooks.values())) for part in self.parts)


def put_in(module: nn.Module, fused: FusedNorm | FusedMlp | FusedLayer) -> None:
    """Let a module be computed by `fused`. Hooks of `accelerate` stay around it."""
    place = HOOKED if HOOKED in vars(module) else "forward"
    vars(module)[KEPT] = vars(module).get(place)
    vars(module)[place] = fused.forward


def take_out(module: nn.Module) -> None:
    """Give a module its own forward back, wherever it stands by now: hooks may have come since."""
    before = vars(module).pop(KEPT)
    for place in (HOOKED, "forward"):
        if isinstance(getattr(vars(module).get(place), "__self__", None), FusedNorm | FusedMlp | FusedLayer):
            if place == HOOKED or before is not None:
                vars(module)[place] = before or own_forward(module)
            else:
                del vars(module)[place]


HOOKED = "_old_forward"
"""Where `accelerate` keeps the forward that its hook stands around."""

COLLECTOR = "output_capturing_hook"
"""The hook by which Hugging Face collects the weights of attention, once anybody has asked for them."""

KEPT = "_fusec_before"
"""Where a module keeps what stood in its place of `forward`."""


def own_forward(module: nn.Module) -> Any:
    """The forward that a module has by its class."""
    return MethodType(type(module).forward, module)


def _rows(x: Tensor, cos: Tensor) -> Tensor | None:
    """Which row of tables [B, S, D] with leading axes joined a token takes; None where all sequences share them."""
    batch, length = x.shape[:2]
    if cos.ndim == 2 or cos.shape[0] == 1:
        return None
    if torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing()):
        return _numbers(batch, length, x.device)
    return _kept_numbers(batch, length, x.device)


def _numbers(batch: int, length: int, device: torch.device) -> Tensor:
    return torch.arange(batch * length, device=device).view(batch, length)


_kept_numbers = lru_cache(maxsize=8)(_numbers)


def _is_own(hook: Any) -> bool:
    """Whether a hook is not that of Hugging Face's collector."""
    return getattr(hook, "__name__", "") != COLLECTOR


def _no_training(module: nn.Module) -> None:
    if module.training:
        raise NotImplementedError(
            f"{type(module).__name__} was patched by fusec and is in training mode, and its ops have no gradients yet: "
            "model.eval(), or fusec.unpatch(model) to train it"
        )
