"""What the private functions of an op take and return: extents, dtypes, and the parameters that a plan depends on."""

from __future__ import annotations

from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, ScalarParam
from fusec.ir.types import Dim, Lead

LEAD = "lead"
"""The Python name of the sizes of `...`."""


def has_lead(dims: tuple[Dim, ...]) -> bool:
    """Whether a layout begins with `...`."""
    return any(dim == (Lead(),) for dim in dims)


def extent_names(graph: Graph) -> tuple[str, ...]:
    """What `_extents` returns: the sizes of `...`, every extent, the dtype of every type variable."""
    lead = (LEAD,) if any(has_lead(tensor.dims) for tensor in graph.tensors) else ()
    return (*lead, *(solve.name for solve in graph.solves), *(variable.name for variable in graph.variables))


def settings(graph: Graph) -> tuple[str, ...]:
    """The parameters besides tensors that a plan depends on: choices and extents."""
    return tuple(param.name for param in graph.params if isinstance(param, ChoiceParam | DimParam | DTypeParam))


def layout_arguments(graph: Graph) -> tuple[str, ...]:
    """The parameters a plan depends on, tensors first; run-time scalars are not among them."""
    return (*(tensor.name for tensor in graph.tensors), *settings(graph))


def scalar_names(graph: Graph) -> list[str]:
    """The run-time scalars of an op, in order."""
    return [param.name for param in graph.params if isinstance(param, ScalarParam)]
