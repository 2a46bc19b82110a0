"""Where a stand-in is put into a module, and how it is taken out: beneath the hooks that stand around modules."""

from __future__ import annotations

from types import MethodType
from typing import Any

from torch import nn

from fusec.models.fused import FusedMlp, FusedNorm
from fusec.models.fused_layer import FusedLayer
from fusec.models.rotated_attention import RotatedAttention

Stand = FusedNorm | FusedMlp | FusedLayer | RotatedAttention

HOOKED = "_old_forward"
"""Where `accelerate` keeps the forward that its hook stands around."""

KEPT = "_fusec_before"
"""Where a module keeps what stood in its place of `forward`."""


def put_in(module: nn.Module, stand: Stand) -> None:
    """Let a module be computed by what stands in for it. Hooks of `accelerate` stay around it."""
    place = HOOKED if HOOKED in vars(module) else "forward"
    vars(module)[KEPT] = vars(module).get(place)
    vars(module)[place] = stand.forward


def take_out(module: nn.Module) -> None:
    """Give a module its own forward back, wherever it stands by now: hooks may have come since."""
    before = vars(module).pop(KEPT)
    for place in (HOOKED, "forward"):
        if isinstance(getattr(vars(module).get(place), "__self__", None), Stand):
            if place == HOOKED or before is not None:
                vars(module)[place] = before or own_forward(module)
            else:
                del vars(module)[place]


def is_patched(module: nn.Module) -> bool:
    """Whether something stands in for a module."""
    return KEPT in vars(module)


def own_forward(module: nn.Module) -> Any:
    """The forward that a module has by its class."""
    return MethodType(type(module).forward, module)
