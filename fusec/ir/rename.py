"""Give a graph other names for its parameters, outputs, axes and type variables; what it computes stays the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import sympy

from fusec.diagnostics import Span
from fusec.ir.expressions import Choose, Gather, Input, Scalar
from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, Output, ScalarParam, Scatter, Solve, TensorParam
from fusec.ir.types import DTypeVar, Named, symbol

_NAMING: dict[type, tuple[str, ...]] = {
    **dict.fromkeys((Named, DTypeVar, TensorParam, ScalarParam, DimParam, ChoiceParam, DTypeParam, Output), ("name",)),
    **dict.fromkeys((Input, Scalar, Gather, Scatter), ("param",)),
    Choose: ("selector",),
    Solve: ("name", "param"),
}
"""The fields that hold a name of the spec. Names of values are not among them: they are not seen outside of a node."""


def renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    """`graph` with `names[old]` for every `old`; no two things may end up with one name."""
    result: Graph = _renamed(graph, names) if names else graph
    return result


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, sympy.Basic):
        return value.xreplace({symbol(old): symbol(new) for old, new in names.items()})
    if isinstance(value, tuple):
        return tuple(_renamed(item, names) for item in value)
    if not is_dataclass(value) or isinstance(value, type | Span):
        return value
    naming = _NAMING.get(type(value), ())
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    return replace(
        value,
        **{key: names.get(part, part) if key in naming else _renamed(part, names) for key, part in parts.items()},
    )
