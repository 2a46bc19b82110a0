"""What the `torch.nn.Module` classes of generated files are made of."""

from __future__ import annotations

from typing import Any

import torch


class OpModule(torch.nn.Module):
    """A module that owns the `weight` arguments of an op as parameters, under the names the spec gives them.

    `settings` are the constructor's own arguments; they become attributes and appear in the repr.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._settings = tuple(settings)
        for name, value in settings.items():
            setattr(self, name, value)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._settings)


def gain(*shape: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> torch.nn.Parameter:
    """A parameter that scales, all ones at first."""
    return torch.nn.Parameter(torch.ones(shape, device=device, dtype=dtype))


def shift(
    *shape: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> torch.nn.Parameter:
    """A parameter that is added, all zeros at first."""
    return torch.nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))
