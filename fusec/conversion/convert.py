"""Convert: plain `torch.nn.Linear` layers of a model become modules of an op, and what cannot stays and is told why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from fusec.conversion.measure import measured
from fusec.conversion.report import Conversion, Difference, Layer
from fusec.runtime.errors import ArgumentError, FusecError
from fusec.runtime.linear import LinearModule, why_not_plain
from fusec.runtime.storing import StoringModule

Filter: TypeAlias = Callable[[str, torch.nn.Linear], bool]

READ_BY_PARENT = (torch.nn.TransformerEncoderLayer, torch.nn.MultiheadAttention)
"""Modules of PyTorch that read the weights of their layers themselves, without a call of the layer."""


def convert(
    model: torch.nn.Module,
    to: type[LinearModule],
    where: Filter | None = None,
    *,
    samples: Any = None,
    dry_run: bool = False,
    drop_master: bool = False,
    **settings: Any,
) -> Conversion:
    """Convert the linear layers of `model` in place to modules `to`, such as `FP8Linear`, made by `from_linear`.

    Those of which `where(name, layer)` is false stay, and so do subclasses of `torch.nn.Linear`, layers with hooks or
    parametrizations, those that `to` does not take, or whose inputs, and those whose weight another module owns too.
    Layers that share a weight share it still. With `drop_master` float weights are gone; else `undo()` of what is
    returned puts the layers back. A `dry_run` changes nothing.

    With `samples`, arguments of the model (a tensor, a tuple, a dictionary) or a function that calls it, the error of
    each layer is measured on what reaches it, and what nothing reaches stays. Other `settings` are those of the
    constructor of `to`.
    """
    if not (isinstance(to, type) and issubclass(to, LinearModule)):
        message = f"convert: `to` should be a class of linear layers, as FP8Linear, but is {to!r}"
        raise ArgumentError(message, "to", LinearModule, to)
    work = _Work(model, to, where, settings, drop_master)
    found = work.found()
    kept = work.reasons(found)
    errors: dict[torch.nn.Linear, Difference] = {}
    if samples is not None:
        errors = measured(model, samples, [layer for layer in found if layer not in kept], work.alone)
        kept |= {layer: "the samples did not reach it" for layer, error in errors.items() if not error.calls}
    layers = tuple(work.table(found, kept, errors))
    chosen = {layer: names for layer, names in found.items() if layer not in kept}
    undo = None if dry_run else work.replace(chosen)
    return Conversion(to.__name__, layers, dry_run, undo)


@dataclass(frozen=True, slots=True)
class _Work:
    model: torch.nn.Module
    to: type[LinearModule]
    where: Filter | None
    settings: Mapping[str, Any]
    drop_master: bool

    def found(self) -> dict[torch.nn.Linear, tuple[str, ...]]:
        """The linear layers of the model, each with all its names."""
        found: dict[torch.nn.Linear, tuple[str, ...]] = {}
        for name, module in self.model.named_modules(remove_duplicate=False):
            if isinstance(module, torch.nn.Linear):
                found[module] = (*found.get(module, ()), name)
        return found

    def alone(self, layer: torch.nn.Linear) -> torch.nn.Module:
        """What a layer would become, with nothing of it left behind: what is prepared is not kept with its weight."""
        made = self.to.of_weights(layer, **self.settings)
        return made.drop_master() if isinstance(made, StoringModule) else made

    # Which stay

    def reasons(self, found: Mapping[torch.nn.Linear, tuple[str, ...]]) -> dict[torch.nn.Linear, str]:
        """Why layers stay, of those that do."""
        kept = {layer: reason for layer, names in found.items() if (reason := self._reason(layer, names))}
        while True:
            owners = self._owners({layer for layer in found if layer not in kept})
            tied = {
                layer: f"`{owners[id(layer.weight)]}` is the same weight"
                for layer in found
                if layer not in kept and id(layer.weight) in owners
            }
            if not tied:
                return kept
            kept |= tied

    def _reason(self, layer: torch.nn.Linear, names: tuple[str, ...]) -> str:
        if self.where is not None and not all(self.where(name, layer) for name in names):
            return "left out by `where`"
        if reason := why_not_plain(layer):
            return reason
        if "" in names:
            return f"it is the model itself: {self.to.__name__}.from_linear converts it"
        for parent in (self.model.get_submodule(name.rpartition(".")[0]) for name in names):
            if isinstance(parent, READ_BY_PARENT):
                return f"{type(parent).__name__} reads its weight itself"
        try:
            self.to.from_linear(layer, **self.settings)
            self._call_without_data(layer)
        except FusecError as error:
            return str(error).partition(": ")[2]
        except TypeError:
            return f"calls of {self.to.__name__} need more than their input"
        return ""

    def _call_without_data(self, layer: torch.nn.Linear) -> None:
        """Call what a layer would become as the layer is called: with an input of the dtype of its weight."""
        about: dict[str, Any] = {"device": "meta", "dtype": layer.weight.dtype}
        bare = torch.nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, **about)
        with torch.no_grad():
            self.to.of_weights(bare, **self.settings)(torch.empty(1, layer.in_features, **about))

    def _owners(self, converted: Iterable[torch.nn.Linear]) -> dict[int, str]:
        """The names of parameters that modules own which are not converted."""
        found: dict[int, str] = {}
        for name, module in self.model.named_modules():
            if module not in converted:
                for own, parameter in module.named_parameters(recurse=False):
                    found.setdefault(id(parameter), f"{name}.{own}" if name else own)
        return found

    # What it costs

    def table(
        self,
        found: Mapping[torch.nn.Linear, tuple[str, ...]],
        kept: Mapping[torch.nn.Linear, str],
        errors: Mapping[torch.nn.Linear, Difference],
    ) -> Iterable[Layer]:
        """A line for each layer. What is owned by layers before it as well counts nothing."""
        owned: set[int] = set()
        for layer, names in found.items():
            parameters = [each for each in layer.parameters() if id(each) not in owned]
            owned.update(map(id, parameters))
            before = after = sum(each.numel() * each.itemsize for each in parameters)
            if layer not in kept and any(each is layer.weight for each in parameters):
                after += self._added(layer)
            error = errors[layer].relative if layer in errors and errors[layer].calls else None
            shape = (layer.out_features, layer.in_features)
            yield Layer(names, type(layer).__name__, shape, before, after, error, kept.get(layer, ""))

    def _added(self, layer: torch.nn.Linear) -> int:
        """The bytes that a converted layer takes more."""
        made = self.to.from_linear(layer, **self.settings)
        stored = made.bytes_stored() if isinstance(made, StoringModule) else 0
        return stored - (layer.weight.numel() * layer.weight.itemsize if self.drop_master else 0)

    # In place

    def replace(self, chosen: Mapping[torch.nn.Linear, tuple[str, ...]]) -> Callable[[], None] | None:
        """Put modules in the places of layers, one after another; the way back, where the layers are not dropped."""
        places = [(*name.rpartition(".")[::2], layer) for layer, names in chosen.items() for name in names]
        first: dict[int, StoringModule] = {}
        made: dict[torch.nn.Linear, LinearModule] = {}
        for layer in chosen:
            module = made[layer] = self.to.from_linear(layer, **self.settings)
            if self.drop_master and isinstance(module, StoringModule):
                module.drop_master(like=first.setdefault(id(layer.weight), module))
        for parent, name, layer in places:
            setattr(self.model.get_submodule(parent), name, made[layer])

        def undo() -> None:
            for parent, name, layer in places:
                setattr(self.model.get_submodule(parent), name, layer)

        return None if self.drop_master or not chosen else undo
