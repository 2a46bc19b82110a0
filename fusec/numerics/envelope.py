"""The error bound of an op: the exact result and the interval in which a right kernel's result lies.

The graph is walked once, each value held as an `Interval`: what a kernel may have computed in its place, in any order
of evaluation, with or without contraction of products and sums, from registers or computed again. Reals are computed in
f32, in f64 where an operand is f64. The bound holds for the algebra of the graph it is given, so a compiler that moves
exact algebra passes the graph it made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import assert_never

import torch
from torch import Tensor

from fusec.ir.expressions import (
    Cast,
    Choose,
    Const,
    Dot,
    Elementwise,
    Extent,
    Gather,
    Index,
    Input,
    MaxOf,
    Merge,
    NodeId,
    Part,
    Reduce,
    Rename,
    Scalar,
    Segment,
    operands,
)
from fusec.ir.formats import FLOAT_FORMATS
from fusec.ir.graph import Graph, Node, Output, ScalarParam, Scatter, TensorParam
from fusec.ir.multiply import Sums, multiplied_as, sums_of
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.traits import Result
from fusec.ir.types import DTYPES, Axis, Computed, DType, Kind, union, without
from fusec.numerics.accumulation import THREADS, Adder, tensor_core, tensor_core_of_8_bits
from fusec.numerics.interval import Interval, Others, as_integer, as_real, either, together
from fusec.numerics.operations import operate
from fusec.numerics.precision import F32, F64, Precision, in_tf32
from fusec.numerics.reductions import EXACT_DOT, added_interval, dot_error, dot_interval, reduce_interval
from fusec.reference.axes import Array, gather, placed, segment, store
from fusec.reference.bind import Binding, bind
from fusec.reference.evaluate import chosen, dims_of, picked, rearranged, source
from fusec.reference.rounding import round_to, widen


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a node: its interval over its axes, and the compute type it is held in.

    `precision` is None for what a kernel holds exactly or as a literal: integers, truth values, constants. It becomes
    f32 or f64 where it first meets real arithmetic.
    """

    interval: Interval
    axes: tuple[Axis, ...]
    precision: Precision | None

    @property
    def kind(self) -> Kind:
        return _KINDS[self.interval.value.dtype]


_KINDS = {torch.float64: Kind.REAL, torch.int64: Kind.INT, torch.bool: Kind.BOOL}


def envelope(
    graph: Graph,
    arguments: Mapping[str, Tensor | float | int | bool | str | torch.dtype | None],
    random: bool = False,
) -> dict[str, Interval]:
    """For every output and every `mut` tensor, by name: its exact value and the ends of what a right kernel stores.

    The three tensors have the stored shape. `value` and the ends are rounded to the dtype of the tensor, and held in
    f64, i64 or bool. `random` says that every element of the arguments was drawn on its own, from ordinary numbers:
    long sums are then held to what `accumulation` says of them.
    """
    walk = _Walk(graph, bind(graph, arguments), random, {})
    for number in chosen(graph, walk.binding):
        walk.known[number] = walk.node(number)
    results = {output.name: walk.stored(output) for output in graph.outputs}
    return results | {param.name: walk.written(param) for param in graph.tensors if param.name in walk.mutable}


