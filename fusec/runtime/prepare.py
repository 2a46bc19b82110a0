"""Values that depend on weights alone: computed once, kept while the weights live, and again when they change.

Kept values belong to the very tensors they were computed from, or to the tensors these are views of, with the memory
they had and the version that PyTorch counts up at every write. So an in-place update, an optimizer step,
`load_state_dict`, `.to` and `.half` are all noticed. PyTorch does not count a write through `.data`, as loaders of
weights do it, from a kernel of one's own or from another library: say so with `weights_changed()`. Else it is found by
comparing what the weights hold with what they held, at each call on the CPU; on a GPU, where that takes time and waits
for the device, at one call of `COMPARED` that read the values. Until then plans that read the values go by the old
weights, and those that read the weights themselves by the new.

A CUDA graph is captured with the values that a call before it left, so a replay computes none. Replays do not come by
here: when weights were written since, `weights_changed()`, or a call outside of the graph, renews the values where they
are. Where there was no call before, or the weights were written after it, the graph holds the computation itself.

Weights made in inference mode have no version, so nobody could notice a change: values are computed in every call.
`frozen_weights` is for those who know that such weights stay as they are.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import count
from threading import RLock
from typing import Any, TypeAlias

import torch

from fusec.runtime.precision import settings, under

Weights: TypeAlias = tuple[torch.Tensor, ...]
Values: TypeAlias = tuple[torch.Tensor, ...]

_capturing: Callable[[], bool] = getattr(torch._C, "_cuda_isCurrentStreamCapturing", lambda: False)
_frozen = ContextVar("frozen", default=False)
COMPARED = 1000
"""Calls on a GPU of which one compares weights by content."""

_told = count(1)
_changes = 0
"""How often weights were said to have changed."""
_captured: weakref.WeakSet[Prepared] = weakref.WeakSet()
"""What has values that CUDA graphs read."""

_EXACT = settings(torch.float32, tf32=False)


@contextmanager
def frozen_weights() -> Iterator[None]:
    """Within, weights that were made in inference mode are promised to stay as they are, so that values are kept."""
    token = _frozen.set(True)
    try:
        yield
    finally:
        _frozen.reset(token)


def weights_changed() -> None:
    """Say that weights were written in a way that PyTorch does not count, through `.data` for instance.

    From now on calls of all ops see what their weights hold now, whatever plan they take. Values that CUDA graphs read
    are computed again at once, where they are, so that replays see it too: say it as well when weights of a captured
    graph were written in any other way.
    """
    global _changes
    _changes = next(_told)
    # Values may be made of others.
    while any(prepared.renew_captured() for prepared in list(_captured)):
        pass


class Prepare:
    """The preparation of an op: `compute(*weights, **settings)` returns a tensor, or several, by `names` in a plan.

    `weights` are the names of the op's arguments it takes; an omitted one is None. It is plain PyTorch and must not
    wait for the device. What it returns is kept row-major, in other memory than that of the weights.
    """

    def __init__(self, compute: Callable[..., torch.Tensor | Values], weights: tuple[str, ...], names: tuple[str, ...]):
        self.compute = compute
        self.weights = weights
        self.names = names
        self._known: dict[object, Prepared] = {}

    def like(self, *weights: torch.Tensor | None, **settings: Hashable) -> Prepared:
        """The values of weights that are laid out as these; every plan for such weights shares them.

        `settings` are what else they depend on: sizes and dtypes that the weights do not tell. The weights themselves
        may have further dimensions of size 1.
        """
        layouts = (None if w is None else (w.shape, w.stride(), w.dtype, w.device) for w in weights)
        return self._known.setdefault((*layouts, *settings.items()), Prepared(self, weights, settings))

    def values(self, *weights: torch.Tensor | None, **settings: Hashable) -> Values:
        """The values of these weights, computed now and kept by whoever asked."""
        prepared = Prepared(self, weights, settings)
        return prepared._values(tuple(weight for weight in weights if weight is not None))


class Prepared:
    """The values of all weights of one layout, under one set of settings."""

    def __init__(
        self, prepare: Prepare, weights: tuple[torch.Tensor | None, ...], settings: dict[str, Hashable]
    ) -> None:
        self.names = prepare.names
        self.weights = tuple(name for name, w in zip(prepare.weights, weights, strict=True) if w is not None)
        self._compute = partial(prepare.compute, **settings)
        self._forms = [None if weight is None else (weight.dtype, weight.shape) for weight in weights]
        self._device = next(weight.device for weight in weights if weight is not None)
        self._captures = self._device.type == "cuda"
        self._compared = COMPARED if self._captures else 1
        self._kept: dict[object, Entry] = {}
        self._lock = RLock()  # a collection of garbage may run anything meanwhile

    def of(self, weights: Weights, addresses: object) -> Entry:
        """The values of the weights that were not omitted, which lie at `addresses`.

        They are for use on the current stream of their device.
        """
        entry = self._kept.get(addresses)
        if self._captures and _capturing():
            if entry is None or not entry.holds(weights):
                return Entry(self._values(weights))  # nothing may wait for the device here
            entry.captured = _way_to(weights)
            _captured.add(self)
            return entry
        if entry is not None:
            entry.calls += 1
            if entry.calls % self._compared == 0:
                entry.compare(weights)
        return self._renew(weights, addresses) if entry is None or not entry.holds(weights) else entry

    def renew_captured(self) -> bool:
        """Compute the values that CUDA graphs read again, where they are; whether there were any to compute."""
        before = dict(self._kept)
        for addresses, entry in before.items():
            weights = entry.captured and entry.captured()
            if weights:
                self._renew(weights, addresses)
        return any(self._kept.get(addresses, entry) is not entry for addresses, entry in before.items())

    def _renew(self, weights: Weights, addresses: object) -> Entry:
        if not _frozen.get() and any(weight.is_inference() for weight in weights):
            return Entry(self._values(weights))
        with self._lock:
            entry = self._kept.get(addresses)
            if entry is None or not entry.holds(weights):
                # A thread of its own starts without modes, autocast and the memory pool of somebody's graph.
                with ThreadPoolExecutor(1) as thread:
                    entry = thread.submit(self._entry, weights, addresses, entry, _stream(self._device)).result()
                self._kept[addresses] = entry
        return entry

    def _entry(self, weights: Weights, addresses: object, old: Entry | None, stream: Any) -> Entry:
        versions = [None if weight.is_inference() else weight._version for weight in weights]
        changes = _changes
        with torch.cuda.stream(stream):
            contents = _contents(weights)
            values = self._values(weights)
            if old is not None and list(map(_form, old.values)) == list(map(_form, values)):
                for kept, value in zip(old.values, values, strict=True):
                    kept.copy_(value)  # a graph may have been captured with this address
                values = old.values
            if stream is not None:
                stream.synchronize()  # the next call may be on another stream
        entry = Entry(values, weights, versions, contents, changes, lambda _: self._kept.pop(addresses, None))
        entry.captured = old.captured if old is not None and values is old.values else None
        return entry

    def _values(self, weights: Weights) -> Values:
        owners = {weight.untyped_storage()._cdata for weight in weights}
        kind = "cpu" if self._device.type == "meta" else self._device.type  # nothing is cast without data
        with torch.no_grad(), torch.autocast(kind, enabled=False):
            results = under(_EXACT, self._results, weights)
            return tuple(_own(value, owners) for value in results)

    def _results(self, weights: Weights) -> Values:
        given = iter(weights)
        values = self._compute(*(None if form is None else _formed(next(given), *form) for form in self._forms))
        return values if isinstance(values, tuple) else (values,)


class Entry:
    """Prepared values and, if they are kept, what they were computed from.

    Those that a CUDA graph was `captured` with know the way to their weights.
    """

    __slots__ = (
        *("_changes", "_contents", "_ids", "_sources", "_storages", "_versions"),
        *("addresses", "calls", "captured", "values"),
    )

    def __init__(
        self,
        values: Values,
        weights: Weights = (),
        versions: Sequence[int | None] = (),
        contents: Sequence[torch.Tensor] = (),
        changes: int = 0,
        gone: Callable[[object], object] | None = None,
    ) -> None:
        """`gone` is called when a weight, or the memory it has now, is no more; the entry must not be used then.

        `contents` tell what the weights held, `changes` how often they had been said to have changed.
        """
        self.values = values
        self.calls = 0
        self.captured: Callable[[], Weights | None] | None = None
        self.addresses = [value.data_ptr() for value in values]
        self._versions = versions
        self._contents = contents
        self._changes = changes
        self._ids = [id(_source(weight)) for weight in weights]
        self._sources = [weakref.ref(_source(weight), gone) for weight in weights]
        self._storages = [weakref.ref(weight.untyped_storage(), gone) for weight in weights]

    def holds(self, weights: Weights) -> bool:
        """Whether the values are those of `weights`, which lie at the addresses that they were computed from."""
        if self._changes != _changes:
            return False
        if [*map(id, weights)] != self._ids and [id(_source(weight)) for weight in weights] != self._ids:
            return False
        try:
            return [weight._version for weight in weights] == self._versions
        except RuntimeError:  # an inference tensor has no version
            return _frozen.get()

    def compare(self, weights: Weights) -> None:
        """Hold the values no longer if the weights hold something else than they did. Waits for the device."""
        now = _contents(weights)
        if len(now) != len(self._contents) or not all(map(torch.equal, now, self._contents)):
            self._changes = -1


def _contents(weights: Weights) -> list[torch.Tensor]:
    """Sums of the bits of each weight along its first and its last axis: small tensors that tell most changes."""
    with torch.no_grad():
        bits = [weight.detach().view(_BITS[weight.element_size()]) for weight in weights]
        return [each.sum(axis, dtype=torch.int64) for each in bits for axis in (0, -1)]


def _formed(weight: torch.Tensor, dtype: torch.dtype, shape: torch.Size) -> torch.Tensor:
    """The weight as the plan knows it: bytes may stand for another type."""
    return (weight if weight.dtype == dtype else weight.view(dtype)).view(shape)


_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _way_to(weights: Weights) -> Callable[[], Weights | None]:
    """A function that finds weights again as they are while the tensors that they are views of live; it keeps none."""
    known = [(weakref.ref(_source(w)), w.dtype, w.shape, w.stride(), w.storage_offset()) for w in weights]

    def found() -> Weights | None:
        sources = [source() for source, *_ in known]
        there = [source for source in sources if source is not None]
        if len(there) < len(sources):
            return None
        return tuple(_seen(source, *form) for source, (_, *form) in zip(there, known, strict=True))

    return found


def _seen(source: torch.Tensor, dtype: Any, *form: Any) -> torch.Tensor:
    """`source`, or a view of it, of this dtype, shape, stride and offset."""
    if (source.dtype, source.shape, source.stride(), source.storage_offset()) == (dtype, *form):
        return source
    with torch.no_grad():
        typed = source if source.dtype == dtype else source.view(dtype)
        return typed.as_strided(*form)


def _source(weight: torch.Tensor) -> torch.Tensor:
    """The tensor whose version counts the writes to `weight`, and that is still there in the next call."""
    return weight if weight._base is None else weight._base


def _own(value: torch.Tensor, owners: set[int]) -> torch.Tensor:
    """`value` row-major, in memory of its own, at a multiple of 16."""
    if value.is_contiguous() and value.untyped_storage()._cdata not in owners and not value.data_ptr() & 15:
        return value
    return value.clone(memory_format=torch.contiguous_format)


def _form(value: torch.Tensor) -> object:
    return value.shape, value.dtype


def _stream(device: torch.device) -> Any:
    return torch.cuda.current_stream(device) if device.type == "cuda" else None
