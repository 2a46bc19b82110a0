"""What a function of anybody allocates through PyTorch, poisoned and set between guard bands where that can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

from fusec.testing.buffers import POISON, Guarded, guarded

LARGEST = 2**26
"""Bytes of an allocation that is still guarded: larger ones are scratch memory of whoever tunes or times."""

SCRATCH = 2**28
"""Bytes of a block that is poisoned and given back before a call: what C++ code allocates comes out of it."""

_MAKERS = (
    (torch, "empty"),
    (torch, "empty_like"),
    (torch, "empty_strided"),
    (torch.Tensor, "new_empty"),
    (torch.Tensor, "new_empty_strided"),
)


@contextmanager
def guarded_torch(device: torch.device) -> Iterator[list[Guarded]]:
    """While entered, what Python code allocates uninitialised is poisoned and guarded. Yields it as it comes."""
    made: list[Guarded] = []
    if device.type == "cuda":
        poison_free_memory(device)
    with ExitStack() as patches:
        for place, name in _MAKERS:
            patches.enter_context(mock.patch.object(place, name, _guarding(getattr(place, name), made)))
        yield made


def poison_free_memory(device: torch.device) -> None:
    """Fill a block of the caching allocator with NaN and free it: what is allocated next holds that."""
    torch.full((SCRATCH,), POISON, dtype=torch.uint8, device=device)


def _guarding(make: Callable[..., torch.Tensor], made: list[Guarded]) -> Callable[..., torch.Tensor]:
    def maker(*arguments: Any, **named: Any) -> torch.Tensor:
        plain = make(*arguments, **named)
        # What is compiled allocates as it was compiled, and a guard made of `torch.full` calls none of these.
        if torch.compiler.is_compiling() or not _can_be_guarded(plain):
            return plain
        name = f"allocation {len(made) + 1}"
        held = guarded(name, plain.shape, plain.stride(), plain.dtype, device=plain.device)
        made.append(held)
        return held.tensor.requires_grad_(plain.requires_grad)

    return maker


def _can_be_guarded(tensor: torch.Tensor) -> bool:
    return (
        type(tensor) is torch.Tensor
        and tensor.layout is torch.strided
        and tensor.device.type in ("cpu", "cuda")
        and 0 < tensor.numel() * tensor.element_size() <= LARGEST
        and not tensor.is_quantized
        and not tensor.is_pinned()
    )
