"""Several linear layers as one product: their weights, one below the other in one buffer that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from fusec.runtime import weights_changed

_place: Any = Tensor.data_ptr
_version: Any = attrgetter("_version")


class Stacked:
    """Linear layers of one input, all of them with a bias or none.

    Their parameters become views of one buffer, so that nothing is held twice.
    Whatever moves them apart again, `model.to(...)` say, or gives one of them other storage, is seen at the next call.
    What `both` returned holds what was `written` last, an equal value for equal contents.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        self.layers = tuple(layers)
        self._forget()

    def _forget(self) -> None:
        names = ("weight", "bias") if self.layers[0].bias is not None else ("weight",)
        self._slots = [(layer._parameters, name) for name in names for layer in self.layers]
        self._places: list[int] = []
        self._counts = True
        self._versions: list[int] = []
        self.written: object = None
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The layers alone: a copy of the buffer would not be the buffer of the copies."""
        return {"layers": self.layers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.layers = state["layers"]
        self._forget()

    @property
    def widths(self) -> list[int]:
        """How many rows each of them has."""
        return [layer.weight.shape[0] for layer in self.layers]

    @property
    def inputs(self) -> int:
        """How many columns all of them have."""
        return self.layers[0].weight.shape[1]

    @property
    def has_bias(self) -> bool:
        """Whether they have biases."""
        return self.layers[0].bias is not None

    def both(self) -> tuple[Tensor, Tensor | None]:
        """The matrix of all of them, and their biases; None where they have none."""
        if torch.compiler.is_compiling():
            return self._traced()
        params: list[Any] = [held[name] for held, name in self._slots]
        is_moved = [*map(_place, params)] != self._places
        if is_moved:
            self._join(params)
        # Those made in inference mode count no writes.
        versions = [*map(_version, params)] if self._counts else []
        if is_moved or versions != self._versions:
            # The buffer does not know that a view of it was written to under another name.
            if self._versions and len(self.layers) > 1:
                weights_changed()
            self._versions = versions
            self.written = (*self._places, *versions)
        assert self._weight is not None
        return self._weight, self._bias

    def _join(self, params: Sequence[Tensor]) -> None:
        count = len(self.layers)
        self._weight, self._bias = _joined(params[:count]), _joined(params[count:]) if params[count:] else None
        self._places = [*map(_place, params)]
        self._counts = not any(param.is_inference() for param in params)

    def _traced(self) -> tuple[Tensor, Tensor | None]:
        """The same in a graph, where no address is known: the buffer, unless the layers are others by now."""
        first, weight = self.layers[0].weight, self._weight
        if len(self.layers) == 1:
            return first, self.layers[0].bias
        if weight is not None and weight.dtype == first.dtype and weight.device == first.device:
            return weight, self._bias
        joined = torch.cat([layer.weight for layer in self.layers])
        return joined, torch.cat([layer.bias for layer in self.layers]) if self.has_bias else None


def _joined(params: Sequence[Tensor]) -> Tensor:
    """One buffer of all of them, of which they become views; what was made in inference mode stays so."""
    if len(params) == 1:
        return params[0]
    with torch.inference_mode(params[0].is_inference()), torch.no_grad():
        if _are_joined(params):
            first = params[0].detach()
            rows = sum(param.shape[0] for param in params)
            return first.as_strided((rows, *first.shape[1:]), first.stride())
        buffer = torch.cat([param.detach() for param in params])
        start = 0
        for param in params:
            param.data = buffer[start : start + param.shape[0]]
            start += param.shape[0]
        return buffer


def _are_joined(params: Sequence[Tensor]) -> bool:
    """Whether they are views of one buffer already, as where models share their parameters."""
    first = params[0]
    place = first.data_ptr()
    for param in params:
        is_alike = param.dtype == first.dtype and param.shape[1:] == first.shape[1:] and param.is_contiguous()
        is_in_place = param.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if not (is_alike and is_in_place and param.data_ptr() == place):
            return False
        place += param.numel() * param.element_size()
    return True
