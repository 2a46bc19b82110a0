"""Scopes of a kernel under construction: statements, the values known in them, and the indices of their axes."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import sympy

from fusec.ir.expressions import NodeId
from fusec.ir.reserved import BUILTINS, KERNEL, another, is_made_word
from fusec.ir.statements import Statement
from fusec.ir.tile_values import MaskName, Name, Value
from fusec.ir.types import Axis


class Names:
    """Hands out variable names, each once."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken | KERNEL | BUILTINS

    def fresh(self, wanted: str) -> str:
        """`wanted` as an identifier, with a number where it is taken."""
        text = re.sub(r"\W+", "_", wanted).strip("_") or "v"
        text = f"v{text}" if text[0].isdigit() else text
        text = another(text) if is_made_word(text) else text
        candidate, count = text, 1
        while candidate in self._taken or keyword.iskeyword(candidate):
            count += 1
            candidate = f"{text}_{count}"
        self._taken.add(candidate)
        return candidate


@dataclass(slots=True)
class Scope:
    """A body under construction. `axes` are the loop axes whose indices it defines; `only` restricts it to nodes."""

    parent: Scope | None
    axes: tuple[Axis, ...] = ()
    only: frozenset[NodeId] | None = None
    last_read: bool = True
    statements: list[Statement] = field(default_factory=list)
    values: dict[NodeId, Value] = field(default_factory=dict)
    indices: dict[Axis, Name] = field(default_factory=dict)
    masks: dict[Axis, MaskName | None] = field(default_factory=dict)
    pointers: dict[object, Name] = field(default_factory=dict)
    combined: dict[tuple[str, ...], MaskName] = field(default_factory=dict)
    looked: dict[tuple[Name, sympy.Expr], MaskName] = field(default_factory=dict)
    joined: dict[int, tuple[Name, MaskName]] = field(default_factory=dict)

    def taken(self) -> tuple[Statement, ...]:
        """The statements so far, which are then no longer in the scope: they fill a slot."""
        statements, self.statements = tuple(self.statements), []
        return statements

    def around(self) -> Iterator[Scope]:
        """This scope, then those around it, outwards."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def known(self, number: NodeId) -> Value | None:
        """The value of a node if this scope or one around it has it."""
        return next((scope.values[number] for scope in self.around() if number in scope.values), None)

    def index(self, axis: Axis) -> Name:
        """The index variable of an axis."""
        return next(scope.indices[axis] for scope in self.around() if axis in scope.indices)

    def mask(self, axis: Axis) -> MaskName | None:
        """The mask of an axis, None when every lane of it is inside."""
        return next((scope.masks[axis] for scope in self.around() if axis in scope.masks), None)

    def pointer(self, key: object) -> Name | None:
        """The pointer to a row if this scope or one around it has it."""
        return next((scope.pointers[key] for scope in self.around() if key in scope.pointers), None)

    @property
    def outermost(self) -> Scope:
        """The scope of the kernel itself."""
        return self if self.parent is None else self.parent.outermost

    def home(self, number: NodeId, in_loop: bool) -> Scope:
        """The scope a node belongs to: the branch made for it, else the loop body, else the kernel itself."""
        scope = self
        while scope.parent is not None:
            if scope.only is not None:
                if number in scope.only:
                    return scope
            elif in_loop:
                return scope
            scope = scope.parent
        return scope
