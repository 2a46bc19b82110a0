"""What stands in for the forward of a decoder layer: products that hold norms, rotation, activation and residual."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from fusec import ops
from fusec.models.calls import Calls, attention_function
from fusec.models.fused import no_training, normed
from fusec.models.layers import Layer
from fusec.models.parts import GatedMlp, Norm
from fusec.models.projection import Projected, projected
from fusec.models.rotation import Rotation, Tables


@dataclass(slots=True)
class FusedLayer:
    """A decoder layer by ops of ours. While somebody's hook watches a part of it, it computes as its module does."""

    layer: Layer
    calls: Calls
    rotation: Rotation
    original: Any
    name: str = ""
    _uncalled: tuple[nn.Module, ...] = field(init=False)
    _named: tuple[str, ...] = field(init=False)
    _has_one_norm: bool = field(init=False)

    def __post_init__(self) -> None:
        self._uncalled, self._has_one_norm = self.layer.uncalled, self.layer.has_one_norm
        self._named = tuple(inspect.signature(type(self.layer.module).forward).parameters)[1:]

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As the module's own; attention itself is what the config of the model names."""
        layer = self.layer
        no_training(layer.module, self.name)
        if args:
            kwargs.update(zip(self._named[1:], args, strict=False))
        if self._is_watched():
            return self.original(hidden_states, **kwargs)
        tables = Tables(*kwargs["position_embeddings"])
        alone = normed(layer.before, hidden_states) if layer.before is not None and layer.is_parallel else None
        q, k, v = self.projected(tables.joined(hidden_states if alone is None else alone), tables)
        if tables.of_their_own:
            q, k, v = (tables.parted(each, hidden_states.shape[0]) for each in (q, k, v))
        attended = self._attend(q, k, v, kwargs)
        if alone is not None:
            return self.expanded(alone, self.out_added(attended, hidden_states))
        return self.expanded(*self.added(attended, hidden_states))

    def projected(self, x: Tensor, tables: Tables) -> Projected:
        """q, k and v of one product, behind the norm in front if nobody has computed it."""
        return projected(self.layer, self.rotation, x, tables, self._has_one_norm)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, kwargs: dict[str, Any]) -> Tensor:
        """What attention makes of them, [B, S, heads * D], through the cache if there is one."""
        module, calls = self.layer.attention.module, self.calls
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        cache, mask = kwargs.get(calls.cache), kwargs.get("attention_mask")
        rest = {name: value for name, value in kwargs.items() if name not in calls.named}
        if cache is not None:
            if calls.update == "kwargs":
                k, v = cache.update(k, v, module.layer_idx, kwargs=rest)
            else:
                cos, sin = kwargs["position_embeddings"]
                about = {"cos": cos, "sin": sin, "cache_position": kwargs.get("cache_position")}
                k, v = cache.update(k, v, module.layer_idx, about)
        attended, weights = attention_function(module)(module, q, k, v, mask, dropout=0.0, **calls.extra, **rest)
        flat: Tensor = attended.flatten(-2)
        for hook in module._forward_hooks.values():
            hook(module, (), (flat, weights))
        return flat

    def out_added(self, attended: Tensor, residual: Tensor) -> Tensor:
        """The projection behind attention, added to the residual stream."""
        out = self.layer.attention.out
        total: Tensor = ops.linear_residual(attended, out.weight, residual, out.bias)
        return total

    def added(self, attended: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """What the MLP reads, and the residual stream there, behind attention."""
        out, after, between = self.layer.attention.out, self.layer.after, self.layer.between
        if after is None and between is not None and between.form != "centred":
            total, y = ops.linear_add_rmsnorm(attended, out.weight, residual, between.gain, out.bias, between.eps)
            return y, total
        if after is not None:
            return norms_added(after, between, ops.linear(attended, out.weight, out.bias), residual)
        total = self.out_added(attended, residual)
        return (total if between is None else normed(between, total)), total

    def expanded(self, x: Tensor, residual: Tensor) -> Tensor:
        """The MLP of x, added to the residual stream."""
        mlp, last = self.layer.mlp, self.layer.last
        if not isinstance(mlp, GatedMlp):
            y: Tensor = mlp(x)
            return residual + y if last is None else norm_added(last, y, residual)
        expanded = ops.fused_gated_mlp(x, *mlp.weights, mlp.activation)
        if last is not None:
            return norm_added(last, ops.linear(expanded, mlp.down.weight), residual)
        result: Tensor = ops.linear_residual(expanded, mlp.down.weight, residual)
        return result

    def _is_watched(self) -> bool:
        """Whether somebody waits for what a part of the layer makes, which is never made here.

        What Hugging Face collects for `output_attentions` is made: the weights of attention.
        """
        for part in self._uncalled:
            if part._forward_pre_hooks or (part._forward_hooks and any(map(_is_own, part._forward_hooks.values()))):
                return True
        return False


def norm_added(norm: Norm, x: Tensor, residual: Tensor) -> Tensor:
    """The norm of x, added to the residual stream."""
    if norm.form == "centred":
        return residual + normed(norm, x)
    total: Tensor = ops.rmsnorm_add(x, residual, norm.weight, norm.eps, norm.form)
    return total


def norms_added(norm: Norm, following: Norm | None, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """The norm of x, added to the residual stream: the norm that follows, if one does, and the stream."""
    if following is None:
        total = norm_added(norm, x, residual)
        return total, total
    if norm.form == "centred" or (norm.form, norm.eps) != (following.form, following.eps):
        total = norm_added(norm, x, residual)
        return normed(following, total), total
    total, y = ops.rmsnorm_add_rmsnorm(x, residual, norm.weight, following.weight, norm.eps, norm.form)
    return y, total


COLLECTOR = "output_capturing_hook"
"""The hook by which Hugging Face collects the weights of attention, once anybody has asked for them."""


def _is_own(hook: Any) -> bool:
    """Whether a hook is not that of Hugging Face's collector."""
    return getattr(hook, "__name__", "") != COLLECTOR
