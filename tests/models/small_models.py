"""Small random models of Hugging Face, and what tests ask of them."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 128,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

EXPERTS = {
    **{"num_experts": 4, "num_experts_per_tok": 2, "num_local_experts": 4, "decoder_sparse_step": 1},
    **{"moe_intermediate_size": 32, "shared_expert_intermediate_size": 32},
}

PROMPT = torch.randint(3, 128, (2, 9), generator=torch.Generator().manual_seed(0))


def model_of(family: str, dtype: torch.dtype, device: torch.device, **config: Any) -> Any:
    """A model of a family whose weights, gains and biases are random."""
    torch.manual_seed(0)
    experts = EXPERTS if "Moe" in family or family == "Mixtral" else {}
    known = getattr(transformers, f"{family}Config")(**{**SMALL, **experts, **config})
    model = transformers.AutoModelForCausalLM.from_config(known)
    for param in model.parameters():
        param.data += torch.randn_like(param) * 0.05
    return model.to(device, dtype).eval()


@torch.no_grad()
def logits(model: Any, **arguments: Any) -> Tensor:
    """Of the prompt."""
    result: Tensor = model(PROMPT.to(model.device), **arguments).logits
    return result


@torch.no_grad()
def generated(model: Any, **arguments: Any) -> Tensor:
    """The prompt and some tokens behind it, each the likeliest."""
    found: Tensor = model.generate(PROMPT.to(model.device), max_new_tokens=4, do_sample=False, **arguments)
    return found