@dataclass(frozen=True, slots=True)
class _Walk:
    """The nodes known so far of one call."""

    graph: Graph
    binding: Binding
    random: bool
    known: dict[NodeId, _Known]

    @property
    def mutable(self) -> set[str]:
        return {param.name for param in self.graph.tensors if param.mutable and param.name in self.binding.tensors}

    def node(self, number: NodeId) -> _Known:
        """What is known of a node whose operands are."""
        node = self.graph.nodes[number]
        expr = node.expr
        match expr:
            case Input() | Scalar() | Const() | MaxOf() | Index() | Extent():
                array = source(self.graph, expr, self.binding)
                return _Known(Interval.exact(array.tensor), array.axes, self._held(expr))
            case Part() | Merge() | Rename():
                return self._rearranged(expr, node, operands(expr))
            case Choose():
                return self._rearranged(expr, node, (picked(expr, self.binding),))
            case Elementwise():
                return self._elementwise(expr, node)
            case Cast(arg, dtype):
                return self._cast(self.known[arg], self.binding.storage(dtype))
            case Reduce():
                return self._reduce(expr, node)
            case Dot():
                return self._dot(expr, node)
            case Gather():
                return self._gather(expr)
            case Segment(offsets, axis):
                known = self.known[offsets]
                found = segment(Array(known.interval.value, known.axes), self.binding.extent(axis))
                doubtful = (known.interval.low != known.interval.high).any()
                return _Known(Interval.exact(found).forget(doubtful), (axis,), None)
            case _:
                assert_never(expr)

    def stored(self, output: Output) -> Interval:
        """What is stored for an output."""
        known = self._cast(self.known[output.value], self.binding.storage(output.element))
        return known.interval.map(lambda ends: store(Array(ends, known.axes), output.dims, self.binding))

    def written(self, param: TensorParam) -> Interval:
        """The contents of a mutable tensor after all writes to it; of several values for one place, any may stay."""
        contents = Interval.exact(widen(self.binding.tensors[param.name]))
        added = next((write for write in self.graph.scatters if write.param == param.name and write.adds), None)
        if added is not None:
            return self._added(added, param, contents)
        writes = [write for write in self.graph.scatters if write.param == param.name]
        found = [self._written(write, param) for write in writes]
        places = torch.cat([at for at, _ in found])
        values = together(tuple(rows for _, rows in found), lambda *rows: torch.cat(rows))
        indices = [self.known[index].interval for write in writes for index in write.indices]
        doubtful = any(bool((index.low != index.high).any()) for index in indices)
        after = _put(contents, places, values)
        return replace(after, others=None).forget(torch.tensor(True)) if doubtful else after

    def _added(self, write: Scatter, param: TensorParam, contents: Interval) -> Interval:
        """The contents of a tensor after all values of a write were added to it, and the sums rounded once."""
        known, at = self.known[write.value], self._places(write)
        wide = self.binding.storage(param.element).name == "f64"
        precision = F64 if wide or known.precision is F64 else F32
        terms = self._operand(known, param.element.kind, precision)
        places = placed(param.dims, at, Array(terms.value, known.axes), self.binding)[0]
        rows = terms.map(lambda ends: placed(param.dims, at, Array(ends, known.axes), self.binding)[1])
        total = added_interval(contents.map(torch.flatten), places, rows, precision)
        total = total.map(lambda ends: ends.reshape(contents.value.shape))
        touched = torch.zeros(contents.value.numel(), dtype=torch.bool).index_fill(0, places, True)
        stored = _rounded_to(total, self.binding.storage(param.element))
        after = together(
            (contents, stored), lambda old, new: torch.where(touched.reshape(old.shape), new.to(old.dtype), old)
        )
        doubtful = (self.known[index].interval for index in write.indices)
        return after.forget(torch.tensor(any(bool((index.low != index.high).any()) for index in doubtful)))

    def _written(self, write: Scatter, param: TensorParam) -> tuple[Tensor, Interval]:
        """The places that one statement writes to, and what it writes there."""
        value, at = self._cast(self.known[write.value], self.binding.storage(param.element)), self._places(write)
        places: list[Tensor] = []

        def rows(ends: Tensor) -> Tensor:
            where, values = placed(param.dims, at, Array(ends, value.axes), self.binding)
            places.append(where)
            return values

        values = value.interval.map(rows)
        return places[0], values

    def _places(self, write: Scatter) -> tuple[Array, ...]:
        indices = (self.known[index] for index in write.indices)
        return tuple(Array(index.interval.value, index.axes) for index in indices)

    def _held(self, expr: Input | Scalar | Const | MaxOf | Index | Extent) -> Precision | None:
        match expr:
            case Input(name):
                return _held_as(self.binding.storage(self.graph.tensor(name).element))
            case Scalar(name):
                scalar = self.graph.param(name)
                assert isinstance(scalar, ScalarParam)
                return _held_as(scalar.dtype) if scalar.dtype.name != "f64" else None
            case _:
                return None

    def _operand(self, known: _Known, kind: Kind, precision: Precision | None) -> Interval:
        """An operand as a number of `kind`: an integer or a literal is rounded once it meets arithmetic in f32.

        Or it is not, where the compiler has folded it with its neighbours.
        """
        if kind is not Kind.REAL:
            return known.interval
        real = as_real(known.interval)
        if precision is not F32 or known.precision is not None:
            return real
        return _either_way(real, DTYPES["f32"])

    def _rearranged(self, expr: Part | Merge | Rename | Choose, node: Node, args: tuple[NodeId, ...]) -> _Known:
        parts = tuple(self.known[arg] for arg in args)
        precision = _joined(parts)
        intervals = tuple(self._operand(part, node.type.kind, precision) for part in parts)

        def move(*ends: Tensor) -> Tensor:
            arrays = tuple(Array(end, part.axes) for end, part in zip(ends, parts, strict=True))
            return rearranged(expr, node.type, arrays, self.binding).along(node.type.axes)

        return _Known(together(intervals, move), node.type.axes, precision)

    def _elementwise(self, expr: Elementwise, node: Node) -> _Known:
        parts = {arg: self.known[arg] for arg in expr.args}
        numbers = tuple(part for part in parts.values() if part.kind is not Kind.BOOL)
        real = ELEMENTWISE[expr.op].result is Result.REAL or any(part.kind is Kind.REAL for part in numbers)
        precision = (_joined(numbers) or F32) if real else None
        # One interval for one node: `x * x` is a square, which knows that both factors are the same.
        args = {
            arg: _along(
                self._operand(part, Kind.REAL if real and part in numbers else part.kind, precision), part, node
            )
            for arg, part in parts.items()
        }
        result = operate(expr.op, tuple(args[arg] for arg in expr.args), precision or F32)
        return _Known(result, node.type.axes, precision if node.type.kind is Kind.REAL else None)

    def _cast(self, known: _Known, dtype: DType) -> _Known:
        kind = Kind.REAL if dtype.kind is Kind.REAL else known.kind
        held = self._operand(known, kind, None if dtype.name == "f64" else F32)
        return _Known(_rounded_to(held, dtype), known.axes, _held_as(dtype))

    def _reduce(self, expr: Reduce, node: Node) -> _Known:
        known = self.known[expr.arg]
        precision = (known.precision or F32) if node.type.kind is Kind.REAL else None
        terms = self._operand(known, node.type.kind, precision)
        dims = dims_of(Array(terms.value, known.axes), expr.axes)
        result = reduce_interval(expr.op, terms, dims, precision or F32, self.random)
        return _Known(result, without(known.axes, expr.axes), precision)

    def _dot(self, expr: Dot, node: Node) -> _Known:
        a, b = self.known[expr.a], self.known[expr.b]
        axes = without(union(a.axes, b.axes), expr.axes)
        if node.type.kind is Kind.INT:
            whole = dot_interval((as_real(a.interval), a.axes), (as_real(b.interval), b.axes), expr.axes, EXACT_DOT)
            return _Known(as_integer(whole), axes, None)
        precision = _joined((a, b)) or F32
        left, right = (self._operand(part, Kind.REAL, precision) for part in (a, b))
        count = prod(self.binding.extent(axis) for axis in expr.axes)
        if precision is F64:
            wide = dot_interval((left, a.axes), (right, b.axes), expr.axes, dot_error(count, F64))
            return _Known(wide, axes, F64)
        value: Interval | None = None
        for first, second in product(self._factors(expr, expr.a, left), self._factors(expr, expr.b, right)):
            error = dot_error(count, F32, self._adder(expr, first, second))
            found = dot_interval((first, a.axes), (second, b.axes), expr.axes, error, self.random)
            value = found if value is None else either(value.value, value, found)
        assert value is not None
        return _Known(value, axes, F32)

    def _factors(self, dot: Dot, number: NodeId, operand: Interval) -> tuple[Interval, ...]:
        """An operand of a dot in f32, in the ways the dot permits: as it is, rounded to 16 bits, or cut off to tf32.

        A kernel rounds all of it or nothing. What may be rounded to 16 bits is not cut off as well.
        """
        rounded = self.binding.storage(dot.rounded) if dot.rounded is not None else DTYPES["f32"]
        if rounded.bits == 16:
            stored = _rounded_to(operand, rounded)
            same = operand.is_exact and torch.equal(stored.value, operand.value)
            return (operand,) if same else (operand, stored)
        element = self.graph.nodes[number].type.element
        single = isinstance(element, Computed) or self.binding.storage(element).name == "f32"
        return (in_tf32(operand) if single and dot.precision == "tf32" else operand,)

    def _adder(self, dot: Dot, a: Interval, b: Interval) -> Adder:
        """What may add up the products: threads alone, or a tensor core, which takes operands of 16 bits and tf32."""
        if sums_of(self.graph.nodes, dot) in (Sums.PARTS, Sums.FAST):
            types = map(self.binding.storage, multiplied_as(self.graph.nodes, dot) or ())
            least = max(FLOAT_FORMATS[each.name].least_exponent for each in types)
            return tensor_core_of_8_bits(dot.accum, 2.0**least)
        finite = [each.value.nan_to_num(posinf=0.0, neginf=0.0) for each in (a, b)]
        for name in ("f16", "bf16"):
            if all(torch.equal(round_to(each, DTYPES[name]), each) for each in finite):
                return tensor_core(dot.accum, 2.0 ** FLOAT_FORMATS[name].least_exponent)
        return tensor_core(dot.accum, F32.normal) if dot.precision == "tf32" or dot.accum != "exact" else THREADS

    def _gather(self, expr: Gather) -> _Known:
        param, indices = self.graph.tensor(expr.param), tuple(self.known[index] for index in expr.indices)
        at = tuple(Array(index.interval.value, index.axes) for index in indices)
        found = gather(widen(self.binding.tensors[expr.param]), param.dims, at, self.binding)
        interval = Interval.exact(found.tensor)
        for index in indices:
            doubtful = Array(index.interval.low != index.interval.high, index.axes)
            interval = interval.forget(doubtful.along(found.axes))
        return _Known(interval, found.axes, _held_as(self.binding.storage(param.element)))


