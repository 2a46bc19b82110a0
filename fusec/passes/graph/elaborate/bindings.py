"""What a name or an expression of a spec can stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fusec.diagnostics import Span
from fusec.ir.expressions import NodeId
from fusec.ir.types import Dim, Storage
from fusec.lang.syntax import Fn
from fusec.passes.graph.elaborate.primitives import Primitive


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor or number: a node of the graph."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Axes:
    """Axes given to a function or a primitive; where a number is wanted, their extent."""

    dim: Dim


@dataclass(frozen=True, slots=True)
class Type:
    """A dtype or type variable."""

    storage: Storage


@dataclass(frozen=True, slots=True)
class Tuple:
    """The results of an expression that has several."""

    items: tuple[Bound, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function or primitive that has not been called yet."""

    target: Fn | Primitive


@dataclass(frozen=True, slots=True)
class Choice:
    """The function that the caller picks by the parameter `selector`."""

    selector: str
    options: tuple[tuple[str, Function], ...]


Bound: TypeAlias = Value | Axes | Type | Tuple | Function | Choice


@dataclass(frozen=True, slots=True)
class Binding:
    """A name in scope. `bound` is None when its definition was wrong, which has been said already."""

    bound: Bound | None
    span: Span
    parameter: bool = False
