"""A representation as text for people: fields without their names, axes and types as they are written, no positions."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from fusec.diagnostics import Span
from fusec.ir.graph import NodeOf

WIDTH = 120


def outline(value: Any, indent: str = "") -> str:
    """The value on one line where it fits, else one field or item a line; the nodes of a dataflow are numbered."""
    short = brief(value)
    if len(indent) + len(short) <= WIDTH and not _holds_nodes(value):
        return indent + short
    inner = indent + "  "
    match value:
        case [NodeOf(), *_]:
            return "\n".join(f"{indent}{_node(number, node)}" for number, node in enumerate(value))
        case [*items]:
            return "\n".join(outline(item, indent) for item in items)
        case _ if is_dataclass(value):
            return "\n".join([f"{indent}{type(value).__name__}", *(outline(part, inner) for part in _parts(value))])
        case _:
            return indent + short


def brief(value: Any) -> str:
    """The value on one line."""
    match value:
        case tuple():
            return f"({', '.join(map(brief, value))})"
        case Enum():
            return str(value.value)
        case _ if is_dataclass(value) and type(value).__str__ is object.__str__:
            return f"{type(value).__name__}({', '.join(map(brief, _parts(value)))})"
        case _:
            return str(value)


def _node(number: int, node: NodeOf[Any]) -> str:
    name = f" {node.name}" if node.name else ""
    return f"%{number}{name} = {brief(node.expr)} : {node.type}"


def _parts(value: Any) -> list[Any]:
    """The fields that say something: no positions in the spec, and none at its default."""
    found = [(field, getattr(value, field.name)) for field in fields(value)]
    return [part for field, part in found if not isinstance(part, Span) and part is not None and part != field.default]


def _holds_nodes(value: Any) -> bool:
    match value:
        case NodeOf():
            return True
        case [*items]:
            return any(map(_holds_nodes, items))
        case _ if is_dataclass(value):
            return any(_holds_nodes(part) for part in _parts(value))
        case _:
            return False
