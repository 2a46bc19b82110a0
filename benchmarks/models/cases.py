"""What is asked of a model: a prompt of so many tokens, or a token for each of so many sequences behind 1024 others."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Case:
    """`prefill`, a prompt of `size` tokens, or `decode`, a token for each of `size` sequences."""

    kind: str
    size: int
    behind: int = 1024

    @property
    def name(self) -> str:
        return f"{self.kind} {self.size}"


CASES = (
    *(Case("decode", batch) for batch in (1, 16)),
    *(Case("prefill", length) for length in (128, 256, 512, 1024, 2048)),
)

TINY = (Case("decode", 2, behind=8), Case("prefill", 8))
"""For a trial without a GPU."""


class KeptCache:
    """Keys and values of tokens before, and room for one: each step writes the same place, so that steps are alike.

    It is written in place, as a static cache of Hugging Face is, and a CUDA graph may replay it.
    """

    is_compileable = False

    def __init__(self, layers: int, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        self.keys = [torch.randn(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.randn(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.last = torch.tensor([shape[2] - 1], device=device)
        self.length = shape[2]
        self.is_sliding = [False] * layers

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the newest token, and return all."""
        keys, values = self.keys[layer], self.values[layer]
        keys.index_copy_(2, self.last, key)
        values.index_copy_(2, self.last, value)
        return keys, values

    def get_seq_length(self, _: int = 0) -> int:
        """How many tokens were there before."""
        return self.length - 1


def arguments(case: Case, model: Any) -> Mapping[str, Any]:
    """What the model is called with; the same in every call, whoever computes."""
    config, device, dtype = model.config, model.device, model.dtype
    torch.manual_seed(case.size)
    if case.kind == "prefill":
        tokens = torch.randint(0, config.vocab_size, (1, case.size), device=device)
        positions = torch.arange(case.size, device=device)[None]
        return {"input_ids": tokens, "position_ids": positions, "use_cache": False, "logits_to_keep": 1}
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    shape = (case.size, config.num_key_value_heads, case.behind + 1, head)
    cache = KeptCache(config.num_hidden_layers, shape, dtype, device)
    names = inspect.signature(model.model.forward).parameters
    return {
        "input_ids": torch.randint(0, config.vocab_size, (case.size, 1), device=device),
        "position_ids": torch.full((1, 1), case.behind, device=device),
        "use_cache": True,
        "cache" if "cache" in names else "past_key_values": cache,
    }
