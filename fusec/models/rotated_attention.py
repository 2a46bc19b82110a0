"""What stands in for the forward of attention where every bit is to be the model's: its own, with one op that rotates.

A model rounds each product of a rotation, and so does the op. Sums are what else has bits of its own, those of products
and norms among them, and all of these stay the module's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from torch import Tensor, nn

from fusec import ops
from fusec.models.fused import no_training
from fusec.models.rotation import Tables

ROTATION = "apply_rotary_pos_emb"
"""The function that attention of Hugging Face rotates by."""


@dataclass(slots=True)
class RotatedAttention:
    """Attention whose q and k are rotated in one launch."""

    module: nn.Module
    name: str = ""
    _own: Callable[..., Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._own = _rotating(inspect.unwrap(type(self.module).forward))

    def __reduce__(self) -> tuple[type[RotatedAttention], tuple[nn.Module, str]]:
        """The module alone: the function is made again."""
        return RotatedAttention, (self.module, self.name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the module's own."""
        no_training(self.module, self.name)
        return self._own(self.module, *args, **kwargs)


def rotates(module: nn.Module) -> bool:
    """Whether a module is attention that rotates by the function that is known."""
    forward = inspect.unwrap(type(module).forward)
    return isinstance(forward, FunctionType) and ROTATION in forward.__code__.co_names


def _rotating(forward: FunctionType) -> Callable[..., Any]:
    """The same function, to which another one goes by the name of the rotation."""
    names = {**forward.__globals__, ROTATION: rotated_as_models_do}
    made = FunctionType(forward.__code__, names, forward.__name__, forward.__defaults__, forward.__closure__)
    made.__kwdefaults__ = forward.__kwdefaults__
    return made


def rotated_as_models_do(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """q and k, [B, heads, S, D], rotated."""
    batch, tables = q.shape[0], Tables(cos, sin)
    q, k = (tables.joined(each.transpose(1, 2)) for each in (q, k))
    found = ops.rope_qk_rounded(q, k, tables.cos, tables.sin)
    q, k = (tables.parted(each, batch).transpose(1, 2) for each in found)
    return q, k
