"""Decoder layers and gated MLPs whose products are of FP8: weights with a scale for every output, inputs with one for
every row, as `FP8Linear` has them. Norms, rotation and attention stay as they are."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fusec import ops
from fusec.models.fused import FusedMlp, normed
from fusec.models.fused_layer import FusedLayer, norm_added, norms_added
from fusec.models.parts import GatedMlp
from fusec.models.projection import Projected, turned
from fusec.models.rotation import Tables
from fusec.models.stacked import Stacked

ACTIVATIONS = ("silu", "gelu")
"""Those that the gated product of FP8 has."""


class Quantised:
    """What FP8 makes of the weights of linear layers of one input: again when they have changed."""

    __slots__ = ("_values", "_written", "stacked")

    def __init__(self, stacked: Stacked) -> None:
        self.stacked = stacked
        self._values: tuple[Tensor, Tensor] | None = None
        self._written: object = None

    def __reduce__(self) -> tuple[type[Quantised], tuple[Stacked]]:
        """The layers alone: values are made again."""
        return Quantised, (self.stacked,)

    def values(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The matrix of all layers in FP8, its scales, and the biases."""
        weight, bias = self.stacked.both()
        written = self.stacked.written
        if self._values is None or self._values[0].device != weight.device or written != self._written:
            made: tuple[Tensor, Tensor] = ops.quantize_fp8_rows(weight.detach())
            if torch.compiler.is_compiling():
                return *made, bias
            self._values, self._written = made, written
        return *self._values, bias


@dataclass(slots=True)
class Fp8Gated:
    """The products of a gated MLP."""

    mlp: GatedMlp
    gate: Quantised = field(init=False)
    up: Quantised | None = field(init=False)
    down: Quantised = field(init=False)

    def __post_init__(self) -> None:
        mlp = self.mlp
        self.gate, self.down = Quantised(Stacked([mlp.gate])), Quantised(Stacked([mlp.down]))
        self.up = None if mlp.up is None else Quantised(Stacked([mlp.up]))

    @property
    def quantised(self) -> list[Quantised]:
        """The weights that are in FP8."""
        expanding = (self.gate, self.up) if self.mlp.activation in ACTIVATIONS else ()
        return [each for each in (*expanding, self.down) if each is not None]

    def __call__(self, x: Tensor) -> Tensor:
        """down(activation(gate(x)) * up(x))."""
        down, down_scale, _ = self.down.values()
        if self.mlp.activation not in ACTIVATIONS:
            hidden: Tensor = ops.fused_gated_mlp(x, *self.mlp.weights, self.mlp.activation)
        else:
            gate, gate_scale, _ = self.gate.values()
            if self.up is None:
                (gate, up), (gate_scale, up_scale) = gate.chunk(2), gate_scale.chunk(2)
            else:
                up, up_scale, _ = self.up.values()
            # `fp8_gated_mlp_quantized` would keep both factors in f32 until the row has its scale.
            hidden = ops.fp8_gated_mlp(x, gate, gate_scale, up, up_scale, self.mlp.activation)
        y: Tensor = ops.fp8_linear_quantized(hidden, down, down_scale)
        return y


@dataclass(slots=True)
class Fp8Mlp(FusedMlp):
    """A gated MLP in two products of FP8."""

    gated: Fp8Gated = field(init=False)

    def __post_init__(self) -> None:
        self.gated = Fp8Gated(self.mlp)

    @property
    def quantised(self) -> list[Quantised]:
        """The weights that are in FP8."""
        return self.gated.quantised

    def computed(self, x: Tensor) -> Tensor:
        """The MLP of x."""
        return self.gated(x)


@dataclass(slots=True)
class Fp8Layer(FusedLayer):
    """A decoder layer whose products are of FP8, but for those of experts."""

    projection: Quantised = field(init=False)
    out: Quantised = field(init=False)
    gated: Fp8Gated | None = field(init=False)

    def __post_init__(self) -> None:
        FusedLayer.__post_init__(self)
        attention, mlp = self.layer.attention, self.layer.mlp
        self.projection, self.out = Quantised(attention.projection), Quantised(Stacked([attention.out]))
        self.gated = Fp8Gated(mlp) if isinstance(mlp, GatedMlp) else None

    @property
    def quantised(self) -> list[Quantised]:
        """The weights that are in FP8."""
        return [self.projection, self.out, *(self.gated.quantised if self.gated else ())]

    def projected(self, x: Tensor, tables: Tables) -> Projected:
        """q, k and v of one product in FP8, behind the norm in front if nobody has computed it."""
        before = None if self.layer.is_parallel else self.layer.before
        weight, scale, bias = self.projection.values()
        if before is not None and before.form == "plain":
            found: Tensor = ops.rmsnorm_fp8_linear(x, before.gain, weight, scale, before.eps, bias)
        else:
            x = x if before is None else normed(before, x)
            found = ops.fp8_linear_quantized(x, weight, scale, bias)
        return turned(self.layer.attention, self.rotation, found, tables)

    def out_added(self, attended: Tensor, residual: Tensor) -> Tensor:
        """The projection behind attention, added to the residual stream."""
        return residual + self._out(attended)

    def added(self, attended: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """What the MLP reads, and the residual stream there, behind attention."""
        after, between = self.layer.after, self.layer.between
        y = self._out(attended)
        if after is not None:
            return norms_added(after, between, y, residual)
        if between is not None and between.form == "plain":
            total, y = ops.add_rmsnorm(y, residual, between.gain, between.eps)
            return y, total
        total = residual + y
        return (total if between is None else normed(between, total)), total

    def expanded(self, x: Tensor, residual: Tensor) -> Tensor:
        """The MLP of x, added to the residual stream."""
        mlp, last = self.layer.mlp, self.layer.last
        y: Tensor = mlp(x) if self.gated is None and isinstance(mlp, nn.Module) else self.gated(x)  # type: ignore[misc]
        return residual + y if last is None else norm_added(last, y, residual)

    def _out(self, attended: Tensor) -> Tensor:
        weight, scale, bias = self.out.values()
        y: Tensor = ops.fp8_linear_quantized(attended, weight, scale, bias)
        return y
