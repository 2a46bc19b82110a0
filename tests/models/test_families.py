"""Families of models, none of which `fusec.patch` knows by name: what is taken of each, and what it computes."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch

pytest.importorskip("transformers")

from small_models import generated, logits, model_of

import fusec

TAKEN = {
    "Llama": {"DecoderLayer": 2, "RMSNorm": 1},
    "Mistral": {"DecoderLayer": 2, "RMSNorm": 1},
    "Qwen2": {"DecoderLayer": 2, "RMSNorm": 1},
    "Qwen3": {"DecoderLayer": 2, "RMSNorm": 1},
    "Phi3": {"DecoderLayer": 2, "RMSNorm": 1},
    "Gemma": {"DecoderLayer": 2, "RMSNorm": 1},
    "Gemma2": {"DecoderLayer": 2, "RMSNorm": 1},
    "Gemma3Text": {"DecoderLayer": 2, "RMSNorm": 1},
    "Olmo2": {"DecoderLayer": 2, "RMSNorm": 1},
    "Cohere": {"DecoderLayer": 2, "LayerNorm": 1},
    "Mixtral": {"DecoderLayer": 2, "RMSNorm": 1},
    "Qwen2Moe": {"DecoderLayer": 2, "MLP": 2, "RMSNorm": 1},
    "Qwen3Moe": {"DecoderLayer": 2, "RMSNorm": 1},
    "Glm": {"DecoderLayer": 2, "RMSNorm": 1},
    "Glm4": {"DecoderLayer": 2, "RMSNorm": 1},
}
"""How many modules of which class are taken; of the layers of mixtures of experts, all but the experts."""


@pytest.mark.parametrize("family", TAKEN)
def test_a_family_computes_the_same(family: str, device: torch.device) -> None:
    model = model_of(family, torch.float32, device)
    before, tokens = logits(model), generated(model)
    report = fusec.patch(model)
    assert Counter(entry.kind.split(family.removesuffix("Text"))[-1] for entry in report.patched) == TAKEN[family]
    assert report.after < report.before
    torch.testing.assert_close(logits(model), before, rtol=1e-5, atol=1e-5)
    assert torch.equal(generated(model), tokens)
    assert fusec.unpatch(model) == len(report.patched)
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize(
    ("family", "dtype"), [("Llama", torch.bfloat16), ("Gemma2", torch.bfloat16), ("Cohere", torch.float16)]
)
def test_logits_are_as_near_those_of_f32_as_the_model_s_own(
    family: str, dtype: torch.dtype, device: torch.device
) -> None:
    model = model_of(family, dtype, device)
    truth, before = logits(copy.deepcopy(model).float()), logits(model)
    fusec.patch(model)
    off, own = ((found.float() - truth).norm() / truth.norm() for found in (logits(model), before))
    assert off <= 1.5 * own
