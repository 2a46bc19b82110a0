"""Several linear layers as one product: their weights, one below the other in one buffer that all of them share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fusec.runtime import weights_changed


class Stacked:
    """Linear layers of one input, all of them with a bias or none.

    Their parameters become views of one buffer, so that nothing is held twice.
    Whatever moves them apart again, `model.to(...)` say, or gives one of them other storage, is seen at the next call.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        self.layers = tuple(layers)
        self._places: tuple[int, ...] = ()
        self._versions: tuple[int, ...] = ()
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None

    @property
    def widths(self) -> list[int]:
        """How many rows each of them has."""
        return [layer.weight.shape[0] for layer in self.layers]

    @property
    def weight(self) -> Tensor:
        """The matrix of all of them."""
        if len(self.layers) == 1:
            return self.layers[0].weight
        self._refresh()
        assert self._weight is not None
        return self._weight

    @property
    def bias(self) -> Tensor | None:
        """Their biases; None where none of them has one."""
        if len(self.layers) == 1:
            return self.layers[0].bias
        self._refresh()
        return self._bias

    def _refresh(self) -> None:
        if torch.compiler.is_compiling() and self._weight is not None:
            return
        params = [param for layer in self.layers for param in layer.parameters()]
        places = tuple(param.data_ptr() for param in params)
        if places != self._places:
            self._weight = _joined([layer.weight for layer in self.layers])
            biases = [layer.bias for layer in self.layers]
            self._bias = (
                _joined([bias for bias in biases if bias is not None]) if all(b is not None for b in biases) else None
            )
            self._places = tuple(param.data_ptr() for param in params)
        versions = tuple(param._version for param in params)
        if versions != self._versions:
            # The buffer does not know that a view of it was written to under another name.
            if self._versions:
                weights_changed()
            self._versions = versions


@torch.no_grad()
def _joined(params: Sequence[Tensor]) -> Tensor:
    """One buffer of all of them, of which they become views."""
    buffer = torch.cat([param.detach() for param in params])
    start = 0
    for param in params:
        param.data = buffer[start : start + param.shape[0]]
        start += param.shape[0]
    return buffer
