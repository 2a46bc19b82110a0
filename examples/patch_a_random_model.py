"""Patch a small model of random weights: what is replaced, that it computes the same, and back again.

python examples/patch_a_random_model.py                      # on a GPU
TRITON_INTERPRET=1 python examples/patch_a_random_model.py   # without one, in Triton's interpreter
"""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, Qwen3Config

import fusec


@torch.no_grad()
def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    config = Qwen3Config(
        **{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 256},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16},
    )
    model = AutoModelForCausalLM.from_config(config).to(device).eval()
    prompt = torch.randint(0, 256, (1, 8), device=device)
    before = model(prompt).logits

    print(fusec.patch(model))  # in place; weights are shared

    after = model(prompt).logits
    print(f"logits differ by {(after - before).norm() / before.norm():.1e}")
    print("tokens:", model.generate(prompt, max_new_tokens=4, do_sample=False)[0, 8:].tolist())
    fusec.unpatch(model)
    assert torch.equal(model(prompt).logits, before)


if __name__ == "__main__":
    main()
