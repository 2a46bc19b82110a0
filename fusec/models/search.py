"""A look through a model: what could stand in for each module, tried once for all modules of one kind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from torch import nn

from fusec import ops
from fusec.conversion import convert
from fusec.models import parts
from fusec.models.calls import calls_of
from fusec.models.fused import FusedMlp, FusedNorm
from fusec.models.fused_fp8 import Fp8Layer, Fp8Mlp
from fusec.models.fused_layer import FusedLayer
from fusec.models.layers import Layer, layer
from fusec.models.parts import Norm, Unfit
from fusec.models.places import Stand, own_forward
from fusec.models.report import Entry
from fusec.models.rotated_attention import RotatedAttention, rotates
from fusec.models.rotation import ROTATIONS, Rotation
from fusec.models.trial import Trial, trial_of, trial_of_layer, unchanged
from fusec.runtime.errors import DeviceError

Fuse = Literal["auto", "layers", "mlps", "norms"]

Rounding = Literal["once", "model", "bits"]

Found = tuple[nn.Module, Stand | None, Entry]
"""A module, what is to stand in for it if anything is, and what the report says of it."""


@dataclass(slots=True)
class Search:
    """A look for what to `fuse`.

    With `rounding` as the model's that is norms alone, and rotations alone where all bits are to be the model's.
    Products are of `fp8`, if that is asked for.
    """

    model: nn.Module
    fuse: Fuse
    rounding: Rounding
    fp8: bool = False
    _trials: dict[tuple[object, ...], Trial] = field(default_factory=dict)

    def found(self) -> list[Found]:
        """All modules that are, or look as if they could be, replaced."""
        return list(self._within(self.model, ""))

    @property
    def _looks(self) -> list[Callable[[nn.Module], tuple[Stand, Trial] | None]]:
        if self.rounding == "bits":
            return [self._rotated]
        kinds = {"layers": self._layer, "mlps": self._mlp, "norms": self._norm}
        wanted = "norms" if self.rounding == "model" else self.fuse
        return [look for kind, look in kinds.items() if wanted in ("auto", kind)]

    def _within(self, module: nn.Module, name: str) -> Iterator[Found]:
        for look in self._looks:
            kind = type(module).__name__
            try:
                answer = look(module)
            except Unfit as reason:
                yield module, None, Entry(name, kind, left=str(reason))
                continue
            if answer is not None:
                stand, trial = answer
                stand.name = name
                yield module, stand, Entry(name, kind, ", ".join(trial.ops), before=trial.before, after=trial.after)
                if trial.note:
                    yield module, None, Entry(name, kind, left=trial.note)
                if isinstance(stand, FusedLayer) and isinstance(stand.layer.mlp, nn.Module):
                    yield from self._within(stand.layer.mlp, f"{name}.mlp")
                return
        for child, part in module.named_children():
            yield from self._within(part, f"{name}.{child}".lstrip("."))

    def _norm(self, module: nn.Module) -> tuple[FusedNorm, Trial] | None:
        if "Norm" not in type(module).__name__:
            return None
        found = parts.norm(module)
        if found is None:
            raise Unfit("no norm of one gain for each column")
        trial = self._formed(found)
        return FusedNorm(found), trial

    def _formed(self, norm: Norm) -> Trial:
        """Try the forms of norms, and give the norm the first that computes the same. Raises `Unfit`.

        Where norms are to round as the model does, that is the form of which fewest values differ.
        """
        forms = ("centred",) if norm.bias is not None else ("plain", "unit_offset", "centred")
        trials: dict[str, Trial] = {}
        is_rounded = self.rounding == "model"
        for form in ("rounded", *forms) if is_rounded else forms:

            def build(copy: nn.Module, form: str = form) -> FusedNorm:
                return FusedNorm(Norm(copy, norm.eps, form))

            def run(build: Callable[[nn.Module], FusedNorm] = build) -> Trial:
                return trial_of(norm.module, build, norm.weight.numel())

            trials[form] = self._tried((form, *_kind(norm.module)), run)
            if not trials[form].fault and not is_rounded:
                break
        right = [form for form, trial in trials.items() if not trial.fault]
        if not right:
            raise Unfit(next(iter(trials.values())).fault)
        norm.form = min(right, key=lambda form: trials[form].different) if is_rounded else right[0]
        return trials[norm.form]

    def _mlp(self, module: nn.Module) -> tuple[FusedMlp, Trial] | None:
        found = parts.gated_mlp(module)
        if found is None:
            return None

        width = found.gate.weight.shape[1]
        stand: type[FusedMlp]
        note = ""
        for stand in (Fp8Mlp, FusedMlp) if self.fp8 else (FusedMlp,):

            def build(copy: nn.Module, stand: type[FusedMlp] = stand) -> FusedMlp:
                mlp = parts.gated_mlp(copy)
                assert mlp is not None
                return stand(mlp)

            def run(build: Callable[[nn.Module], FusedMlp] = build, stand: type[FusedMlp] = stand) -> Trial:
                return trial_of(module, build, width, in_fp8 if stand is Fp8Mlp else unchanged)

            trial = self._tried((stand, *_kind(module)), run)
            if not trial.fault:
                return stand(found), replace(trial, note=note)
            note = f"not in FP8: {trial.fault}"
        raise Unfit(trial.fault)

    def _layer(self, module: nn.Module) -> tuple[FusedLayer, Trial] | None:
        found = layer(module)
        if found is None:
            return None
        calls = calls_of(found.attention.module)
        if calls is None:
            raise Unfit("its attention calls a cache or an attention function in a way that is not known")
        rotary = self._rotary(found.attention.module)
        for norm in found.norms:
            self._formed(norm)
        extra = tuple(sorted((name, repr(value)) for name, value in calls.extra.items()))
        faults = []
        for rotation in ROTATIONS:

            def build(copy: nn.Module, rotation: Rotation = rotation) -> FusedLayer:
                return FusedLayer(_like(found, copy), calls, rotation, own_forward(copy))

            def run(build: Callable[[nn.Module], FusedLayer] = build) -> Trial:
                return trial_of_layer(module, build, found.attention.projection.inputs, rotary, calls.cache)

            trial = self._tried((rotation, *_kind(module), extra), run)
            if not trial.fault:
                return self._in_fp8(FusedLayer(found, calls, rotation, own_forward(module)), trial, rotary)
            faults.append(trial.fault)
        raise Unfit(faults[0])

    def _rotated(self, module: nn.Module) -> tuple[RotatedAttention, Trial] | None:
        """Attention whose rotation alone is taken, if the bits are the same."""
        if not rotates(module):
            return None
        calls = calls_of(module)
        config: Any = getattr(module, "config", None)
        if calls is None or not hasattr(config, "hidden_size"):
            raise Unfit("it calls a cache or an attention function in a way that is not known")
        rotary = self._rotary(module)

        def run() -> Trial:
            return trial_of_layer(module, RotatedAttention, config.hidden_size, rotary, calls.cache, same_bits=True)

        trial = self._tried((RotatedAttention, *_kind(module), repr(calls.extra)), run)
        if trial.fault:
            raise Unfit(trial.fault)
        return RotatedAttention(module), trial

    def _in_fp8(self, stand: FusedLayer, trial: Trial, rotary: Callable[..., Any]) -> tuple[FusedLayer, Trial]:
        """What stands in for a layer with its products in FP8, if that is asked for and right."""
        found, calls, rotation, module = stand.layer, stand.calls, stand.rotation, stand.layer.module
        if not self.fp8:
            return stand, trial

        def build(copy: nn.Module) -> Fp8Layer:
            return Fp8Layer(_like(found, copy), calls, rotation, own_forward(copy))

        def run() -> Trial:
            return trial_of_layer(module, build, found.attention.projection.inputs, rotary, calls.cache, in_fp8)

        again = self._tried(("fp8", rotation, *_kind(module), repr(calls.extra)), run)
        if again.fault:
            return stand, replace(trial, note=f"not in FP8: {again.fault}")
        return Fp8Layer(found, calls, rotation, stand.original), again

    def _rotary(self, attention: nn.Module) -> Callable[..., Any]:
        """What makes the tables of angles for an attention. Raises `Unfit`."""
        modules = self.model.modules()
        rotary = next((each for each in modules if type(each).__name__.endswith("RotaryEmbedding")), None)
        if rotary is None:
            raise Unfit("no rotary embedding to be found")
        if "layer_type" in inspect.signature(type(rotary).forward).parameters:
            return partial(rotary, layer_type=attention.layer_type)
        return rotary

    def _tried(self, key: tuple[object, ...], trial: Callable[[], Trial]) -> Trial:
        if key not in self._trials:
            try:
                self._trials[key] = trial()
            except DeviceError:
                raise
            except Exception as error:
                # Whatever a module of somebody raises when it is called alone is a reason to leave it.
                self._trials[key] = Trial(f"cannot be tried: {type(error).__name__}: {error}")
        return self._trials[key]


def in_fp8(copy: nn.Module) -> nn.Module:
    """A copy of a module whose linear layers are of FP8, each by itself."""
    made = deepcopy(copy)
    convert(made, ops.FP8Linear)
    return made


def _like(found: Layer, copy: nn.Module) -> Layer:
    """The parts of a copy of a layer, whose norms have the forms of those of the layer."""
    made = layer(copy)
    assert made is not None
    for own, norm in zip(made.norms, found.norms, strict=True):
        own.form = norm.form
    return made


def _kind(module: nn.Module) -> tuple[object, ...]:
    """What modules of one kind have in common: the class, and the shapes, dtypes and kind of device of parameters."""
    held = tuple((name, tuple(p.shape), p.dtype, p.device.type) for name, p in module.named_parameters())
    return type(module), held, getattr(module, "variance_epsilon", getattr(module, "eps", None))
