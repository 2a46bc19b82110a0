"""Whole vectors: which lanes of an access load all bytes of a vector, so that it may have some of no tensor."""

from __future__ import annotations

import numpy as np

from fusec.interpreter.conversions import Array
from fusec.testing.footprint import Footprint

VECTOR = 16
"""Bytes of the widest access of a thread."""


class Vectors:
    """Vectors of so many bytes that lanes are of: which of them have something, of each program apart."""

    def __init__(self, addresses: Array, lanes: Array, size: int, are_several: bool) -> None:
        self._size = size
        self._lanes = lanes
        self._starts = addresses // np.uint64(size) * np.uint64(size)
        programs = np.arange(len(lanes)).reshape(-1, *[1] * (lanes.ndim - 1)) if are_several else np.zeros(1, np.int64)
        keys = np.stack(np.broadcast_arrays(self._starts, programs.astype(np.uint64)))[:, lanes]
        self._place = np.unique(keys, axis=1, return_inverse=True)[1].reshape(-1)

    def whole(self, width: int) -> Array:
        """Of which all bytes are loaded, by lanes of so many each."""
        return self._told(np.bincount(self._place) * width == self._size)

    def any_of(self, some: Array) -> Array:
        """Of which some lane is one of these."""
        return self._told(np.bincount(self._place, some[self._lanes]) > 0)

    def own(self, regions: tuple[Footprint, ...]) -> Array:
        """For each lane, which bytes of its vector are of a region."""
        return np.stack([held(regions, self._starts + np.uint64(byte)) for byte in range(self._size)], -1)

    def _told(self, of_vectors: Array) -> Array:
        found = np.zeros_like(self._lanes)
        found[self._lanes] = of_vectors[self._place]
        return found


def held(regions: tuple[Footprint, ...], addresses: Array) -> Array:
    """Whether bytes are of an element of any region."""
    found: Array = np.logical_or.reduce([region.holds_byte(addresses) for region in regions])
    return found
