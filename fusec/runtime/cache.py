"""A bounded cache: a dictionary that forgets its oldest entries."""

from __future__ import annotations

from collections.abc import Hashable
from threading import Lock
from typing import TypeVar

V = TypeVar("V")


class BoundedCache(dict[Hashable, V]):
    """The last `limit` values that were kept, by key."""

    def __init__(self, limit: int = 4096) -> None:
        super().__init__()
        self._limit = limit
        self._lock = Lock()

    def put(self, key: Hashable, value: V) -> V:
        """Remember `value` under `key`, and forget the oldest one if there are too many."""
        with self._lock:
            self[key] = value
            if len(self) > self._limit:
                del self[next(iter(self))]
        return value
