"""A module around a generated op: RMSNorm and rotary embedding of all heads in one kernel.

python examples/rope_in_a_module.py                      # on a GPU
TRITON_INTERPRET=1 python examples/rope_in_a_module.py   # without one, in Triton's interpreter
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from generated import fused_rmsnorm_rope


class NormedRotation(nn.Module):
    """RMSNorm over the hidden axis, then rotary embedding of every head.

    Maps x [batch, tokens, heads * size] to the same shape. The tables for up to `tokens` positions are buffers.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, heads: int, size: int, tokens: int, base: float = 10000.0) -> None:
        super().__init__()
        self.heads = heads
        self.weight = nn.Parameter(torch.ones(heads * size))
        frequencies = base ** (-torch.arange(0, size, 2) / size)
        angles = torch.outer(torch.arange(tokens), frequencies).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.shape[1]
        return fused_rmsnorm_rope(x, self.weight, self.cos[:tokens], self.sin[:tokens], num_heads=self.heads)

    def in_plain_torch(self, x: Tensor) -> Tensor:
        """The same, one operation at a time."""
        normed = nn.functional.rms_norm(x, self.weight.shape, self.weight, 1e-6).unflatten(-1, (self.heads, -1))
        cos, sin = self.cos[: x.shape[1], None], self.sin[: x.shape[1], None]
        first, second = normed.chunk(2, -1)
        return (normed * cos + torch.cat((-second, first), -1) * sin).flatten(-2)


@torch.no_grad()
def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = NormedRotation(heads=4, size=16, tokens=32).to(device)
    x = torch.randn(2, 8, 64, device=device)
    torch.testing.assert_close(module(x), module.in_plain_torch(x))
    print(f"one kernel for {tuple(x.shape)}, same result as plain PyTorch")


if __name__ == "__main__":
    main()
