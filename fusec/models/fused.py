"""What stands in for the forward of a norm or a gated MLP: the same inputs and outputs, by ops of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fusec import ops
from fusec.models.parts import GatedMlp, Norm

NORMS: dict[str, Callable[..., Any]] = {
    "plain": ops.rmsnorm,
    "unit_offset": ops.rmsnorm_unit_offset,
    "rounded": ops.rmsnorm_rounded,
}
"""Norms of rows without a bias, by their form; `rounded` is `plain`, rounded before the gain as Llama's module does."""


def normed(norm: Norm, x: Tensor) -> Tensor:
    """A norm of rows in one launch."""
    if norm.form == "centred":
        y: Tensor = ops.layernorm(x, norm.weight, norm.bias, norm.eps)
    else:
        y = NORMS[norm.form](x, norm.weight, norm.eps)
    return y


@dataclass(slots=True)
class FusedNorm:
    """A norm in one launch."""

    norm: Norm
    name: str = ""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """As the module's own."""
        no_training(self.norm.module, self.name)
        return normed(self.norm, hidden_states)


@dataclass(slots=True)
class FusedMlp:
    """A gated MLP in two products: gate, up and activation are one kernel."""

    mlp: GatedMlp
    name: str = ""

    def forward(self, x: Tensor) -> Tensor:
        """As the module's own."""
        no_training(self.mlp.module, self.name)
        return self.computed(x)

    def computed(self, x: Tensor) -> Tensor:
        """The MLP of x."""
        gate, up = self.mlp.weights
        y: Tensor = ops.linear(ops.fused_gated_mlp(x, gate, up, self.mlp.activation), self.mlp.down.weight)
        return y


def no_training(module: nn.Module, name: str) -> None:
    """Refuse to compute what somebody trains. Raises `NotImplementedError`."""
    if module.training:
        raise NotImplementedError(
            f"{name or 'the model'}, a {type(module).__name__}, was patched by fusec and is in training mode, and its "
            "ops have no gradients yet: model.eval(), or fusec.unpatch(model) to train it"
        )
