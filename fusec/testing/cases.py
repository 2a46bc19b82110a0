"""One call of an op, written down in a line: `Case`. `build` makes the arguments of it, the same every time."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from math import prod
from typing import TypeAlias, assert_never

import sympy
import torch

from fusec.extents.conditions import Formula
from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, ScalarParam, TensorParam
from fusec.ir.types import DTYPES, Dim, DType, Kind, Lead, Storage, product_extent
from fusec.reference.rounding import torch_dtype
from fusec.testing.buffers import Guarded, frozen, guarded
from fusec.testing.layouts import LAYOUTS, OVERLAPPING
from fusec.testing.positions import Positions, positions
from fusec.testing.values import RANDOM, draw, draw_codes, draw_distinct, draw_positions

Argument: TypeAlias = torch.Tensor | float | int | bool | str | torch.dtype | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The arguments of one call. What is not mentioned is plain: contiguous, normally distributed, given, default."""

    op: str
    seed: int
    extents: Mapping[str, int]
    lead: tuple[int, ...] = ()
    dtypes: Mapping[str, str] = field(default_factory=dict)
    layouts: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    picks: Mapping[str, str] = field(default_factory=dict)
    scalars: Mapping[str, float | int | bool] = field(default_factory=dict)
    omitted: tuple[str, ...] = ()
    """Optional tensors and inferred extents that are left out."""

    @property
    def is_random(self) -> bool:
        """Whether every element of every tensor is drawn on its own, from ordinary numbers."""
        return RANDOM.issuperset(self.values.values()) and not OVERLAPPING.intersection(self.layouts.values())

    def __repr__(self) -> str:
        shown = []
        for each in fields(self):
            value = getattr(self, each.name)
            required = each.default is MISSING and each.default_factory is MISSING
            if required or value:
                shown.append(f"{each.name}={value!r}")
        return f"Case({', '.join(shown)})"


def size(case: Case, dim: Dim) -> int:
    """The size of a stored dimension in a case; of `...`, the product."""
    return number(case, product_extent(dim))


def number(case: Case, value: sympy.Expr) -> int:
    """What an expression over extents is in a case."""
    return int(Formula.of(value)({**case.extents, "lead": prod(case.lead)}))


def shape(case: Case, dims: tuple[Dim, ...]) -> tuple[int, ...]:
    """The shape of a tensor with dimensions `dims` in a case."""
    return tuple(extent for dim in dims for extent in (case.lead if dim == (Lead(),) else (size(case, dim),)))


def counts(graph: Graph, case: Case) -> list[int]:
    """How many elements each tensor and each result of a call has."""
    stored = [*(param.dims for param in graph.tensors), *(output.dims for output in graph.outputs)]
    return [prod(shape(case, dims)) for dims in stored]


def storage(case: Case, element: Storage) -> DType:
    """The storage type that `element` is in a case."""
    return element if isinstance(element, DType) else DTYPES[case.dtypes[element.name]]


@dataclass(frozen=True, slots=True)
class Call:
    """Arguments by parameter name, and the guarded buffers that hold the tensors among them."""

    arguments: dict[str, Argument]
    buffers: dict[str, Guarded]

    def disturbed(self) -> list[str]:
        """In words, which inputs or bytes beside them changed."""
        return [text for held in self.buffers.values() if (text := held.disturbed())]


def build(graph: Graph, case: Case, device: torch.device | str = "cpu") -> Call:
    """The arguments of `case`: tensors of their declared shape in the layout and with the values that it names."""
    found = positions(graph)
    arguments: dict[str, Argument] = {}
    buffers: dict[str, Guarded] = {}
    for param in graph.params:
        match param:
            case TensorParam() if param.name in case.omitted:
                arguments[param.name] = None
            case TensorParam():
                contents = _contents(param, case, found.get(param.name))
                held = place(param.name, contents, case.layouts.get(param.name, "contiguous"), device)
                buffers[param.name] = held if param.mutable else frozen(held)
                arguments[param.name] = held.tensor
            case ScalarParam():
                arguments[param.name] = case.scalars.get(param.name, param.default)
            case DTypeParam(variable=variable):
                arguments[param.name] = torch_dtype(storage(case, variable))
            case ChoiceParam():
                arguments[param.name] = case.picks.get(param.name, param.default)
            case DimParam():
                arguments[param.name] = None if param.name in case.omitted else size(case, (param.axis,))
            case _:
                assert_never(param)
    return Call(arguments, buffers)


def place(name: str, contents: torch.Tensor, layout: str, device: torch.device | str) -> Guarded:
    """`contents` in a guarded tensor that lies in memory as `layout` says."""
    chosen = LAYOUTS[layout](tuple(contents.shape))
    held = guarded(name, contents.shape, chosen.strides, contents.dtype, offset=chosen.offset, device=device)
    distinct = held.tensor.as_strided(chosen.distinct, chosen.strides, held.tensor.storage_offset())
    distinct.copy_(contents[tuple(slice(extent) for extent in chosen.distinct)])
    return held


def _contents(param: TensorParam, case: Case, found: Positions | None) -> torch.Tensor:
    dtype = storage(case, param.element)
    wanted = shape(case, param.dims)
    generator = torch.Generator().manual_seed(case.seed * 2**20 + zlib.crc32(param.name.encode()) % 2**20)
    kind = case.values.get(param.name, "normal")
    if found is not None and dtype.kind is Kind.INT:
        limit = min(number(case, found.limit), torch.iinfo(torch_dtype(dtype)).max)
        if found.distinct:
            return draw_distinct(kind, wanted, limit, generator).to(torch_dtype(dtype))
        return draw_positions(kind, wanted, limit, found.ordered, generator, found.least).to(torch_dtype(dtype))
    if param.holds and kind == "normal":
        return draw_codes(param.holds, wanted, generator)
    return draw(kind, wanted, dtype, generator)
