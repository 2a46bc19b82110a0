"""How far results of converted layers are from those of the layers, on what reaches these in a run of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from fusec.conversion.report import Difference


def measured(
    model: torch.nn.Module,
    samples: Any,
    layers: Iterable[torch.nn.Linear],
    converted: Callable[[torch.nn.Linear], torch.nn.Module],
) -> dict[torch.nn.Linear, Difference]:
    """Run the model on the samples, and each call of a layer also through what it would become."""
    found = {layer: Difference() for layer in layers}

    def hold(layer: torch.nn.Module, given: tuple[Any, ...], named: dict[str, Any], result: torch.Tensor) -> None:
        assert isinstance(layer, torch.nn.Linear)
        found[layer].add(converted(layer)(*given, **named), result)

    hooks = [layer.register_forward_hook(hold, with_kwargs=True) for layer in found]
    try:
        _run(model, samples)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _run(model: torch.nn.Module, samples: Any) -> None:
    with torch.no_grad():
        if isinstance(samples, Mapping):
            model(**samples)
        elif isinstance(samples, torch.Tensor):
            model(samples)
        elif callable(samples):
            samples(model)
        else:
            model(*samples)
