"""What the `torch.nn.Module` classes of generated files are made of."""

from __future__ import annotations

import torch


def parameter(
    *shape: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> torch.nn.Parameter:
    """A parameter that is yet to be filled. It asks for a gradient if it holds reals."""
    values = torch.empty(shape, device=device, dtype=dtype)
    return torch.nn.Parameter(values, requires_grad=values.is_floating_point())


def spread(weight: torch.nn.Parameter, inputs: int) -> None:
    """Fill a matrix with `inputs` terms to each sum as `torch.nn.Linear` does: uniform within 1 / sqrt(inputs) of 0."""
    bound = inputs**-0.5
    with torch.no_grad():
        if weight.itemsize > 1:
            weight.uniform_(-bound, bound)
        else:  # PyTorch draws no numbers of 8 bits
            weight.copy_(torch.empty_like(weight, dtype=torch.float32).uniform_(-bound, bound))
