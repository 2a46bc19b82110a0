"""Llama-3.1-8B: `python -m benchmarks.models.llama --out llama.json`."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig

from benchmarks.models.run import main


def config(**sizes: Any) -> LlamaConfig:
    """32 layers of 4096, 32 heads and 8 of keys and values."""
    known = {
        **{"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "vocab_size": 128256},
        **{"num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32768},
    }
    return LlamaConfig(**{**known, **sizes}, tie_word_embeddings=False)


if __name__ == "__main__":
    main("Llama-3.1-8B", "benchmarks.models.llama", config)
