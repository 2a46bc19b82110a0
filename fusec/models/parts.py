"""What the modules of a transformer are: norms, gated MLPs, attention, decoder layers, by what they hold.

A module is recognised by its parts, never by the name of its family. That is a guess, and `trial.py` proves it: a copy
with random weights has to compute the same. What has anything more than these parts is not recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fusec.models.stacked import Stacked


@dataclass(slots=True)
class Norm:
    """An RMSNorm with a gain for each column, which is stored as its distance from one where it has an `offset`."""

    module: nn.Module
    eps: float
    offset: bool = False
    _kept: tuple[int, int, Tensor] | None = None

    @property
    def weight(self) -> Tensor:
        """The module's parameter."""
        weight: Tensor = self.module.weight  # type: ignore[assignment]
        return weight

    @property
    def gain(self) -> Tensor:
        """What the row is multiplied by: the weight, or one more, which is made again when the weight has changed."""
        weight = self.weight
        if not self.offset:
            return weight
        key = weight.data_ptr(), weight._version
        if self._kept is None or self._kept[:2] != key:
            self._kept = *key, weight.detach().float() + 1.0
        return self._kept[2]


@dataclass(slots=True)
class GatedMlp:
    """down(activation(gate(x)) * up(x)), of two matrices or of one that holds both, gate first."""

    module: nn.Module
    activation: str
    down: nn.Linear
    gate: nn.Linear
    up: nn.Linear | None

    @property
    def weights(self) -> tuple[Tensor, Tensor]:
        """The matrices of gate and up."""
        if self.up is not None:
            return self.gate.weight, self.up.weight
        gate, up = self.gate.weight.chunk(2)
        return gate, up


@dataclass(slots=True)
class Attention:
    """Projections to q, k and v, and back; norms of the heads of q and k where it has them."""

    module: nn.Module
    heads: int
    kv_heads: int
    head_dim: int
    projection: Stacked
    out: nn.Linear
    q_norm: Norm | None
    k_norm: Norm | None


@dataclass(slots=True)
class Layer:
    """A decoder layer that normalises in front of attention and of the MLP, and adds behind them."""

    module: nn.Module
    before: Norm
    attention: Attention
    between: Norm
    mlp: GatedMlp


def norm(module: nn.Module) -> Norm | None:
    """The RMSNorm that a module may be: one vector, an epsilon, and its name says so."""
    kind = type(module).__name__
    eps = next((getattr(module, name) for name in ("variance_epsilon", "eps") if hasattr(module, name)), None)
    held = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    if "RMSNorm" not in kind or held != ["weight"] or not isinstance(eps, float):
        return None
    weight = module.weight
    return Norm(module, eps) if isinstance(weight, Tensor) and weight.ndim == 1 else None


def gated_mlp(module: nn.Module) -> GatedMlp | None:
    """The gated MLP that a module may be: its linear layers without bias, and an activation that our ops know."""
    parts = dict(module.named_children())
    down, gate, up, packed = (parts.get(f"{name}_proj") for name in ("down", "gate", "up", "gate_up"))
    activation = next((parts[name] for name in ("act_fn", "activation_fn", "act") if name in parts), None)
    activation = activation or getattr(module, "act_fn", None) or getattr(module, "activation_fn", None)
    linears = [each for each in (down, gate, up, packed) if each is not None]
    others = {name for name, _ in module.named_parameters()} - {
        f"{n}_proj.weight" for n in ("down", "gate", "up", "gate_up")
    }
    if others or not all(is_plain_linear(each) and each.bias is None for each in linears) or activation is None:
        return None
    first = gate if up is not None else packed
    known = activation_name(activation)
    if not (isinstance(down, nn.Linear) and isinstance(first, nn.Linear) and known):
        return None
    return GatedMlp(module, known, down, first, up if isinstance(up, nn.Linear) else None)


def attention(module: nn.Module) -> Attention | None:
    """The attention that a module may be: projections of its own, and a config that tells the heads."""
    parts = dict(module.named_children())
    config: Any = getattr(module, "config", None)
    heads: Any = getattr(config, "num_attention_heads", None)
    kv_heads: Any = getattr(config, "num_key_value_heads", None)
    head_dim: Any = getattr(module, "head_dim", None)
    out = parts.get("o_proj")
    names = ("qkv_proj",) if "qkv_proj" in parts else ("q_proj", "k_proj", "v_proj")
    linears = [parts.get(name) for name in names]
    allowed = {*names, "o_proj", "q_norm", "k_norm"}
    held = {name.split(".")[0] for name, _ in module.named_parameters()}
    numbers = all(isinstance(each, int) for each in (heads, kv_heads, head_dim))
    if not numbers or held - allowed or not isinstance(out, nn.Linear) or not is_plain_linear(out):
        return None
    plain = [each for each in linears if isinstance(each, nn.Linear) and is_plain_linear(each)]
    if len(plain) != len(names) or len({each.bias is None for each in plain}) > 1:
        return None
    norms = [norm(parts[name]) for name in ("q_norm", "k_norm") if name in parts]
    if any(each is None or each.weight.numel() != head_dim for each in norms) or len(norms) == 1:
        return None
    q_norm, k_norm = norms or (None, None)
    return Attention(module, int(heads), int(kv_heads), int(head_dim), Stacked(plain), out, q_norm, k_norm)


def layer(module: nn.Module) -> Layer | None:
    """The decoder layer that a module may be: attention, an MLP, a norm in front of each, and nothing beside them."""
    parts = {name: each for name, each in module.named_children() if not isinstance(each, nn.Dropout)}
    if parts.keys() != {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}:
        return None
    before, between = norm(parts["input_layernorm"]), norm(parts["post_attention_layernorm"])
    found, expansion = attention(parts["self_attn"]), gated_mlp(parts["mlp"])
    if before is None or between is None or found is None or expansion is None:
        return None
    return Layer(module, before, found, between, expansion)


def norms_of(found: Layer) -> Iterator[Norm]:
    """All norms of a layer."""
    yield from (found.before, found.between)
    yield from (each for each in (found.attention.q_norm, found.attention.k_norm) if each is not None)


def is_plain_linear(module: nn.Module | None) -> bool:
    """Whether a module is a linear layer and nothing more: an adapter or a quantised layer is a class of its own."""
    return type(module) is nn.Linear and module.weight.device.type != "meta" and not module._forward_hooks


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "gelu_tanh": lambda x: nn.functional.gelu(x, approximate="tanh"),
    "relu": nn.functional.relu,
}


def activation_name(activation: Any) -> str | None:
    """What our ops call a function, by its values."""
    x = torch.linspace(-8.0, 8.0, 257)
    try:
        values = activation(x)
    except Exception:
        return None
    if not isinstance(values, Tensor):
        return None
    return next((name for name, known in ACTIVATIONS.items() if torch.allclose(values, known(x), 1e-5, 1e-6)), None)
