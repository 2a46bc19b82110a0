"""Models patched in FP8: as far from f32 as the same layers converted one by one, with a table that says how far."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from small_models import logits, model_of

import fusec
from fusec.ops import FP8Linear


@pytest.mark.parametrize(("family", "layers"), [("Llama", 14), ("Gemma2", 10), ("Phi3", 8)])
def test_it_is_as_near_as_layers_of_fp8_and_can_be_undone(family: str, layers: int, device: torch.device) -> None:
    """The activation of Gemma 2 is none that a gated product of FP8 has: that stays in 16 bits."""
    model = model_of(family, torch.bfloat16, device)
    truth, before = logits(copy.deepcopy(model).float()), logits(model)
    alone = copy.deepcopy(model)
    fusec.convert(alone, FP8Linear, lambda name, _: name != "lm_head")
    report = fusec.patch(model, precision="fp8")
    off, own = ((found.float() - truth).norm() / truth.norm() for found in (logits(model), logits(alone)))
    assert off <= 1.5 * own
    assert report.errors is not None
    assert len(report.errors.converted) == layers
    assert all(0.01 < (layer.error or 0) < 0.05 for layer in report.errors.converted)
    assert f"{layers} linear layers in FP8" in str(report)
    fusec.unpatch(model)
    assert torch.equal(logits(model), before)


def test_weights_are_those_of_now(device: torch.device) -> None:
    model = model_of("Llama", torch.bfloat16, device, num_hidden_layers=1)
    fusec.patch(model, precision="fp8")
    before = logits(model)
    with torch.no_grad():
        for name in ("self_attn.o_proj", "mlp.up_proj", "self_attn.k_proj"):
            model.model.layers[0].get_submodule(name).weight.mul_(-1.5)
    changed = logits(model)
    fusec.unpatch(model)
    fusec.patch(model, precision="fp8")
    assert torch.equal(logits(model), changed)
    assert not torch.equal(changed, before)


def test_f32_is_told_to_stay(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device, num_hidden_layers=1)
    report = fusec.patch(model, precision="fp8", dry_run=True)
    assert [entry.left.partition(":")[0] for entry in report.left] == ["not in FP8"]
    assert "no linear layer is of FP8" in str(report)


@pytest.mark.parametrize("rounding", ["model", "bits"])
def test_rounding_as_the_model_does_is_for_no_products(rounding: Any, device: torch.device) -> None:
    model = model_of("Llama", torch.bfloat16, device, num_hidden_layers=1)
    with pytest.raises(ValueError, match="choose one of them"):
        fusec.patch(model, precision="fp8", rounding=rounding)
