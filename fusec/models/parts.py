"""What the modules of a transformer are: norms, gated MLPs, attention, by what they hold.

A module is recognised by its parts, never by the name of its family. That is a guess, and `trial.py` proves it: a copy
with random weights has to compute the same. Functions return None for what is nothing of the kind, and raise `Unfit`
for what is, with something in it that ops of ours have no place for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fusec.models.stacked import Stacked
from fusec.runtime.linear import why_not_plain


class Unfit(Exception):
    """Why a module stays as it is, although it looks like one that could be replaced."""


@dataclass(slots=True)
class Norm:
    """A norm of rows with a gain for each column.

    Its `form` is `plain`, an RMSNorm; `unit_offset`, which stores the gain as its distance from one; or `centred`, a
    LayerNorm, which may have a bias.
    """

    module: nn.Module
    eps: float
    form: str = "plain"
    _kept: tuple[int, int, Tensor] | None = None

    @property
    def weight(self) -> Tensor:
        """The module's parameter."""
        weight = self.module._parameters["weight"]
        assert weight is not None
        return weight

    @property
    def bias(self) -> Tensor | None:
        """What is added to the row, if anything is."""
        return self.module._parameters.get("bias")

    @property
    def gain(self) -> Tensor:
        """What the row is multiplied by: the weight, or one more, which is made again when the weight has changed."""
        weight = self.weight
        if self.form != "unit_offset":
            return weight
        if torch.compiler.is_compiling() or weight.is_inference():
            return weight.float() + 1.0
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
    """Projections to q, k and v, and back; norms of q and k, of each head or of all in a row, where it has them."""

    module: nn.Module
    heads: int
    kv_heads: int
    head_dim: int
    projection: Stacked
    out: nn.Linear
    q_norm: Norm | None
    k_norm: Norm | None

    @property
    def has_whole_norms(self) -> bool:
        """Whether its norms are of all heads in a row."""
        return self.q_norm is not None and self.q_norm.weight.numel() != self.head_dim


def norm(module: nn.Module) -> Norm | None:
    """The norm that a module may be: one vector, or a bias as well, and an epsilon."""
    eps = next((getattr(module, name) for name in ("variance_epsilon", "eps") if hasattr(module, name)), None)
    held = dict([*module.named_parameters(), *module.named_buffers()])
    if not isinstance(eps, float) or not {"weight"} <= held.keys() <= {"weight", "bias"}:
        return None
    for name, each in held.items():
        if type(each.data) is not Tensor:
            raise Unfit(f"its {name} is a {type(each.data).__name__}")
        require_data(name, each)
    return Norm(module, eps) if all(each.ndim == 1 for each in held.values()) else None


MLP = ("down_proj", "gate_proj", "up_proj", "gate_up_proj")


def gated_mlp(module: nn.Module) -> GatedMlp | None:
    """The gated MLP that a module may be: its linear layers without bias, and an activation that our ops know."""
    parts = dict(module.named_children())
    if not (parts.keys() >= {"down_proj", "gate_proj", "up_proj"} or parts.keys() >= {"down_proj", "gate_up_proj"}):
        return None
    linears = {name: plain_linear(name, parts[name]) for name in MLP if name in parts}
    if biased := [name for name, each in linears.items() if each.bias is not None]:
        raise Unfit(f"{biased[0]} has a bias")
    if others := {name.split(".")[0] for name, _ in module.named_parameters()} - {*MLP}:
        raise Unfit(f"{min(others)} is more than a gated MLP has")
    found = [parts.get(name, getattr(module, name, None)) for name in ("act_fn", "activation_fn", "act")]
    activation = next((each for each in found if each is not None), None)
    known = activation_name(activation)
    if known is None:
        raise Unfit(f"its activation is none of {', '.join(ACTIVATIONS)}")
    up = linears.get("up_proj")
    return GatedMlp(module, known, linears["down_proj"], linears["gate_proj" if up else "gate_up_proj"], up)


def attention(module: nn.Module) -> Attention | None:
    """The attention that a module may be: projections of its own, and a config that tells the heads."""
    parts = dict(module.named_children())
    names = ("qkv_proj",) if "qkv_proj" in parts else ("q_proj", "k_proj", "v_proj")
    if not parts.keys() >= {*names, "o_proj"}:
        return None
    config: Any = getattr(module, "config", None)
    numbers = [getattr(config, f"num_{name}_heads", None) for name in ("attention", "key_value")]
    heads, kv_heads, head_dim = (each for each in (*numbers, getattr(module, "head_dim", None)))
    if not (isinstance(heads, int) and isinstance(kv_heads, int) and isinstance(head_dim, int)):
        raise Unfit("its config does not tell its heads")
    if others := {name.split(".")[0] for name, _ in module.named_parameters()} - {*names, "o_proj", "q_norm", "k_norm"}:
        raise Unfit(f"{min(others)} is more than attention has")
    linears = [plain_linear(name, parts[name]) for name in names]
    out = plain_linear("o_proj", parts["o_proj"])
    if len({each.bias is None for each in linears}) > 1:
        raise Unfit("some of q_proj, k_proj and v_proj have a bias and others have none")
    q_norm, k_norm = _head_norms(parts, heads, kv_heads, head_dim)
    return Attention(module, heads, kv_heads, head_dim, Stacked(linears), out, q_norm, k_norm)


def _head_norms(
    parts: Mapping[str, nn.Module], heads: int, kv_heads: int, head_dim: int
) -> tuple[Norm | None, Norm | None]:
    """Norms of q and k, of every head or of all of them as one row."""
    found = [parts[name] for name in ("q_norm", "k_norm") if name in parts]
    if not found:
        return None, None
    q_norm, k_norm = norm(found[0]), norm(found[-1])
    widths = [each.weight.numel() for each in (q_norm, k_norm) if each is not None]
    if q_norm is None or k_norm is None or widths not in ([head_dim] * 2, [heads * head_dim, kv_heads * head_dim]):
        raise Unfit("its norms of q and k are others than those of heads, or of all heads in a row")
    if q_norm.eps != k_norm.eps:
        raise Unfit("its norms of q and k have different epsilons")
    return q_norm, k_norm


def plain_linear(name: str, module: nn.Module) -> nn.Linear:
    """A linear layer and nothing more: an adapter or a quantised layer is a class of its own."""
    if not isinstance(module, nn.Linear):
        raise Unfit(f"{name} is a {type(module).__name__} of {type(module).__module__}")
    if reason := why_not_plain(module, hooked=True):
        raise Unfit(f"{name}: {reason}")
    require_data(name, module.weight)
    return module


def require_data(name: str, tensor: Tensor) -> None:
    """That a tensor has data, which those have not that are elsewhere until they are asked for. Raises `Unfit`."""
    if tensor.is_meta:
        raise Unfit(f"{name} has no data (it is on the device `meta`)")


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
