"""The fields of a dataclass by its type, found once: trees of them are walked over and over."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache


@cache
def field_names(kind: type) -> tuple[str, ...] | None:
    """The fields of a dataclass; None of other types, a leaf or a collection."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None
