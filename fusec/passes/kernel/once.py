"""Once: a row pointer that one access uses, and moves no further, stands in that access.

Before: `scale_row = scale_ptr + i * stride`, then a store to `scale_row`; after: a store to `scale_ptr + i * stride`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, TypeVar

from fusec.ir.field_names import field_names
from fusec.ir.kernel import Results
from fusec.ir.statements import LoadTile, Point, Statement, StoreTile, every
from fusec.ir.tile_values import Name, Value

T = TypeVar("T")


def with_pointers_once(skeleton: T) -> T:
    """The skeleton without row pointers that stand in the same block as the one access that uses them."""
    uses = Counter(node.text for node in every(skeleton) if isinstance(node, Name))
    made: T = _Rewriting({name for name, count in uses.items() if count == 2}).tree(skeleton)
    return made


class _Rewriting:
    """Rewrites the blocks of a tree; `once` has the names that are made and used once."""

    def __init__(self, once: set[str]) -> None:
        self._once = once

    def tree(self, tree: Any) -> Any:
        """A tree with the same accesses."""
        if isinstance(tree, Results):
            points = self._points((*tree.values, *tree.stores))
            return replace(tree, values=self._block(tree.values, points), stores=self._block(tree.stores, points))
        if isinstance(tree, tuple):
            if any(isinstance(item, Point) for item in tree):
                return self._block(tree, self._points(tree))
            made = tuple(map(self.tree, tree))
            return made if any(new is not old for new, old in zip(made, tree, strict=True)) else tree
        names = field_names(tree.__class__)
        if names is None or isinstance(tree, Name | Value):
            return tree
        values = [(name, getattr(tree, name)) for name in names]
        changed = {name: new for name, old in values if (new := self.tree(old)) is not old}
        return replace(tree, **changed) if changed else tree

    def _points(self, block: tuple[Statement, ...]) -> dict[Name, Point]:
        """The pointers of a block that one of its accesses uses as they are."""
        points = {each.name: each for each in block if isinstance(each, Point) and each.name.text in self._once}
        used = {
            each.address.pointer for each in block if isinstance(each, LoadTile | StoreTile) and not each.address.along
        }
        return {name: point for name, point in points.items() if name in used and point.address.dims == name.dims}

    def _block(self, block: tuple[Statement, ...], points: dict[Name, Point]) -> tuple[Statement, ...]:
        kept = (each for each in block if not (isinstance(each, Point) and each.name in points))
        return tuple(self._access(each, points) for each in kept)

    def _access(self, statement: Statement, points: dict[Name, Point]) -> Statement:
        if not isinstance(statement, LoadTile | StoreTile) or statement.address.pointer not in points:
            made: Statement = self.tree(statement)
            return made
        moved = points[statement.address.pointer].address
        return replace(statement, address=replace(moved, pair=statement.address.pair))
