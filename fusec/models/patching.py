"""`fusec.patch(model)`: ops of ours in place of what a live model of Hugging Face computes, and back again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from fusec.models import parts
from fusec.models.calls import calls_of
from fusec.models.fused import KEPT, FusedLayer, FusedMlp, FusedNorm, own_forward, put_in, take_out
from fusec.models.report import Entry, Report
from fusec.models.trial import fault_of, fault_of_layer

Fuse = Literal["auto", "layers", "mlps", "norms"]
Rounding = Literal["once", "model"]
Stand = FusedNorm | FusedMlp | FusedLayer


def patch(model: nn.Module, *, fuse: Fuse = "auto", rounding: Rounding = "once", dry_run: bool = False) -> Report:
    """Let ops of fusec compute what they can of a model, in place; weights are shared, and `unpatch` undoes it.

    Decoder layers that normalise first become four products and attention; norms and gated MLPs elsewhere are taken one
    by one. A module is recognised by its parts, and a copy of it with random weights is tried before any is replaced:
    what does not compute the same stays, and the report tells. `fuse` names the one kind to look for.
    `rounding="once"` rounds where a fused op does, once; `rounding="model"` replaces norms alone and rounds them where
    the model does. With `dry_run` nothing is changed.

    Raises `ValueError` where the model is in training mode (our ops have no gradients yet), or is patched already.
    """
    training = [name or type(module).__name__ for name, module in model.named_modules() if module.training]
    if training:
        raise ValueError(f"{training[0]} is in training mode, and ops of fusec have no gradients yet: model.eval()")
    if any(KEPT in vars(module) for module in model.modules()):
        raise ValueError("this model is patched already: fusec.unpatch(model) first")
    found = _Search(model, "norms" if rounding == "model" else fuse, rounding == "model").entries()
    for module, stand, _ in found:
        if stand is not None and not dry_run:
            put_in(module, stand)
    return Report(tuple(entry for _, _, entry in found), dry_run)


def unpatch(model: nn.Module) -> int:
    """Give all modules of a patched model their own computation back; returns how many there were."""
    patched = [module for module in model.modules() if KEPT in vars(module)]
    for module in patched:
        take_out(module)
    return len(patched)


@dataclass(slots=True)
class _Search:
    """A look through a model. What is true of one module is true of all of its kind, and is tried once."""

    model: nn.Module
    fuse: Fuse
    rounded: bool
    _faults: dict[tuple[object, ...], str | None] = field(default_factory=dict)

    def entries(self) -> list[tuple[nn.Module, Stand | None, Entry]]:
        """Modules, what is to stand in for them if anything is, and what the report says of them."""
        return list(self._within(self.model, ""))

    def _within(self, module: nn.Module, name: str) -> Iterator[tuple[nn.Module, Stand | None, Entry]]:
        for wanted, look in (("layers", self._layer), ("mlps", self._mlp), ("norms", self._norm)):
            if self.fuse not in ("auto", wanted):
                continue
            stand, ops, left = look(module)
            kind = type(module).__name__
            if stand is not None:
                yield module, stand, Entry(name, kind, ops=ops)
                return
            if left:
                yield module, None, Entry(name, kind, left=left)
        for child, part in module.named_children():
            yield from self._within(part, f"{name}.{child}".lstrip("."))

    def _norm(self, module: nn.Module) -> tuple[FusedNorm | None, str, str]:
        if "RMSNorm" not in type(module).__name__:
            return None, "", ""
        norm = self._tried_norm(module)
        if norm is None:
            return None, "", "no RMSNorm of one gain for each column"
        op = "rmsnorm_unit_offset" if norm.offset else "rmsnorm_rounded" if self.rounded else "rmsnorm"
        return FusedNorm(norm, self.rounded), op, ""

    def _tried_norm(self, module: nn.Module) -> parts.Norm | None:
        """The norm that a module is, its gain stored as it is or as the distance from one, by trial."""
        norm = parts.norm(module)
        if norm is None:
            return None
        for offset in (False, True):

            def build(copy: nn.Module, offset: bool = offset) -> Any:
                found = parts.norm(copy)
                return FusedNorm(parts.Norm(found.module, found.eps, offset), self.rounded) if found else None

            width = norm.gain.numel()
            if self._tried((offset, *_kind(module)), lambda: fault_of(module, build, width)) is None:  # noqa: B023
                norm.offset = offset
                return norm
        return None

    def _mlp(self, module: nn.Module) -> tuple[FusedMlp | None, str, str]:
        mlp = parts.gated_mlp(module)
        if mlp is None:
            return None, "", ""
        width = mlp.gate.weight.shape[1]
        fault = self._tried(_kind(module), lambda: fault_of(module, lambda copy: _fused_mlp(copy), width))
        return (None, "", fault) if fault else (FusedMlp(mlp), "fused_gated_mlp, linear", "")

    def _layer(self, module: nn.Module) -> tuple[FusedLayer | None, str, str]:
        stand = self._fused_layer(module)
        if stand is None:
            return None, "", ""
        rotary = next((each for each in self.model.modules() if type(each).__name__.endswith("RotaryEmbedding")), None)
        if rotary is None:
            return None, "", "no rotary embedding to be found"
        width = stand.layer.before.gain.numel()
        extra = tuple(sorted((name, repr(value)) for name, value in stand.calls.extra.items()))
        fault = self._tried(
            (*_kind(module), extra),
            lambda: fault_of_layer(module, self._fused_layer, width, rotary, stand.calls.cache),
        )
        if fault:
            return None, "", fault
        attention = stand.layer.attention
        first = "qkv_rope" if attention.q_norm is None else "rmsnorm_linear, qk_norm_rope"
        return stand, f"{first}, attention, linear_add_rmsnorm, fused_gated_mlp, linear_residual", ""

    def _fused_layer(self, module: nn.Module) -> FusedLayer | None:
        found = parts.layer(module)
        calls = calls_of(found.attention.module) if found else None
        if found is None or calls is None:
            return None
        for norm in parts.norms_of(found):
            tried = self._tried_norm(norm.module)
            if tried is None:
                return None
            norm.offset = tried.offset
        return FusedLayer(found, calls, own_forward(module), tuple(module.modules())[1:])

    def _tried(self, key: tuple[object, ...], trial: Callable[[], str | None]) -> str | None:
        if key not in self._faults:
            self._faults[key] = trial()
        return self._faults[key]


def _fused_mlp(module: nn.Module) -> FusedMlp | None:
    found = parts.gated_mlp(module)
    return FusedMlp(found) if found else None


def _kind(module: nn.Module) -> tuple[object, ...]:
    """What modules of one kind have in common: the class, and the shapes, dtypes and kind of device of parameters."""
    held = tuple((name, tuple(p.shape), p.dtype, p.device.type) for name, p in module.named_parameters())
    return type(module), held, getattr(module, "variance_epsilon", getattr(module, "eps", None))
