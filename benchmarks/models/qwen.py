"""Qwen2.5-7B: `python -m benchmarks.models.qwen --out qwen.json`."""

from __future__ import annotations

from typing import Any

from transformers import Qwen2Config

from benchmarks.models.run import main


def config(**sizes: Any) -> Qwen2Config:
    """28 layers of 3584, 28 heads and 4 of keys and values, biases at q, k and v."""
    known = {
        **{"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "vocab_size": 152064},
        **{"num_attention_heads": 28, "num_key_value_heads": 4, "max_position_embeddings": 32768},
    }
    return Qwen2Config(**{**known, **sizes}, tie_word_embeddings=False)


if __name__ == "__main__":
    main("Qwen2.5-7B", "benchmarks.models.qwen", config)