def _put(contents: Interval, places: Tensor, values: Interval) -> Interval:
    """`contents` with `values` at `places`: of several for one place the last, and the others beside it."""
    order = torch.sort(places, stable=True).indices
    last = torch.ones_like(places, dtype=torch.bool)
    last[:-1] = places[order][1:] != places[order][:-1]
    winners = order[last]

    def put(table: Tensor, rows: Tensor) -> Tensor:
        flat = table.reshape(-1).clone()
        flat[places[winners]] = rows[winners]
        return flat.reshape(table.shape)

    after = together((contents, values), put)
    several = torch.bincount(places, minlength=1)[places] > 1
    if not several.any():
        return after
    return replace(after, others=Others(places[several], values.map(lambda rows: rows[several])))


def _along(interval: Interval, part: _Known, node: Node) -> Interval:
    return interval.map(lambda ends: Array(ends, part.axes).along(node.type.axes))


def _held_as(dtype: DType) -> Precision | None:
    if dtype.kind is not Kind.REAL:
        return None
    return F64 if dtype.name == "f64" else F32


def _joined(parts: tuple[_Known, ...]) -> Precision | None:
    """The compute type of an operation on `parts`; None where all of them are literals."""
    found = {part.precision for part in parts}
    return F64 if F64 in found else F32 if F32 in found else None


def _rounded_to(interval: Interval, dtype: DType) -> Interval:
    if interval.is_exact or dtype.kind is not Kind.BOOL:
        return interval.map(lambda ends: round_to(ends, dtype)).forget(interval.unknown)
    certainly = (interval.low > 0) | (interval.high < 0)
    return Interval(interval.value != 0, certainly, (interval.low != 0) | (interval.high != 0))


def _either_way(interval: Interval, dtype: DType) -> Interval:
    """What a number may be that is rounded to `dtype`, or is not; its exact value stays."""
    stored = _rounded_to(interval, dtype)
    if interval.is_exact and torch.equal(stored.value, interval.value):
        return interval
    return either(interval.value, interval, stored)
