"""Whether what is to stand in for a module computes the same: a copy of it with random weights says so.

The original in f32 is the truth. In its own dtype the original is off by so much, and what stands in for it may be off
by twice as much, and a few units of roundoff: the order of sums is another, and values are rounded at other places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

BATCH, LENGTH, FIRST = 2, 6, 3
"""The calls of a trial: so many sequences and tokens, of which the second sequence begins at a later position."""

Build = Callable[[nn.Module], Any]
"""From a module what is to stand in for it, or None."""


def fault_of(module: nn.Module, build: Build, width: int) -> str | None:
    """What is wrong with a stand-in for a module of one argument [..., width]; None where nothing is."""
    copy, wide = _copies(module)
    fused = build(copy)
    x = _random((BATCH, LENGTH, width), _dtype(copy), _device(copy), 1)
    with torch.no_grad():
        truth = _forward(wide)(x.float())
        return _compared(truth, _forward(copy)(x), fused.forward(x))


def fault_of_layer(module: nn.Module, build: Build, width: int, rotary: Callable[..., Any], cache: str) -> str | None:
    """The same of a decoder layer: a prompt of two sequences behind a mask, and a token behind it, through a cache."""
    copy, wide = _copies(module)
    fused = build(copy)
    dtype, device = _dtype(copy), _device(copy)
    x = _random((BATCH, LENGTH + 1, width), dtype, device, 2)
    positions = torch.arange(LENGTH + 1, device=device) + torch.tensor([[0], [FIRST]], device=device)
    runs: dict[str, list[Tensor]] = {}
    forwards = {"truth": _forward(wide), "original": _forward(copy), "fused": fused.forward}
    with torch.no_grad():
        for name, forward in forwards.items():
            kept = import_module("transformers").DynamicCache()
            own = x.float() if name == "truth" else x
            found = []
            for tokens in (slice(0, LENGTH), slice(LENGTH, LENGTH + 1)):
                part, places = own[:, tokens], positions[:, tokens]
                arguments = {
                    "attention_mask": _mask(part, tokens),
                    "position_ids": places,
                    "position_embeddings": rotary(part, places),
                    "use_cache": True,
                    cache: kept,
                }
                result = forward(part, **arguments)
                if not isinstance(result, Tensor):
                    return f"gives a {type(result).__name__}, where a tensor is known"
                found.append(result)
            runs[name] = found
        faults = (_compared(*each) for each in zip(runs["truth"], runs["original"], runs["fused"], strict=True))
        return next((fault for fault in faults if fault), None)


def _compared(truth: Tensor, original: Tensor, fused: Tensor) -> str | None:
    if (fused.shape, fused.dtype) != (original.shape, original.dtype):
        return f"gives {tuple(fused.shape)} {fused.dtype}, not {tuple(original.shape)} {original.dtype}"
    size = truth.norm()
    off, allowed = (fused.float() - truth).norm(), 2 * (original.float() - truth).norm()
    allowed += 32 * torch.finfo(original.dtype).eps * size if original.dtype == torch.float32 else 0
    if bool(off <= allowed):
        return None
    return f"computes something else: {off / size:.2g} off, where {allowed / size:.2g} is rounding"


def _mask(x: Tensor, tokens: slice) -> Tensor:
    """A causal mask in front of which the second sequence has a token of padding."""
    seen = torch.arange(tokens.stop, device=x.device)
    causal = seen[None, :] <= torch.arange(tokens.start, tokens.stop, device=x.device)[:, None]
    own = causal.expand(BATCH, 1, -1, -1).clone()
    own[1, :, 1:, 0] = False
    return torch.zeros(own.shape, dtype=x.dtype, device=x.device).masked_fill(~own, torch.finfo(x.dtype).min)


def _copies(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The module with random weights, and the same in f32; both attend in plain PyTorch, which knows every dtype."""
    with _without_hook(module):
        copy = deepcopy(module)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for param in copy.parameters():
            spread = 0.2 if param.ndim < 2 else param.shape[-1] ** -0.5
            values = torch.randn(param.shape, generator=generator) * spread
            param.copy_(values + 1.0 if param.ndim < 2 else values)
    configs: list[Any] = [getattr(each, "config", None) for each in copy.modules()]
    for config in configs:
        if hasattr(config, "_attn_implementation"):
            config._attn_implementation = "eager"
    copy.eval()
    return copy, deepcopy(copy).float()


@contextmanager
def _without_hook(module: nn.Module) -> Iterator[None]:
    """A copy of a module takes its weights and not the hooks of `accelerate`, which are of that module alone."""
    hooked = [(each, name) for each in module.modules() for name in ("_hf_hook", "_old_forward", "forward")]
    taken = [(each, name, vars(each).pop(name)) for each, name in hooked if name in vars(each)]
    try:
        yield
    finally:
        for each, name, value in taken:
            vars(each)[name] = value


def _forward(module: nn.Module) -> Callable[..., Any]:
    forward: Callable[..., Any] = type(module).forward.__get__(module)
    return forward


def _random(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device, dtype)


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
