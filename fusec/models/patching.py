"""`fusec.patch(model)`: ops of ours in place of what a live model of Hugging Face computes, and back again."""

from __future__ import annotations

from typing import Literal

from torch import nn

from fusec.models.fused_layer import FusedLayer
from fusec.models.places import is_patched, put_in, take_out
from fusec.models.report import Report
from fusec.models.search import Fuse, Search

Rounding = Literal["once", "model"]


def patch(model: nn.Module, *, fuse: Fuse = "auto", rounding: Rounding = "once", dry_run: bool = False) -> Report:
    """Let ops of fusec compute what they can of a model, in place; weights are shared, and `unpatch` undoes it.

    Decoder layers become four products and attention; norms and gated MLPs elsewhere are taken one by one. A module is
    recognised by its parts, and a copy of it with random weights is tried before any is replaced: what does not compute
    the same stays, and the report tells. `fuse` names the one kind to look for.
    `rounding="once"` rounds where a fused op does, once; `rounding="model"` replaces norms alone and rounds them where
    the model does. With `dry_run` nothing is changed.

    Raises `ValueError` where a part of the model is in training mode (our ops have no gradients yet), or is patched
    already.
    """
    training = [name or type(module).__name__ for name, module in model.named_modules() if module.training]
    if training:
        raise ValueError(f"{training[0]} is in training mode, and ops of fusec have no gradients yet: model.eval()")
    if any(is_patched(module) for module in model.modules()):
        raise ValueError("this model is patched already: fusec.unpatch(model) first")
    found = Search(model, "norms" if rounding == "model" else fuse, rounding == "model").found()
    for module, stand, _ in found:
        if stand is not None and not dry_run:
            put_in(module, stand)
            if isinstance(stand, FusedLayer):
                # Now, and not in the first call, which may be traced or captured.
                stand.layer.attention.projection.both()
    return Report(tuple(entry for _, _, entry in found), dry_run)


def unpatch(model: nn.Module) -> int:
    """Give all modules of a patched model their own computation back; returns how many there were."""
    patched = [module for module in model.modules() if is_patched(module)]
    for module in patched:
        take_out(module)
    return len(patched)
