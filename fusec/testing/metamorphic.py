"""What must hold between two calls of an op, to the bit: no reference is needed to see that it does not.

Programs may run in any order; rows that do not know of each other may be permuted and dealt to several calls; what is
homogeneous in an argument may be scaled by a power of two. Splitting and permuting hold to the bit only between calls
whose plan adds up in the same order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from fusec.extents.room import LEAD
from fusec.extents.signature import names
from fusec.interpreter.programs import shuffled
from fusec.ir.expressions import Dot, Extent, Gather, Index, Merge, Part, Reduce, Rename, Segment
from fusec.ir.graph import Graph
from fusec.ir.types import Axis, Dim, Lead, Named
from fusec.testing.cases import Call, Case, build, place, size
from fusec.testing.compare import Op, ResultError, run, same_bits
from fusec.testing.homogeneity import degrees

Results: TypeAlias = dict[str, Tensor]


def check_repeatable(op: Op, graph: Graph, case: Case, device: torch.device | str = "cpu") -> None:
    """Raise ResultError unless calls with programs in three orders give the same bits."""
    first = run(op, graph, case, build(graph, case, device))
    for order in (shuffled(case.seed), shuffled(case.seed + 1)):
        again = run(op, graph, case, build(graph, case, device), order)
        _compare(first, again, case, "a second call gives other bits")


def check_permuted(op: Op, graph: Graph, case: Case, device: torch.device | str = "cpu") -> None:
    """Raise ResultError unless permuting an axis of the arguments permutes the results, for every independent axis."""
    for axis in independent_axes(graph):
        length = _length(case, axis)
        if length is not None:
            order = torch.randperm(length, generator=torch.Generator().manual_seed(case.seed))
            plain = run(op, graph, case, build(graph, case, device))
            moved = run(op, graph, case, _taken(graph, case, axis, order, device))
            _compare(
                _along(graph, plain, axis, case, order),
                moved,
                case,
                f"permuting `{axis}` does more than permute the results",
            )


def check_split(op: Op, graph: Graph, case: Case, device: torch.device | str = "cpu") -> None:
    """Raise ResultError unless two calls on the halves of an independent axis give what one call on all of it gives."""
    for axis in independent_axes(graph):
        length = _length(case, axis)
        if length is not None and length > 1:
            whole = run(op, graph, case, build(graph, case, device))
            for half in (torch.arange(length // 2), torch.arange(length // 2, length)):
                small = _shortened(case, axis, half.numel())
                part = run(op, graph, small, _taken(graph, case, axis, half, device))
                _compare(
                    _along(graph, whole, axis, case, half),
                    part,
                    case,
                    f"a part of `{axis}` on its own gives other results",
                )


def check_scaled(op: Op, graph: Graph, case: Case, device: torch.device | str = "cpu") -> None:
    """Raise ResultError unless 4 times an argument gives 4**degree times the results, wherever these have a degree.

    The values of the case must stay clear of overflow and of subnormal numbers.
    """
    plain = run(op, graph, case, build(graph, case, device))
    for param in graph.tensors:
        found = degrees(graph, case, param.name) if param.name not in case.omitted else None
        if found:
            call = build(graph, case, device)
            layout = case.layouts.get(param.name, "contiguous")
            held = place(param.name, call.buffers[param.name].tensor * 4, layout, device)
            larger = Call({**call.arguments, param.name: held.tensor}, {**call.buffers, param.name: held})
            scaled = run(op, graph, case, larger)
            for name, degree in found.items():
                wanted = {name: (plain[name].double() * 2.0 ** int(2 * degree)).to(plain[name].dtype)}
                _compare(wanted, scaled, case, f"`{param.name}` times 4 is not `{name}` times 4**{degree}")


def independent_axes(graph: Graph) -> list[Axis]:
    """Axes of every output along which each position is computed alike and without a look at the others."""
    stored = [param.dims for param in graph.tensors] + [output.dims for output in graph.outputs]
    composed = [axis for dims in stored for dim in dims for axis in dim if len(dim) > 1 or not isinstance(axis, _PLAIN)]
    entangled = {name for axis in (*composed, *_looked_along(graph)) for name in _tokens(axis)}
    entangled |= {each.name for c in graph.constraints for each in c.left.free_symbols | c.right.free_symbols}
    shared = [dim[0] for dim in graph.outputs[0].dims if dim and all(dim in output.dims for output in graph.outputs)]
    return [axis for axis in shared if isinstance(axis, _PLAIN) and not entangled & set(_tokens(axis))]


_PLAIN = (Named, Lead)


def _looked_along(graph: Graph) -> list[Axis]:
    """Axes along which a result may depend on the position or on other positions."""
    found: list[Axis] = []
    for node in graph.nodes:
        match node.expr:
            case Reduce(_, _, axes) | Dot(_, _, axes) | Extent(axes):
                found.extend(axes)
            case Index(axis) | Segment(_, axis) | Part(_, axis, _, _) | Merge(_, axis, _):
                found.append(axis)
            case Rename(_, old, new):
                found += [old, new]
            case Gather(param, indices):
                found.extend(axis for dim in graph.tensor(param).dims[: len(indices)] for axis in dim)
            case _:
                pass
    return found


def _tokens(axis: Axis) -> list[str]:
    return [LEAD] if isinstance(axis, Lead) else names(axis)


def _length(case: Case, axis: Axis) -> int | None:
    """The extent of an axis; of `...`, of its first dimension, None where there is none."""
    if isinstance(axis, Lead):
        return case.lead[0] if case.lead else None
    return size(case, (axis,))


def _shortened(case: Case, axis: Axis, length: int) -> Case:
    if isinstance(axis, Lead):
        return replace(case, lead=(length, *case.lead[1:]))
    return replace(case, extents={**case.extents, str(axis): length})


def _taken(graph: Graph, case: Case, axis: Axis, positions: Tensor, device: torch.device | str) -> Call:
    """The arguments of `case` at some positions of `axis` only, in the same layouts."""
    full = build(graph, case, device)
    short = build(graph, _shortened(case, axis, positions.numel()), device)
    arguments, buffers = {**short.arguments}, {**short.buffers}
    for name, held in full.buffers.items():
        dim = _dim_of(graph.tensor(name).dims, axis, case)
        if dim is not None:
            contents = held.tensor.index_select(dim, positions.to(held.tensor.device))
            buffers[name] = place(name, contents, case.layouts.get(name, "contiguous"), device)
        else:
            buffers[name] = held
        arguments[name] = buffers[name].tensor
    return Call(arguments, buffers)


def _dim_of(dims: tuple[Dim, ...], axis: Axis, case: Case) -> int | None:
    """Which dimension of a tensor stored as `dims` the axis is, if it is one."""
    if (axis,) not in dims:
        return None
    return sum(len(case.lead) if dim == (Lead(),) else 1 for dim in dims[: dims.index((axis,))])


def _along(graph: Graph, results: Results, axis: Axis, case: Case, positions: Tensor) -> Results:
    chosen = {}
    for output in graph.outputs:
        dim = _dim_of(output.dims, axis, case)
        assert dim is not None
        chosen[output.name] = results[output.name].index_select(dim, positions.to(results[output.name].device))
    return chosen


def _compare(wanted: Results, got: Results, case: Case, what: str) -> None:
    for name, tensor in wanted.items():
        if not same_bits(tensor, got[name]):
            raise ResultError(f"{name}: {what}\nreproduce with {case!r}")
