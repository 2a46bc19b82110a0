"""Linear layers of a model in FP8: what it would cost, the conversion, and a checkpoint of quantised weights alone.

python examples/quantise_a_model.py                      # on a GPU
TRITON_INTERPRET=1 python examples/quantise_a_model.py   # without one, in Triton's interpreter
"""

from __future__ import annotations

import copy
import io

import torch
from torch import Tensor, nn

import fusec
from generated import FP8Linear


class Model(nn.Module):
    """An embedding, two layers, and a head that has the weight of the embedding."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        return self.head(x + self.mlp(x))


@torch.no_grad()
def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Model(words=64, width=32).to(device).bfloat16()
    tokens = torch.randint(0, 64, (2, 8), device=device)
    before = model(tokens)

    print(fusec.convert(model, FP8Linear, samples=tokens, dry_run=True, drop_master=True), "\n")
    fusec.convert(model, FP8Linear, drop_master=True)
    after = model(tokens)
    print(f"the logits differ by {((after - before).norm() / before.norm()).item():.1%} of their length")

    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    loaded = copy.deepcopy(model)
    loaded.load_state_dict(torch.load(file))
    assert torch.equal(loaded(tokens), after)
    kept = {name: str(value.dtype).removeprefix("torch.") for name, value in model.mlp[0].state_dict().items()}
    print(f"a checkpoint has {kept} of a layer, and loads")


if __name__ == "__main__":
    main()
