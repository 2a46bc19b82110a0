"""Watching: what the interpreter, the runtime and the library do to memory is told to `memory.py` while it is done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter as stock
from triton.tools.tensor_descriptor import TensorDescriptor

from fusec.interpreter.conversions import Array
from fusec.interpreter.programs import Order, in_order, launched, launcher
from fusec.runtime.cast import RoundingPlan
from fusec.runtime.multiplier import Multiplier
from fusec.runtime.prepare import Entry
from fusec.runtime.renaming import Renamed
from fusec.runtime.tensor_map import TmaView
from fusec.testing.footprint import Footprint
from fusec.testing.memory import Memory


@contextmanager
def watched(
    inputs: Mapping[str, torch.Tensor],
    writable: Collection[str] = (),
    order: Order = in_order,
    shared: Collection[str] = (),
    thrifty: bool = True,
) -> Iterator[Memory]:
    """While entered, every access of every kernel is checked; faults are raised on leaving.

    `inputs` are the tensors the op is given, by name, of which it may write those in `writable`, and those in `shared`
    several times; other tensors are its own. What does something for nothing is at fault where it has to be `thrifty`.
    To be entered within `exact()`.
    """
    memory = Memory([Footprint.of(name, tensor, name in writable) for name, tensor in inputs.items()], shared, thrifty)
    with ExitStack() as patches:
        patches.enter_context(launched(launcher(order, memory)))
        for name, method in _hooks(memory).items():
            patches.enter_context(mock.patch.object(stock.InterpreterBuilder, name, method))
        patches.enter_context(mock.patch.object(Multiplier, "_run", _multiplier(memory)))
        patches.enter_context(mock.patch.object(TmaView, "at", _describer(memory)))
        patches.enter_context(mock.patch.object(RoundingPlan, "rounded", _rounder(memory)))
        patches.enter_context(mock.patch.object(Renamed, "__getitem__", _namer(memory)))
        yield memory
    memory.check()


def _hooks(memory: Memory) -> dict[str, Any]:
    builder = stock.InterpreterBuilder
    load, store = builder.create_masked_load, builder.create_masked_store
    update, swap = builder.create_atomic_rmw, builder.create_atomic_cas

    def checked_load(self: Any, pointers: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        true, allowed = memory.resolve("load", pointers, _lanes(mask))
        loaded = load(self, true, stock.TensorHandle(allowed, tl.int1), *rest, **named)
        return loaded if memory.beyond is None else _poisoned(loaded, memory.beyond)

    def checked_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        true, allowed = memory.resolve("store", pointers, _lanes(mask))
        return store(self, true, value, stock.TensorHandle(allowed, tl.int1), *rest, **named)

    def checked_update(self: Any, operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        true, allowed = memory.resolve("update", pointers, mask.data)
        return update(self, operation, true, value, stock.TensorHandle(allowed, tl.int1), *rest)

    def checked_swap(self: Any, pointers: Any, *rest: Any) -> Any:
        true, allowed = memory.resolve("swap", pointers, np.ones(pointers.data.shape, bool))
        if not allowed.all():
            memory.check()
        return swap(self, true, *rest)

    return {
        "create_masked_load": checked_load,
        "create_masked_store": checked_store,
        "create_atomic_rmw": checked_update,
        "create_atomic_cas": checked_swap,
    }


def _poisoned(loaded: Any, beyond: Array) -> Any:
    """What is loaded, with all bits set of the bytes that are of no tensor."""
    data = np.array(np.broadcast_to(loaded.data, beyond.shape[:-1]))
    data.view(np.uint8).reshape(beyond.shape)[beyond] = 0xFF
    return stock.TensorHandle(data, loaded.dtype)


def _lanes(mask: Any) -> Array:
    """The lanes of an access; those of a descriptor come as they are, without a handle."""
    lanes: Array = mask if isinstance(mask, np.ndarray) else mask.data
    return lanes


def _describer(memory: Memory) -> Any:
    at = TmaView.at

    def noted_at(self: TmaView, bases: Sequence[torch.Tensor]) -> tuple[TensorDescriptor, bool]:
        descriptor, flipped = at(self, bases)
        memory.described(descriptor, self.names, bases)
        return descriptor, flipped

    return noted_at


def _namer(memory: Memory) -> Any:
    own = Renamed.__getitem__

    def noted(self: Renamed, grid: Any) -> Any:
        launch = own(self, grid)

        def launched_on_others(*arguments: Any, **options: Any) -> Any:
            with memory.called(self.names):
                return launch(*arguments, **options)

        return launched_on_others

    return noted


def _multiplier(memory: Memory) -> Any:
    run = Multiplier._run

    def checked_run(self: Multiplier, addresses: tuple[int, ...]) -> None:
        run(self, addresses)
        memory.multiplied(self.names, self.views(addresses))

    return checked_run


def _rounder(memory: Memory) -> Any:
    own = RoundingPlan.rounded

    def noted(self: RoundingPlan, *given: Any) -> dict[int, Entry]:
        entries = own(self, *given)
        memory.rounded(self.names, entries)
        return entries

    return noted
