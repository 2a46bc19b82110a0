"""The arguments of one call: extents solved, type variables resolved, every condition of the signature checked."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import assert_never

import torch
from torch import Tensor

from fusec.ir.expressions import GIVEN, OMITTED
from fusec.ir.graph import (
    SIZE,
    ChoiceParam,
    Constraint,
    DimParam,
    DTypeParam,
    Graph,
    Param,
    ScalarParam,
    Solve,
    TensorParam,
)
from fusec.ir.types import (
    DTYPES,
    Axis,
    Dim,
    DType,
    DTypeVar,
    Fixed,
    Kind,
    Lead,
    Named,
    Quotient,
    Storage,
    Sum,
    Twin,
    product_text,
    symbol,
)
from fusec.reference.rounding import TORCH_DTYPES, torch_dtype

LEAD = "lead"
"""The name under which `Binding.extents` holds the product of the axes that `...` stands for."""

_RELATIONS: Mapping[str, Callable[[int, int], bool]] = MappingProxyType(
    {
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    }
)

_DTYPE_OF = MappingProxyType({torch_type: DTYPES[name] for name, torch_type in TORCH_DTYPES.items()})


class ArgumentError(ValueError):
    """Arguments that do not fit the signature of the op; the message names the parameter."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What the arguments of one call say.

    `picks` holds the case of every choice and optional tensor, `lead` the sizes that `...` stands for, `dtypes` the
    storage type of every type variable that a given tensor settles.
    """

    tensors: Mapping[str, Tensor]
    scalars: Mapping[str, float | int | bool]
    picks: Mapping[str, str]
    lead: tuple[int, ...]
    extents: Mapping[str, int]
    dtypes: Mapping[str, DType]

    @property
    def device(self) -> torch.device:
        """Where the tensors are; the CPU when there are none."""
        return next((tensor.device for tensor in self.tensors.values()), torch.device("cpu"))

    def extent(self, axis: Axis) -> int:
        """The number of positions of an axis; of all its axes together for `...`."""
        match axis:
            case Named(name):
                return self.extents[name]
            case Fixed(value):
                return value
            case Quotient(of, by):
                return self.extents[of.name] // by
            case Sum(parts):
                return sum(self.size(part) for part in parts)
            case Lead():
                return self.extents[LEAD]
            case Twin(of):
                return self.extent(of)
            case _:
                assert_never(axis)

    def size(self, dim: Dim) -> int:
        """The size of a stored dimension."""
        return prod(self.extent(axis) for axis in dim)

    def shape(self, dims: tuple[Dim, ...]) -> tuple[int, ...]:
        """The stored shape of a tensor with dimensions `dims`."""
        return tuple(size for dim in dims for size in (self.lead if dim == (Lead(),) else (self.size(dim),)))

    def storage(self, element: Storage) -> DType:
        """The storage type that `element` is in this call."""
        if isinstance(element, DType):
            return element
        if element.name not in self.dtypes:
            raise ArgumentError(f"no argument says which dtype {element.name} is")
        return self.dtypes[element.name]


def bind(graph: Graph, arguments: Mapping[str, Tensor | float | int | bool | str | torch.dtype | None]) -> Binding:
    """Match `arguments` (parameter name -> tensor, number, option or None) with the parameters of `graph`.

    Raises `ArgumentError` for an unknown, missing or ill-typed argument, for sizes that contradict each other and
    for a `where` condition that does not hold.
    """
    given = _with_defaults(graph, arguments)
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, float | int | bool] = {}
    picks: dict[str, str] = {}
    dtypes: dict[str, DType] = {}
    for param in graph.params:
        value = given[param.name]
        match param:
            case TensorParam(optional=True) if value is None:
                picks[param.name] = OMITTED
            case TensorParam():
                tensors[param.name] = _tensor(param, value)
                if param.optional:
                    picks[param.name] = GIVEN
            case ScalarParam():
                scalars[param.name] = _scalar(param, value)
            case DTypeParam():
                dtypes[param.variable.name] = _dtype(param, value)
            case ChoiceParam():
                picks[param.name] = _option(param, value)
            case DimParam():
                if not (value is None and param.inferred) and (isinstance(value, bool) or not isinstance(value, int)):
                    raise ArgumentError(f"{param.name}: expected an integer, got {value!r}")
            case _:
                assert_never(param)
    dtypes |= _dtypes(graph, tensors, dtypes)
    lead = _lead(graph, tensors)
    extents = _extents(graph, tensors, given, prod(lead))
    binding = Binding(tensors, scalars, picks, lead, extents, dtypes)
    _check_shapes(graph, binding)
    for param in graph.params:
        if isinstance(param, DimParam) and given[param.name] not in (None, binding.extent(param.axis)):
            raise ArgumentError(
                f"{param.name}: got {given[param.name]}, the tensors say {param.axis} = {binding.extent(param.axis)}"
            )
    for constraint in graph.constraints:
        _check_constraint(constraint, extents)
    return binding


def _with_defaults(graph: Graph, arguments: Mapping[str, object]) -> dict[str, object]:
    names = [param.name for param in graph.params]
    unknown = [name for name in arguments if name not in names]
    if unknown:
        raise ArgumentError(f"{graph.name} has no parameter {unknown[0]!r}; its parameters are {', '.join(names)}")
    given: dict[str, object] = {}
    for param in graph.params:
        if param.name in arguments:
            given[param.name] = arguments[param.name]
        elif _may_be_left_out(param):
            given[param.name] = None if isinstance(param, TensorParam | DimParam) else param.default
        else:
            raise ArgumentError(f"{graph.name} needs an argument for {param.name!r}")
    return given


def _may_be_left_out(param: Param) -> bool:
    match param:
        case TensorParam():
            return param.optional
        case ScalarParam() | ChoiceParam() | DTypeParam():
            return param.default is not None
        case DimParam():
            return param.inferred
        case _:
            assert_never(param)


def _tensor(param: TensorParam, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise ArgumentError(f"{param.name}: expected a tensor, got {value!r}")
    options = param.element.options
    if value.dtype not in [torch_dtype(option) for option in options]:
        wanted = " or ".join(map(str, options))
        raise ArgumentError(f"{param.name}: expected dtype {wanted}, got {value.dtype}")
    wanted_rank = len(param.dims)
    if (Lead(),) in param.dims:
        if value.dim() < wanted_rank - 1:
            raise ArgumentError(f"{param.name}: expected at least {wanted_rank - 1} dimensions, got {value.dim()}")
    elif value.dim() != wanted_rank:
        raise ArgumentError(f"{param.name}: expected {wanted_rank} dimensions, got {value.dim()}")
    return value


def _scalar(param: ScalarParam, value: object) -> float | int | bool:
    kinds: dict[Kind, tuple[type, ...]] = {Kind.REAL: (float, int), Kind.INT: (int,), Kind.BOOL: (bool,)}
    wrong = not isinstance(value, kinds[param.dtype.kind]) or (
        isinstance(value, bool) and param.dtype.kind is not Kind.BOOL
    )
    if wrong:
        raise ArgumentError(f"{param.name}: expected a number of type {param.dtype}, got {value!r}")
    assert isinstance(value, float | int)
    return value


def _option(param: ChoiceParam, value: object) -> str:
    if value not in param.options:
        raise ArgumentError(f"{param.name}: expected one of {', '.join(map(repr, param.options))}, got {value!r}")
    assert isinstance(value, str)
    return value


def _dtype(param: DTypeParam, value: object) -> DType:
    dtype = _DTYPE_OF.get(value) if isinstance(value, torch.dtype) else value
    if not isinstance(dtype, DType) or dtype not in param.variable.options:
        wanted = " or ".join(map(str, param.variable.options))
        raise ArgumentError(f"{param.name}: expected {wanted}, got {value!r}")
    return dtype


def _dtypes(graph: Graph, tensors: Mapping[str, Tensor], chosen: Mapping[str, DType]) -> dict[str, DType]:
    settled = {
        param.variable.name: (chosen[param.variable.name], param.name)
        for param in graph.params
        if isinstance(param, DTypeParam)
    }
    for param in graph.tensors:
        if param.name not in tensors or not isinstance(param.element, DTypeVar):
            continue
        dtype = _DTYPE_OF[tensors[param.name].dtype]
        first, by = settled.setdefault(param.element.name, (dtype, param.name))
        if first != dtype:
            raise ArgumentError(f"{param.name}: expected dtype {first} as {by} has, got {dtype}")
    return {name: dtype for name, (dtype, _) in settled.items()}


def _lead(graph: Graph, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    for param in graph.tensors:
        if param.name in tensors and (Lead(),) in param.dims:
            place = param.dims.index((Lead(),))
            end = tensors[param.name].dim() - (len(param.dims) - 1 - place)
            return tuple(tensors[param.name].shape[place:end])
    return ()


def _extents(graph: Graph, tensors: Mapping[str, Tensor], given: Mapping[str, object], lead: int) -> dict[str, int]:
    extents = {LEAD: lead}
    for solve in graph.solves:
        extents[solve.name] = _solved(solve, _size(solve, tensors, given), extents)
    return extents


def _size(solve: Solve, tensors: Mapping[str, Tensor], given: Mapping[str, object]) -> int:
    """What the symbol SIZE stands for; where a constraint fixes the extent, no argument takes part."""
    if not solve.param:
        return 0
    if solve.dim is not None:
        if solve.param not in tensors:
            raise ArgumentError(f"{solve.param}: needed, because the extent of axis {solve.name} follows from it")
        return tensors[solve.param].shape[solve.dim]
    size = given[solve.param]
    assert isinstance(size, int)
    return size


def _solved(solve: Solve, size: int, extents: Mapping[str, int]) -> int:
    known = {symbol(name): extent for name, extent in extents.items()}
    value = solve.value.subs({SIZE: size, **known})
    if not value.is_integer or value < 0:
        where = solve.param if solve.dim is None else f"{solve.param}: dimension {solve.dim} of size {size}"
        raise ArgumentError(f"{where} gives no extent for axis {solve.name} = {solve.value}")
    return int(value)


def _check_shapes(graph: Graph, binding: Binding) -> None:
    for param in graph.tensors:
        if param.name not in binding.tensors:
            continue
        got, wanted = tuple(binding.tensors[param.name].shape), binding.shape(param.dims)
        if got != wanted:
            signature = ", ".join(product_text(dim) for dim in param.dims)
            raise ArgumentError(f"{param.name}: expected shape [{signature}] = {list(wanted)}, got {list(got)}")


def _check_constraint(constraint: Constraint, extents: Mapping[str, int]) -> None:
    known = {symbol(name): extent for name, extent in extents.items()}
    left, right = constraint.left.subs(known), constraint.right.subs(known)
    if not _RELATIONS[constraint.relation](left, right):
        values = ", ".join(
            f"{name} = {extents[name]}"
            for name in sorted(str(s) for s in (constraint.left.free_symbols | constraint.right.free_symbols))
        )
        raise ArgumentError(f"{constraint.text} does not hold: {values}")
