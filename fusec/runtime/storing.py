"""Modules whose calls read values of fewer bits that were prepared of their weights: with these weights, or without.

As made, such a module owns its weights as parameters, the master, and the op prepares values of them as any op does:
written in place or replaced, they are prepared again. Its `state_dict` has both. Without its master it owns the values
alone, as buffers: the weights are None, and calls take the values as they are. Buffers keep their types whatever a
module is converted to, and move with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch

from fusec.runtime.errors import ArgumentError
from fusec.runtime.prepare import Prepare, Values

M = TypeVar("M", bound="StoringModule")

_SAME_BYTES = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class StoringModule(torch.nn.Module):
    """A module of weights that are prepared; a class of it says by what, of which weights, and which values.

    While the module has its weights, the buffers of the values are None.
    """

    _storing: ClassVar[tuple[Prepare, tuple[str, ...], tuple[str, ...]]]

    def __init__(self) -> None:
        super().__init__()
        for name in self._storing[2]:
            self.register_buffer(name, None)

    @property
    def has_master(self) -> bool:
        """Whether the module owns the weights that its values are prepared of."""
        return all(weight is not None for weight in self._weights())

    def stored(self) -> dict[str, torch.Tensor]:
        """The values that calls read, by name: computed anew of weights as they are now, or the buffers."""
        _, _, names = self._storing
        values = self._prepared(*self._weights()) if self.has_master else [self._buffers[name] for name in names]
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    def drop_master(self: M, like: StoringModule | None = None) -> M:
        """Keep the values alone: from now on the module takes their memory, and its weights are None.

        They are not to be had back. A float checkpoint may still be loaded, and is prepared then. The values are shared
        with a module `like` this one, of the same weights, where one that has none is given.
        """
        if self.has_master:
            self._keep(self.stored() if like is None or like.has_master else like.stored())
        return self

    def bytes_stored(self) -> int:
        """The memory that its values take, or would take."""
        values = self._empty_values("meta") if self.has_master else self.stored()
        return sum(value.numel() * value.itemsize for value in values.values())

    def require_master(self, what: str) -> None:
        """That there are weights to do something with. Raises `ArgumentError`."""
        if not self.has_master:
            weights = " and ".join(f"`{name}`" for name in self._storing[1])
            message = (
                f"{type(self).__name__}: {what} needs {weights}, of which values alone were kept; make a new module"
            )
            raise ArgumentError(message, self._storing[1][0], torch.nn.Parameter, None)

    def _weights(self) -> list[torch.nn.Parameter | None]:
        return [self._parameters[name] for name in self._storing[1]]

    def _prepared(self, *weights: torch.Tensor | None) -> Values:
        """Values of weights, in memory that is nobody else's."""
        with torch.inference_mode(False):
            return self._storing[0].values(*(None if weight is None else weight.detach() for weight in weights))

    def _keep(self, values: dict[str, torch.Tensor]) -> None:
        for name in self._storing[1]:
            setattr(self, name, None)
        for name, value in values.items():
            setattr(self, name, value)

    # Plain pickle knows no tensors of some types of 8 bits: they go as bytes.

    def __getstate__(self) -> dict[str, Any]:
        held = {name: value for name in self._storing[2] if (value := self._buffers[name]) is not None}
        bits = {name: value.view(_SAME_BYTES[value.itemsize]) for name, value in held.items()}
        types = {name: value.dtype for name, value in held.items()}
        return {**vars(self), "_buffers": {**self._buffers, **bits}, "_types": types}

    def __setstate__(self, state: dict[str, Any]) -> None:
        buffers = state["_buffers"]
        held = {name: buffers[name].view(dtype) for name, dtype in state["_types"].items()}
        rest = {name: value for name, value in state.items() if name != "_types"}
        super().__setstate__({**rest, "_buffers": {**buffers, **held}})  # type: ignore[no-untyped-call]

    # What torch.nn.Module does to all parameters and buffers.

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        held = {name: self._buffers[name] for name in self._storing[2]}
        self._buffers.update(dict.fromkeys(held))
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
            held = {name: None if value is None else moved(value, fn) for name, value in held.items()}
        finally:
            self._buffers.update(held)
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.has_master:
            destination.update({prefix + name: value for name, value in self.stored().items()})

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *rest: Any, **named: Any
    ) -> None:
        """The weights are loaded where the module has them and the checkpoint too, and the values else.

        A module that has no weights prepares those of a checkpoint that has no values; one that has weights drops them
        for a checkpoint that has values alone.
        """
        _, weights, names = self._storing
        given = dict(state_dict)
        of_weights = [given[prefix + name] for name in weights if prefix + name in given]
        is_whole = all(prefix + name in given for name in names)
        if len(of_weights) == len(weights) and (self.has_master or not is_whole):
            for name in names:
                given.pop(prefix + name, None)
            if not self.has_master:
                given.update(zip((prefix + name for name in names), self._of_checkpoint(of_weights), strict=True))
        elif is_whole and self.has_master:
            self._keep(self._empty_values(next(weight.device for weight in self._weights() if weight is not None)))
        if not self.has_master:
            for name in weights:
                given.pop(prefix + name, None)
            self._take_types(given, prefix, local_metadata)
        super()._load_from_state_dict(given, prefix, local_metadata, *rest, **named)

    def _of_checkpoint(self, weights: list[torch.Tensor]) -> Values:
        """Values of weights that are loaded, where those of the module are."""
        buffers = (self._buffers[name] for name in self._storing[2])
        device = next((value.device for value in buffers if value is not None and not value.is_meta), None)
        return self._prepared(*(weight.to(device) for weight in weights))

    def _empty_values(self, device: torch.device | str) -> dict[str, torch.Tensor]:
        """Values of such weights as there are, yet to be filled."""
        meta = [None if weight is None else weight.detach().to("meta") for weight in self._weights()]
        values = zip(self._storing[2], self._prepared(*meta), strict=True)
        return {name: torch.empty_like(value, device=device) for name, value in values}

    def _take_types(self, given: dict[str, Any], prefix: str, local_metadata: dict[str, Any]) -> None:
        """Take bytes for what they are bytes of. Where the module has no data, what is given becomes its own."""
        for name in self._storing[2]:
            own, value = self._buffers[name], given.get(prefix + name)
            if own is None or not isinstance(value, torch.Tensor):
                continue
            if value.dtype == torch.uint8 and own.itemsize == 1:
                given[prefix + name] = value = value.view(own.dtype)
            if own.is_meta and not local_metadata.get("assign_to_params_buffers"):
                self._buffers[name] = torch.empty_like(own, device=value.device)
            elif local_metadata.get("assign_to_params_buffers"):
                given[prefix + name] = value.contiguous()


def moved(value: torch.Tensor, fn: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """What `fn`, which moves or converts, makes of a tensor that is not to be converted: the same bits elsewhere."""
    bits = _SAME_BYTES[value.itemsize]
    result = fn(value.view(bits))
    return result.view(value.dtype) if result.dtype == bits else value.to(result.device)
