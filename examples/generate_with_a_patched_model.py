"""Generate with a checkpoint on disk, patched, in 16 bits or in FP8.

python examples/generate_with_a_patched_model.py PATH --prompt "Once upon a time" [--fp8]   # on a GPU
TRITON_INTERPRET=1 python examples/generate_with_a_patched_model.py   # a random one of its own, in the interpreter
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

import fusec


def small_checkpoint(folder: Path) -> Path:
    """A checkpoint of random weights, for want of another one. It has no tokenizer."""
    config = LlamaConfig(
        **{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 256},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16},
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@torch.no_grad()
def generate(path: Path, prompt: str, tokens: int, fp8: bool) -> None:
    """Patch the model of a folder, and let it go on from the prompt."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).to(device).eval()
    print(fusec.patch(model, precision="fp8" if fp8 else "model"))
    tokenizer = AutoTokenizer.from_pretrained(path) if list(path.glob("tokenizer*")) else None
    ids = tokenizer(prompt, return_tensors="pt").input_ids if tokenizer else torch.tensor([list(prompt.encode())])
    start = time.perf_counter()
    found = model.generate(ids.to(device), max_new_tokens=tokens, do_sample=False)[0, ids.shape[1] :]
    seconds = time.perf_counter() - start
    print(tokenizer.decode(found) if tokenizer else found.tolist())
    print(f"{len(found) / seconds:.1f} tokens a second, with the compilation of kernels in it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, help="a folder with config.json and weights")
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--fp8", action="store_true")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = asked.path or small_checkpoint(Path(folder))
        generate(path, asked.prompt, asked.tokens, asked.fp8)


if __name__ == "__main__":
    main()
