"""Swap the norms of a transformer block for a generated op; the rest of the model stays as it is.

python examples/norms_of_a_block.py                      # on a GPU
TRITON_INTERPRET=1 python examples/norms_of_a_block.py   # without one, in Triton's interpreter
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from generated import rmsnorm


class Block(nn.Module):
    """Attention and a gated MLP, each behind a norm, as in Llama."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width, eps=1e-6)
        self.mlp_norm = nn.RMSNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, 2 * width, bias=False)
        self.up = nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).chunk(3, -1)
        )
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        normed = self.mlp_norm(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))


class FusedRMSNorm(nn.Module):
    """`nn.RMSNorm` over the last axis, with the same parameter, computed by the generated kernel."""

    def __init__(self, norm: nn.RMSNorm) -> None:
        super().__init__()
        self.weight = norm.weight
        self.eps = torch.finfo(norm.weight.dtype).eps if norm.eps is None else norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return rmsnorm(x, self.weight, self.eps)


def swap_norms(model: nn.Module) -> int:
    """Replace every `nn.RMSNorm` over one axis that `model` holds; returns how many there were."""
    count = 0
    for name, child in list(model.named_children()):
        if isinstance(child, nn.RMSNorm) and len(child.normalized_shape) == 1 and child.weight is not None:
            setattr(model, name, FusedRMSNorm(child))
            count += 1
        else:
            count += swap_norms(child)
    return count


@torch.no_grad()
def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = nn.Sequential(Block(64, heads=4), Block(64, heads=4)).to(device)
    x = torch.randn(2, 8, 64, device=device)
    before = model(x)
    swapped = swap_norms(model)
    torch.testing.assert_close(model(x), before)
    print(f"{swapped} norms swapped, same result")


if __name__ == "__main__":
    main()
