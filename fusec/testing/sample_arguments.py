"""Plain arguments for a call of any size: drawn on the device that will use them, and guarded by nothing."""

from __future__ import annotations

import sympy
import torch

from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, ScalarParam, TensorParam
from fusec.ir.types import Kind
from fusec.reference.rounding import torch_dtype
from fusec.testing.cases import Argument, Case, number, shape, size, storage
from fusec.testing.positions import Positions, positions


def sample_arguments(graph: Graph, case: Case, device: torch.device) -> dict[str, Argument]:
    """The arguments of `case`, contiguous, with normally distributed values, the same every time on a device."""
    generator = torch.Generator(device).manual_seed(case.seed)
    found = positions(graph)
    arguments: dict[str, Argument] = {}
    for param in graph.params:
        match param:
            case TensorParam(name=name) if name in case.omitted:
                arguments[name] = None
            case TensorParam(name=name):
                about = found.get(name, _ANY)
                arguments[name] = _tensor(param, case, about, generator)
            case ScalarParam(name=name, default=default):
                arguments[name] = case.scalars.get(name, 1 if default is None else default)
            case DTypeParam(name=name, variable=variable):
                arguments[name] = torch_dtype(storage(case, variable))
            case ChoiceParam(name=name, default=default):
                arguments[name] = case.picks.get(name, default)
            case DimParam(name=name, axis=axis):
                arguments[name] = size(case, (axis,))
    return arguments


_ANY = Positions(sympy.Integer(8))
"""What integers are that are no positions."""


def _tensor(param: TensorParam, case: Case, about: Positions, generator: torch.Generator) -> torch.Tensor:
    """Values of a tensor: numbers, truth values, or such integers."""
    dtype, wanted = storage(case, param.element), shape(case, param.dims)
    device = generator.device
    if dtype.kind is Kind.REAL:
        kind = torch.float64 if dtype.name == "f64" else torch.float32
        return torch.randn(wanted, generator=generator, device=device, dtype=kind).to(torch_dtype(dtype))
    if dtype.kind is Kind.BOOL:
        return torch.randint(0, 2, wanted, generator=generator, device=device) == 1
    limit = max(number(case, about.limit), about.least + 1)
    values = torch.randint(about.least, limit, wanted, generator=generator, device=device)
    return (values.sort().values if about.ordered else values).to(torch_dtype(dtype))
