"""The kernel variants that stand for an op at the resource gate: what its own launcher asks for at telling extents.

The generated function that plans is run on meta tensors for rows from a few elements to more than registers hold, in
the op's first half-precision dtype and in f32, and every launch it makes is written down with the types Triton would
see.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import torch

from fusec.codegen.variant import Variant
from fusec.extents.conditions import Formula
from fusec.extents.signature import Signature, names
from fusec.forcing import NEVER
from fusec.ir.arguments import layout_arguments
from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, ScalarParam, TensorParam
from fusec.ir.program import Program
from fusec.ir.sizes import symbols_in
from fusec.ir.types import DType, Lead, Storage, product_extent
from fusec.passes.kernel.blocks import HELD, SWAP_AB
from fusec.reference.rounding import TORCH_DTYPES
from fusec.runtime import H200, Chip, Launch, Op, PlanError, ShapeMismatchError

_ROW_LENGTHS = (128, 4096, 5120, 32768, 131072, 19999)
_ROW_COUNTS = (512, 1)
_HEAD = 128
_SMALL_LENGTHS = (1024, 128)
"""Row lengths at which every plan fits, where plans are forced."""
_SIDE = 64
"""The extent of axes that are neither rows nor in a row, where boxes are to be moved."""
_DTYPES = ("bf16", "f32")
_POINTERS = {
    torch.float64: "*fp64",
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float8_e4m3fn: "*fp8e4nv",
    torch.float8_e5m2: "*fp8e5",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.int8: "*i8",
    torch.uint8: "*u8",
    torch.bool: "*i1",
}
_FLOAT8 = re.compile(r"tl\.float8(e\w+)")
_SCALARS = {"f64": "fp64", "i64": "i64", "i32": "i32", "i8": "i32", "u8": "i32", "bool": "i1"}


_Launched: TypeAlias = tuple[Launch, dict[str, torch.dtype]]
"""A launch, and the dtype behind every pointer."""


@dataclass(frozen=True, slots=True)
class _Call:
    """The arguments of one call that is planned, without data: tensors by name, choices, extents and dtypes."""

    tensors: dict[str, torch.Tensor | None]
    settings: dict[str, str | int | torch.dtype]


def variants(program: Program, module: str, text: str) -> tuple[Variant, ...]:
    """The largest variant of every kernel, for each dtype and choice. `text` is the generated file.

    A kernel that no call of a telling size would launch by itself is one of a plan that is forced.
    """
    graph = program.spelled
    with _imported(module, text) as generated:
        op = _op(generated, graph)
        calls = [call for dtype in _dtypes(graph) for call in _calls(program, dtype)]
        found = []
        for call, chip in product(calls, _chips(program)):
            found += _launches(op, graph, call, chip)
        left = {kernel.name for kernel in program.kernels} - {launch.kernel.__name__ for launch, _ in found}
        found += _forced(program, op, left) if left else []
        unlike: dict[tuple[object, ...], Variant] = {}
        for launch, buffers in found:
            variant = _variant(graph, launch, buffers)
            unlike.setdefault((variant.kernel, variant.signature, variant.constexprs, variant.options), variant)
    return tuple(_telling(list(unlike.values())))


def _forced(program: Program, op: Op, wanted: set[str]) -> list[_Launched]:
    """Launches of the kernels `wanted`, by forcing each plan at sizes that none of them finds too large."""
    graph = program.spelled
    calls = [call for dtype in _dtypes(graph) for call in _small_calls(program, dtype)]
    shared = replace(H200, few_tiles=1 << 20)
    found: list[_Launched] = []
    for name in (None, *op.reaching_names):
        if wanted <= {launch.kernel.__name__ for launch, _ in found}:
            break
        made = [each for call in calls for each in _launches(op, graph, call, shared, name)]
        found += [each for each in made if each[0].kernel.__name__ in wanted]
    return found


def _dtypes(graph: Graph) -> tuple[str, ...]:
    """The dtypes that type variables are tried with: f64 kernels compute in another type throughout."""
    options = {option.name for variable in graph.variables for option in variable.options}
    return (*_DTYPES, *(["f64"] if "f64" in options else []))


def _chips(program: Program) -> Iterator[Chip]:
    """For each way to multiply that an op has, an H200 whose rules go that way with all calls."""
    schedules = {plan.name for plan in program.plans}
    if program.cut:
        yield replace(H200, library_work=0, skinny=0)
    yield replace(H200, library_work=NEVER, skinny=0)
    few = replace(H200, library_work=NEVER, skinny=NEVER, most_again=NEVER)
    if "swap_ab" in schedules:
        yield replace(few, few_tiles=0)
    if "split_k" in schedules:
        yield replace(few, few_tiles=NEVER)


def _telling(variants: list[Variant]) -> Iterator[Variant]:
    """Of each kernel, per choice and dtype, the variant with the largest tile."""
    groups: dict[tuple[object, ...], list[Variant]] = {}
    for variant in variants:
        pointers = tuple(kind for _, kind in variant.signature if kind.startswith("*"))
        words = tuple(value for name, value in variant.constexprs if isinstance(value, str) or name in (SWAP_AB, HELD))
        groups.setdefault((variant.kernel, pointers, words), []).append(variant)
    return (max(group, key=_elements) for group in groups.values())


def _elements(variant: Variant) -> int:
    size = 1
    for name, value in variant.constexprs:
        if isinstance(value, int) and not isinstance(value, bool) and name.startswith(("BLOCK", "ROWS")):
            size *= max(value, 1)
    return size


def _calls(program: Program, dtype: str) -> Iterator[_Call]:
    for length, count in product(_ROW_LENGTHS, _ROW_COUNTS):
        yield from _with_and_without(program, _extents(program, length, count), dtype)
    for param in program.spelled.params:
        for option in param.options[1:] if isinstance(param, ChoiceParam) else ():
            yield _call(program.spelled, _extents(program, 4096, _ROW_COUNTS[0]), dtype, False, {param.name: option})
        for each in param.variable.options if isinstance(param, DTypeParam) else ():
            # Tensors of that dtype may all be omitted: some other one would tell it else.
            chosen = {param.name: TORCH_DTYPES[each.name]}
            yield _call(program.spelled, _extents(program, 4096, _ROW_COUNTS[0]), dtype, True, chosen)


def _small_calls(program: Program, dtype: str) -> Iterator[_Call]:
    """Calls of all plans, and those in which an axis is empty that some outputs lack."""
    absent = {
        name for group in program.groups for each in group.every() for axis in each.absent for name in names(axis)
    }
    for length, count, least in product(_SMALL_LENGTHS, _ROW_COUNTS, (1, _SIDE)):
        extents = _extents(program, length, count, least)
        yield from _with_and_without(program, extents, dtype)
        for name in sorted(absent):
            yield from _with_and_without(program, {**extents, name: 0}, dtype)


def _with_and_without(program: Program, extents: dict[str, int], dtype: str) -> Iterator[_Call]:
    """The call of these extents, and the one that omits what can be omitted."""
    yield _call(program.spelled, extents, dtype, False)
    if any(tensor.optional for tensor in program.spelled.tensors):
        yield _call(program.spelled, extents, dtype, True)


def _call(
    graph: Graph,
    extents: dict[str, int],
    dtype: str,
    omit: bool,
    chosen: Mapping[str, str | torch.dtype] | None = None,
) -> _Call:
    settings: dict[str, str | int | torch.dtype] = {
        p.name: p.options[0] for p in graph.params if isinstance(p, ChoiceParam)
    }
    settings |= {p.name: _dtype(p.variable, dtype) for p in graph.params if isinstance(p, DTypeParam)}
    settings |= {p.name: extents[p.axis.name] for p in graph.params if isinstance(p, DimParam) and not p.inferred}
    return _Call(_tensors(graph, extents, dtype, omit), {**settings, **(chosen or {})})


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
    for group in (*program.groups, *program.last_groups):
        stage = next(group.all_plans()).stages[0]
        inner = [axis for axis in stage.order if axis not in stage.rows]
        free = [n for n in dict.fromkeys(symbols_in([product_extent((a,)) for a in inner])) if n in solved]
        free = [name for name in free if name not in known]
        rows = [n for n in dict.fromkeys(symbols_in([product_extent((a,)) for a in stage.rows])) if n in solved]
        if free:
            *outer, last = free
            extents[last] = length if not outer else min(_HEAD, length)
            for name in outer:
                extents[name] = max(length // _HEAD, 1)
        for name in rows:
            if name not in free and name not in known:
                extents[name] = count
    return {**extents, **known, "lead": count}


def _tensors(graph: Graph, extents: dict[str, int], dtype: str, omit: bool) -> dict[str, torch.Tensor | None]:
    def size(dim: Any) -> int:
        return extents["lead"] if dim == (Lead(),) else int(Formula.of(product_extent(dim))(extents))

    return {
        tensor.name: None
        if tensor.optional and omit
        else torch.empty([size(dim) for dim in tensor.dims], dtype=_dtype(tensor.element, dtype), device="meta")
        for tensor in graph.tensors
    }


def _dtype(storage: Storage, wanted: str) -> torch.dtype:
    if isinstance(storage, DType):
        return TORCH_DTYPES[storage.name]
    names = [option.name for option in storage.options]
    return TORCH_DTYPES[wanted if wanted in names else names[0]]


def _op(generated: ModuleType, graph: Graph) -> Op:
    return next(value for value in vars(generated).values() if isinstance(value, Op) and value.name == graph.name)


def _launches(op: Op, graph: Graph, call: _Call, chip: Chip, plan: str | None = None) -> list[_Launched]:
    """The launches of one call, with the dtype behind every pointer; none where something does not fit."""
    arguments: list[Any] = []
    for name in layout_arguments(graph):
        param = graph.param(name)
        arguments.append(call.tensors[name] if isinstance(param, TensorParam) else call.settings.get(name))
    try:
        made = op.decide(*arguments, plan=plan, chip=chip)
    except (ShapeMismatchError, PlanError):
        return []
    return [(launch, made.dtypes) for launch in made.launches if isinstance(launch, Launch)]


def _variant(graph: Graph, launch: Launch, buffers: dict[str, torch.dtype]) -> Variant:
    kernel = launch.kernel
    fixed = {name for name, p in zip(kernel.arg_names, kernel.params, strict=True) if p.do_not_specialize}
    signature: list[tuple[str, str]] = []
    constexprs: list[tuple[str, Any]] = []
    divisible: list[str] = []
    for name, param in zip(kernel.arg_names, kernel.params, strict=True):
        kind, value = _type(graph, name, launch, buffers, param.is_constexpr, name in fixed)
        signature.append((param.name, kind))
        if kind == "constexpr":
            constexprs.append((param.name, value))
        elif kind.startswith("*") or (name in launch.arguments and name not in fixed and not value % 16):
            divisible.append(param.name)
    text = "".join(_texts(kernel, {}))
    tiles = ", ".join(f"{n}={v}" for n, v in constexprs if isinstance(v, int) and not isinstance(v, bool) and v > 1)
    types = "/".join(dict.fromkeys(kind[1:] for _, kind in signature if kind.startswith("*")))
    return Variant(
        label=f"{kernel.__name__.lstrip('_')} [{types}] {tiles}",
        kernel=kernel.__name__,
        signature=tuple(signature),
        constexprs=tuple(constexprs),
        divisible=tuple(divisible),
        options=tuple(
            tuple((name, int(value)) for name, value in {**options, "enable_fp_fusion": launch.contract}.items())
            for options in launch.options
        ),
        casts=tuple(dict.fromkeys(f"fp8{kind}" for kind in _FLOAT8.findall(text))),
        multiplies="tl.dot" in text,
    )


def _texts(function: Any, seen: dict[str, Any]) -> Iterator[str]:
    """The text of a kernel, and of the functions of its file that it calls."""
    seen[function.__name__] = function
    yield function.src
    for name in dict.fromkeys(re.findall(r"\b(\w+)\(", function.src)):
        called = function.__globals__.get(name)
        if hasattr(called, "src") and name not in seen:
            yield from _texts(called, seen)


def _type(
    graph: Graph, name: str, launch: Launch, buffers: dict[str, torch.dtype], is_constexpr: bool, fixed: bool
) -> tuple[str, Any]:
    """The Triton type of a parameter, and its value where it has one."""
    if name in launch.arguments:
        value = launch.arguments[name]
        if value is None:
            return "constexpr", None
        if is_constexpr or (value == 1 and not fixed):
            return "constexpr", value if isinstance(value, bool | int | float | str) else f"tl.{_spelled(value)}"
        return ("i64" if abs(value) >= 2**31 else "i32"), value
    if name in launch.boxes:
        box = launch.boxes[name]
        tile = box.tile if len(box.names) == 1 else (len(box.names), *box.tile)
        return f"tensordesc<{_POINTERS[buffers[box.names[0]]][1:]}{list(tile)}>", 0
    if name.endswith("_ptr"):
        dtype = buffers.get(name.removesuffix("_ptr"))
        return ("constexpr", None) if dtype is None else (_POINTERS[dtype], 0)
    param = graph.param(name)
    assert isinstance(param, ScalarParam)
    return _SCALARS.get(param.dtype.name, "fp32"), 0


@contextmanager
def _imported(module: str, text: str) -> Iterator[ModuleType]:
    """The generated file, imported from a folder that lasts as long."""
    with tempfile.TemporaryDirectory() as folder:
        name = f"{module}_{hashlib.sha256(text.encode()).hexdigest()[:16]}_variants"
        path = Path(folder) / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        generated = importlib.util.module_from_spec(spec)
        sys.modules[name] = generated
        try:
            spec.loader.exec_module(generated)
            yield generated
        finally:
            del sys.modules[name]


def _spelled(dtype: Any) -> str:
    """The name of a Triton dtype in `triton.language`."""
    return {"fp64": "float64", "fp32": "float32"}.get(str(dtype.name), str(dtype.name))
