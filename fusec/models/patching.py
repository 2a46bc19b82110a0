"""`fusec.patch(model)`: ops of ours in place of what a live model of Hugging Face computes, and back again."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from fusec import ops
from fusec.conversion import Conversion, convert
from fusec.models.fused_fp8 import Fp8Layer, Fp8Mlp
from fusec.models.fused_layer import FusedLayer
from fusec.models.places import Stand, is_patched, put_in, take_out
from fusec.models.report import Report
from fusec.models.search import Found, Fuse, Rounding, Search

Precision = Literal["model", "fp8"]


def patch(
    model: nn.Module,
    *,
    fuse: Fuse = "auto",
    rounding: Rounding = "once",
    precision: Precision = "model",
    samples: Any = None,
    dry_run: bool = False,
) -> Report:
    """Let ops of fusec compute what they can of a model, in place; weights are shared, and `unpatch` undoes it.

    Decoder layers become four products and attention; norms and gated MLPs elsewhere are taken one by one. A module is
    recognised by its parts, and a copy of it with random weights is tried before any is replaced: what does not compute
    the same stays, and the report tells. `fuse` names the one kind to look for.
    `rounding="once"` rounds where a fused op does, once; `rounding="model"` replaces norms alone and rounds them where
    the model does; `rounding="bits"` replaces what gives the bits of the model alone, rotations, so that logits are
    the same. With `dry_run` nothing is changed.

    `precision="fp8"` multiplies in FP8 in layers and MLPs, those of f16 and bf16: the report has a table of `errors`,
    of each linear layer on what reaches it, where `samples` (as `fusec.convert` has them) or random tokens are run
    through the model. The weights of the model stay beside those of FP8.

    Raises `ValueError` where a part of the model is in training mode (our ops have no gradients yet), or is patched
    already, and `DeviceError` where kernels cannot run on its device.
    """
    if precision == "fp8" and rounding != "once":
        raise ValueError(f'rounding="{rounding}" replaces no products, and precision="fp8" does: choose one of them')
    training = [name or type(module).__name__ for name, module in model.named_modules() if module.training]
    if training:
        raise ValueError(f"{training[0]} is in training mode, and ops of fusec have no gradients yet: model.eval()")
    if any(is_patched(module) for module in model.modules()):
        raise ValueError("this model is patched already: fusec.unpatch(model) first")
    found = Search(model, fuse, rounding, precision == "fp8").found()
    errors = _errors(model, found, samples) if precision == "fp8" else None
    for module, stand, _ in found:
        if stand is not None and not dry_run:
            put_in(module, stand)
            _prepare(stand)
    return Report(tuple(entry for _, _, entry in found), dry_run, errors)


def _errors(model: nn.Module, found: list[Found], samples: Any) -> Conversion:
    """What FP8 costs each linear layer that is to be multiplied in it."""
    stands = [stand for _, stand, _ in found if isinstance(stand, Fp8Layer | Fp8Mlp)]
    chosen = {layer for stand in stands for each in stand.quantised for layer in each.stacked.layers}
    if samples is None:
        tokens = torch.arange(64).view(2, 32) * 7919 % model.get_input_embeddings().num_embeddings  # type: ignore[operator]
        samples = {"input_ids": tokens.to(next(model.parameters()).device)}
    return convert(model, ops.FP8Linear, lambda _, layer: layer in chosen, samples=samples, dry_run=True)


def _prepare(stand: Stand) -> None:
    """Make now what calls read, and not in the first call, which may be traced or captured."""
    if isinstance(stand, FusedLayer):
        stand.layer.attention.projection.both()
    if isinstance(stand, Fp8Layer | Fp8Mlp):
        for each in stand.quantised:
            each.values()


def unpatch(model: nn.Module) -> int:
    """Give all modules of a patched model their own computation back; returns how many there were."""
    patched = [module for module in model.modules() if is_patched(module)]
    for module in patched:
        take_out(module)
    return len(patched)
