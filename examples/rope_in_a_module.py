"""A generated module in a module of one's own: RMSNorm and rotary embedding of all heads in one kernel.

python examples/rope_in_a_module.py                      # on a GPU
TRITON_INTERPRET=1 python examples/rope_in_a_module.py   # without one, in Triton's interpreter
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from generated import FusedRMSNormRoPE


class NormedRotation(nn.Module):
    """RMSNorm over the hidden axis, then rotary embedding of every head.

    Maps x [batch, tokens, heads * size] to the same shape. The tables for up to `tokens` positions are buffers.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, heads: int, size: int, tokens: int, base: float = 10000.0) -> None:
        super().__init__()
        self.rotate = FusedRMSNormRoPE(heads * size, size)
        frequencies = base ** (-torch.arange(0, size, 2) / size)
        angles = torch.outer(torch.arange(tokens), frequencies).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.shape[1]
        return self.rotate(x, self.cos[:tokens], self.sin[:tokens])

    def in_plain_torch(self, x: Tensor) -> Tensor:
        """The same, one operation at a time."""
        weight = self.rotate.weight
        normed = nn.functional.rms_norm(x, weight.shape, weight, self.rotate.eps)
        cos, sin = self.cos[: x.shape[1], None], self.sin[: x.shape[1], None]
        first, second = normed.unflatten(-1, (-1, self.rotate.head_dim)).chunk(2, -1)
        return (torch.cat((first, second), -1) * cos + torch.cat((-second, first), -1) * sin).flatten(-2)


@torch.no_grad()
def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = NormedRotation(heads=4, size=16, tokens=32).to(device)
    x = torch.randn(2, 8, 64, device=device)
    torch.testing.assert_close(module(x), module.in_plain_torch(x))
    print(f"one kernel for {tuple(x.shape)}, same result as plain PyTorch")


if __name__ == "__main__":
    main()
