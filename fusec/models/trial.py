"""Whether what is to stand in for a module computes the same: a copy of it with random weights says so.

The original in f32 is the truth. In its own dtype the original is off by so much, and what stands in for it may be off
by twice as much, and a few units of roundoff: the order of sums is another, and values are rounded at other places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from fusec.models.launches import Launches

BATCH, LENGTH, FIRST = 2, 6, 3
"""The calls of a trial: so many sequences and tokens, of which the second sequence begins at a later position."""

Build = Callable[[nn.Module], Any]
"""From a module what is to stand in for it."""

Change = Callable[[nn.Module], nn.Module]
"""From a copy of a module one whose error is what is allowed: of fewer bits, say."""


def unchanged(copy: nn.Module) -> nn.Module:
    """The module, whose own rounding is what is allowed."""
    return copy


@dataclass(frozen=True, slots=True)
class Trial:
    """What is wrong with a stand-in, or nothing; our ops, and launches for one token before and after.

    A `note` says what was asked for and is not done. So large a part of the values is `different` from the original's.
    """

    fault: str = ""
    before: int = 0
    after: int = 0
    ops: tuple[str, ...] = ()
    note: str = ""
    different: float = 0.0


def trial_of(module: nn.Module, build: Build, width: int, change: Change = unchanged) -> Trial:
    """Try a stand-in for a module of one argument [..., width]."""
    with _tried(module) as (copy, wide), torch.no_grad():
        x = _random((BATCH, LENGTH, width), _dtype(copy), _device(copy), 1)
        stand, own = build(copy), _forward(copy)
        before, after = _forward(change(copy))(x), stand.forward(x)
        if fault := _compared(_forward(wide)(x.float()), before, after):
            return Trial(fault)
        trial = _counted(lambda: own(x[:1, :1]), lambda: stand.forward(x[:1, :1]))
        return replace(trial, different=float((before != after).float().mean()))


def trial_of_layer(
    module: nn.Module,
    build: Build,
    width: int,
    rotary: Callable[..., Any],
    cache: str,
    change: Change = unchanged,
    same_bits: bool = False,
) -> Trial:
    """The same of a decoder layer: a prompt of two sequences behind a mask, a token behind it, and a token alone.

    A stand-in for attention alone, which gives its weights beside what it makes, may be asked for the same bits.
    """
    with _tried(module) as (copy, wide), torch.no_grad():
        dtype, device = _dtype(copy), _device(copy)
        x = _random((BATCH, LENGTH + 1, width), dtype, device, 2)
        positions = torch.arange(LENGTH + 1, device=device) + torch.tensor([[0], [FIRST]], device=device)
        stand, own = build(copy), _forward(copy)
        runs = []
        for forward, given in ((_forward(wide), x.float()), (_forward(change(copy)), x), (stand.forward, x)):
            both = _Through(forward, given, positions, rotary, cache)
            alone = _Through(forward, given[:1], positions[:1], rotary, cache)
            found = [both(slice(0, LENGTH)), both(slice(LENGTH, LENGTH + 1)), alone(slice(0, 1))]
            runs.append([each[0] if same_bits else each for each in found])
        if odd := next((found for run in runs for found in run if not isinstance(found, Tensor)), None):
            return Trial(f"gives a {type(odd).__name__}, where a tensor is known")
        compared = _compared_bits if same_bits else _compared
        if fault := next(filter(None, map(compared, *runs)), ""):
            return Trial(fault)
        calls = [_Through(forward, x[:1], positions[:1], rotary, cache) for forward in (own, stand.forward)]
        return _counted(*(call.prepared(slice(0, 1)) for call in calls))


@dataclass(slots=True)
class _Through:
    """Calls of a decoder layer on one token after another, through a cache of its own."""

    forward: Callable[..., Any]
    x: Tensor
    positions: Tensor
    rotary: Callable[..., Any]
    cache: str
    _kept: Any = None

    def __call__(self, tokens: slice) -> Any:
        return self.prepared(tokens)()

    def prepared(self, tokens: slice) -> Callable[[], Any]:
        """The call alone, its arguments made before."""
        self._kept = self._kept or import_module("transformers").DynamicCache()
        part, places = self.x[:, tokens], self.positions[:, tokens]
        arguments = {
            "attention_mask": _mask(part, tokens),
            "position_ids": places,
            "position_embeddings": self.rotary(part, places),
            "use_cache": True,
            self.cache: self._kept,
        }
        return partial(self.forward, part, **arguments)


def _counted(before: Callable[[], Any], after: Callable[[], Any]) -> Trial:
    counts = []
    for call in (before, after):
        with Launches() as found:
            call()
        counts.append(found)
    return Trial("", counts[0].count, counts[1].count, tuple(counts[1].ops))


def _compared(truth: Tensor, original: Tensor, fused: Tensor) -> str:
    if (fused.shape, fused.dtype) != (original.shape, original.dtype):
        return f"gives {tuple(fused.shape)} {fused.dtype}, not {tuple(original.shape)} {original.dtype}"
    size = truth.norm()
    off, allowed = (fused.float() - truth).norm(), 2 * (original.float() - truth).norm()
    allowed += 32 * torch.finfo(original.dtype).eps * size if original.dtype == torch.float32 else 0
    if bool(off <= allowed):
        return ""
    return f"computes something else: {off / size:.2g} off, where {allowed / size:.2g} is rounding"


def _compared_bits(_truth: Tensor, original: Tensor, fused: Tensor) -> str:
    if torch.equal(original, fused):
        return ""
    return f"rounds elsewhere: {float((original != fused).float().mean()):.2g} of the values are others"


def _mask(x: Tensor, tokens: slice) -> Tensor:
    """A causal mask in front of which the second sequence has a token of padding."""
    seen = torch.arange(tokens.stop, device=x.device)
    causal = seen[None, :] <= torch.arange(tokens.start, tokens.stop, device=x.device)[:, None]
    own = causal.expand(x.shape[0], 1, -1, -1).clone()
    own[1:, :, 1:, 0] = False
    return torch.zeros(own.shape, dtype=x.dtype, device=x.device).masked_fill(~own, torch.finfo(x.dtype).min)


@contextmanager
def _tried(module: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """The module with random weights, and the same in f32; both attend in plain PyTorch, which knows every dtype."""
    with _without_hooks(module):
        copy = deepcopy(module)
    with torch.no_grad():
        for param in copy.parameters():
            generator = torch.Generator(param.device).manual_seed(param.numel())
            values = torch.randn(param.shape, generator=generator, device=param.device)
            spread = 0.2 if param.ndim < 2 else param.shape[-1] ** -0.5
            param.copy_(values * spread + (1.0 if param.ndim < 2 else 0.0))
    configs: list[Any] = [getattr(each, "config", None) for each in copy.modules()]
    for config in configs:
        if hasattr(config, "_attn_implementation"):
            config._attn_implementation = "eager"
    copy.eval()
    yield copy, deepcopy(copy).float()


@contextmanager
def _without_hooks(module: nn.Module) -> Iterator[None]:
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
