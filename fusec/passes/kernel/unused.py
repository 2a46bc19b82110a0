"""Unused: index lines that nothing reads, as those of an axis whose tiles all go through boxes, are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from fusec.ir.kernel import Define, Let, MaskName, Statement

_WORD = re.compile(r"[A-Za-z_]\w*")


def without_unused(statements: list[Statement]) -> list[Statement]:
    """The statements of one body, in order, without indices and masks that no later one has a use for."""
    kept: list[Statement] = []
    used: set[str] = set()
    for statement in reversed(statements):
        if isinstance(statement, Define | Let) and statement.name.text not in used:
            continue
        own = statement.name if isinstance(statement, Define | Let) else None
        used.update(_words([part for part in _parts(statement) if part is not own]))
        kept.append(statement)
    return kept[::-1]


def _words(tree: object) -> Iterator[str]:
    """Every word in the texts anywhere inside of a tree of dataclasses and tuples, names of masks included."""
    match tree:
        case str():
            yield from _WORD.findall(tree)
        case MaskName(text):
            yield text
        case tuple() | list():
            for item in tree:
                yield from _words(item)
        case _:
            yield from _words(_parts(tree))


def _parts(tree: object) -> list[object]:
    return [getattr(tree, field.name) for field in fields(tree)] if is_dataclass(tree) else []
