"""Calls that tell what an op costs: those at which the resource gate asks the op for its kernels.

They are of rows from a few elements to more than registers hold, in the op's first half-precision dtype and in f32,
with and without what can be omitted. `codegen/launched.py` plans them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

from fusec.driver.store import Json
from fusec.extents.conditions import Formula
from fusec.extents.signature import Signature, names
from fusec.ir.arguments import layout_arguments
from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, ScalarParam, TensorParam
from fusec.ir.host.dtypes import TORCH_NAMES
from fusec.ir.partition import VECTOR
from fusec.ir.program import Program
from fusec.ir.sizes import symbols_in
from fusec.ir.types import DType, Lead, Storage, product_extent

_ROW_LENGTHS = (128, 4096, 5120, 32768, 131072, 19999)
_ROW_COUNTS = (512, 1)
_HEAD = 128
_SMALL_LENGTHS = (1024, 128)
"""Row lengths at which every plan fits, where plans are forced."""
_SIDE = 64
"""The extent of axes that are neither rows nor in a row, where TMA is to move tiles."""
_DTYPES = ("bf16", "f32")
_SCALARS = {"f64": "fp64", "i64": "i64", "i32": "i32", "i8": "i32", "u8": "i32", "bool": "i1"}


def telling_calls(program: Program) -> dict[str, Json]:
    """The calls of an op as plain values, the small ones at which its plans are forced, and Triton's types of scalars.

    A call is its tensors and settings in order: a tensor has a `shape` and a `dtype`, or is None.
    """
    program = replace(program, spelled=_as_called(program))
    graph = program.spelled
    dtypes = _dtypes(graph)
    scalars = (param for param in graph.params if isinstance(param, ScalarParam))
    return {
        "calls": [call for dtype in dtypes for call in _calls(program, dtype)],
        "small": [call for dtype in dtypes for call in _small_calls(program, dtype)],
        "scalars": {param.name: _SCALARS.get(param.dtype.name, "fp32") for param in scalars},
    }


def _as_called(program: Program) -> Graph:
    """The op as callers see it: of tensors that kernels have rounded before, with the types that these are given in."""
    elements = (param.element for param in program.graph.params if isinstance(param, TensorParam))
    params = (
        replace(param, element=next(elements)) if isinstance(param, TensorParam) else param
        for param in program.spelled.params
    )
    return replace(program.spelled, params=tuple(params))


def _dtypes(graph: Graph) -> tuple[str, ...]:
    """The dtypes that type variables are tried with: f64 kernels compute in another type throughout."""
    options = {option.name for variable in graph.variables for option in variable.options}
    return (*_DTYPES, *(["f64"] if "f64" in options else []))


def _calls(program: Program, dtype: str) -> Iterator[Json]:
    for length, count in product(_ROW_LENGTHS, _ROW_COUNTS):
        yield from _with_and_without(program, _extents(program, length, count), dtype)
    for param in program.spelled.params:
        for option in param.options[1:] if isinstance(param, ChoiceParam) else ():
            yield _call(program.spelled, _extents(program, 4096, _ROW_COUNTS[0]), dtype, False, {param.name: option})
        for each in param.variable.options if isinstance(param, DTypeParam) else ():
            # Tensors of that dtype may all be omitted: some other one would tell it else.
            chosen: dict[str, Json] = {param.name: {"dtype": _torch(each.name)}}
            yield _call(program.spelled, _extents(program, 4096, _ROW_COUNTS[0]), dtype, True, chosen)


def _small_calls(program: Program, dtype: str) -> Iterator[Json]:
    """Calls of all plans, and those in which an axis is empty that some outputs lack."""
    absent = {
        name for group in program.groups for each in group.every() for axis in each.absent for name in names(axis)
    }
    for length, count, least in product(_SMALL_LENGTHS, _ROW_COUNTS, (1, _SIDE)):
        extents = _extents(program, length, count, least)
        yield from _with_and_without(program, extents, dtype)
        for name in sorted(absent):
            yield from _with_and_without(program, {**extents, name: 0}, dtype)


def _with_and_without(program: Program, extents: dict[str, int], dtype: str) -> Iterator[Json]:
    """The call of these extents, and the one that omits what can be omitted."""
    yield _call(program.spelled, extents, dtype, False)
    if any(tensor.optional for tensor in program.spelled.tensors):
        yield _call(program.spelled, extents, dtype, True)


def _call(
    graph: Graph, extents: dict[str, int], dtype: str, omit: bool, chosen: Mapping[str, Json] | None = None
) -> Json:
    given: dict[str, Json] = dict(_tensors(graph, extents, dtype, omit))
    given |= {p.name: p.options[0] for p in graph.params if isinstance(p, ChoiceParam)}
    given |= {p.name: {"dtype": _dtype(p.variable, dtype)} for p in graph.params if isinstance(p, DTypeParam)}
    given |= {p.name: extents[p.axis.name] for p in graph.params if isinstance(p, DimParam) and not p.inferred}
    given |= chosen or {}
    return [given.get(name) for name in layout_arguments(graph)]


def _extents(program: Program, length: int, count: int, least: int = 1) -> dict[str, int]:
    """Extents with about `count` rows of `length` elements that the conditions of the op allow, others of `least`."""
    wanted = _wanted(program, length, count, least)
    signature = _signature(program.spelled)
    found: dict[str, int] = {}
    for name in signature.free:
        found[name] = signature.nearest(name, wanted.get(name, least), found)
    bound = {name: value(found) for name, value in signature.bound.items()}
    return {**wanted, **found, **bound}


_signature = lru_cache(maxsize=8)(Signature.of)


def _wanted(program: Program, length: int, count: int, least: int) -> dict[str, int]:
    """Extents with about `count` rows of `length` elements, as the first plan of each group sees rows."""
    known = dict(program.known)
    solved = [solve.name for solve in program.spelled.solves]
    extents = dict.fromkeys(solved, least)
    vectors = (group for partition in program.partitions if partition.name == VECTOR for group in partition.groups)
    for group in (*program.groups, *vectors, *program.last_groups):
        stage = next(group.all_plans()).stages[0]
        inner = [axis for axis in stage.order if axis not in stage.rows and axis != stage.block]
        inner += [stage.block] if stage.block is not None and stage.block not in stage.rows else []
        free = [n for n in dict.fromkeys(symbols_in([product_extent((a,)) for a in inner])) if n in solved]
        free = [name for name in free if name not in known]
        rows = [n for n in dict.fromkeys(symbols_in([product_extent((a,)) for a in stage.rows])) if n in solved]
        if free:
            *outer, last = free
            # What extents are known is a part of a row.
            part = prod(
                known.get(name, 1) for name in {str(s) for a in inner for s in symbols_in([product_extent((a,))])}
            )
            extents[last] = max((length if not outer else min(_HEAD, length)) // part, 1)
            for name in outer:
                extents[name] = max(length // _HEAD, 1)
        for name in rows:
            if name not in free and name not in known:
                extents[name] = count
    return {**extents, **known, "lead": count}


def _tensors(graph: Graph, extents: dict[str, int], dtype: str, omit: bool) -> Iterator[tuple[str, Json]]:
    def size(dim: Any) -> int:
        return extents["lead"] if dim == (Lead(),) else int(Formula.of(product_extent(dim))(extents))

    for tensor in graph.tensors:
        shape: list[Json] = [size(dim) for dim in tensor.dims]
        omitted = tensor.optional and omit
        yield tensor.name, None if omitted else {"shape": shape, "dtype": _dtype(tensor.element, dtype)}


def _dtype(storage: Storage, wanted: str) -> str:
    """What `torch` calls an element type, for a variable the one that is `wanted` if it may be."""
    if isinstance(storage, DType):
        return _torch(storage.name)
    names = [option.name for option in storage.options]
    return _torch(wanted if wanted in names else names[0])


def _torch(name: str) -> str:
    return TORCH_NAMES[name].removeprefix("torch.")
