"""What decoder layers are: attention, an MLP, and norms in front of them or behind, by the names of the norms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from fusec.models.parts import Attention, GatedMlp, Norm, Unfit, attention, gated_mlp, norm


@dataclass(frozen=True, slots=True)
class Order:
    """The names of the norms that a layer has: before attention and after it, before the MLP and after it."""

    before: str = ""
    after: str = ""
    between: str = ""
    last: str = ""

    @property
    def names(self) -> frozenset[str]:
        """Those that there are."""
        return frozenset({self.before, self.after, self.between, self.last} - {""})


ORDERS = (
    Order(before="input_layernorm", between="post_attention_layernorm"),
    Order(
        before="input_layernorm",
        after="post_attention_layernorm",
        between="pre_feedforward_layernorm",
        last="post_feedforward_layernorm",
    ),
    Order(after="post_attention_layernorm", last="post_feedforward_layernorm"),
    Order(
        before="input_layernorm",
        after="post_self_attn_layernorm",
        between="post_attention_layernorm",
        last="post_mlp_layernorm",
    ),
    Order(before="input_layernorm"),
)
"""Layers that are known. With one norm alone, attention and the MLP both read what it makes."""


@dataclass(slots=True)
class Layer:
    """A decoder layer. An MLP that is no gated one, of experts say, is called as it is."""

    module: nn.Module
    attention: Attention
    mlp: GatedMlp | nn.Module
    before: Norm | None
    after: Norm | None
    between: Norm | None
    last: Norm | None

    @property
    def is_parallel(self) -> bool:
        """Whether attention and the MLP read the same norm."""
        return self.before is not None and self.between is None and self.last is None

    @property
    def has_one_norm(self) -> bool:
        """Whether an op that normalises in front of attention and in it, with one epsilon and form, may do so here."""
        attention = self.attention
        norms = [each for each in (self.before, attention.q_norm, attention.k_norm) if each is not None]
        return len({(each.eps, each.form) for each in norms}) <= 1 and all(each.bias is None for each in norms)

    @property
    def norms(self) -> Iterator[Norm]:
        """All norms of the layer, those of q and k among them."""
        own = self.before, self.after, self.between, self.last
        yield from (each for each in (*own, self.attention.q_norm, self.attention.k_norm) if each is not None)

    @property
    def uncalled(self) -> tuple[nn.Module, ...]:
        """Modules in it that nobody calls once the layer is computed by ops."""
        called = set(self.mlp.modules()) if isinstance(self.mlp, nn.Module) else set()
        return tuple(each for each in self.module.modules() if each is not self.module and each not in called)


def layer(module: nn.Module) -> Layer | None:
    """The decoder layer that a module may be; None where it has not the parts of one."""
    parts = {name: each for name, each in module.named_children() if not isinstance(each, nn.Dropout)}
    rest = parts.keys() - {"self_attn", "mlp"}
    order = next((order for order in ORDERS if order.names == rest), None)
    if order is None or len(parts) != len(rest) + 2:
        return None
    if len({each.device for each in module.parameters()}) > 1:
        raise Unfit("its parts are on several devices")
    if any(True for _ in module.parameters(recurse=False)):
        raise Unfit("it has parameters of its own")
    found = attention(parts["self_attn"])
    if found is None:
        raise Unfit("its attention has not the parts that are known")
    norms = [_norm(parts, name) for name in (order.before, order.after, order.between, order.last)]
    return Layer(module, found, _mlp(parts["mlp"]), *norms)


def _mlp(module: nn.Module) -> GatedMlp | nn.Module:
    """The gated MLP that a module is, or the module."""
    try:
        return gated_mlp(module) or module
    except Unfit:
        return module


def _norm(parts: dict[str, nn.Module], name: str) -> Norm | None:
    if not name:
        return None
    found = norm(parts[name])
    if found is None:
        raise Unfit(f"{name} is no norm of one gain for each column")
    return found
