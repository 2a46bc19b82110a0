"""The calls that `fusec tune` measures: every combination of the sizes asked for, or of some that are usual."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from math import prod

from fusec.commands.outcome import UsageError
from fusec.commands.sizes import case_of
from fusec.extents.signature import Signature, names
from fusec.ir.graph import Graph
from fusec.ir.types import Dim, Lead
from fusec.passes.host.tuned import Choosing
from fusec.testing.cases import Case

ROWS = "M"
"""Stands for all rows of an op, unless one of its axes is called so."""

USUAL_ROWS = tuple(2**exponent for exponent in range(14))
"""Rows by default: every bucket of a table."""

ALONE, INNER, OUTER = 4096, 128, 32
"""Extents by default: of an axis that is a dimension, of the last one of those that share one, and of all others."""


def parse(text: str) -> dict[str, tuple[int, ...]]:
    """`M=1,16 K=3584` as extents by axis. Raises `UsageError` for anything else."""
    found: dict[str, tuple[int, ...]] = {}
    for part in text.split():
        name, _, values = part.partition("=")
        try:
            found[name] = tuple(int(value) for value in values.split(","))
        except ValueError:
            found[name] = ()
        if not found[name] or min(found[name]) < 0:
            raise UsageError(f"--shapes {text!r}: write AXIS=EXTENT,EXTENT, for instance 'M=1,16,2048 K=4096 N=4096'")
    return found


def cases(
    graph: Graph,
    choosing: Choosing,
    shapes: Sequence[str],
    dtypes: Mapping[str, str],
    given: Collection[str],
) -> list[Case]:
    """Calls of an op at the sizes of `shapes`, each once; of its optional tensors with those `given`.

    Raises `UsageError` for an axis, a dtype or a tensor that the op does not have, or sizes that it cannot have.
    """
    signature = Signature.of(graph)
    _check(graph.name, "--dtype", "type variable", dtypes, choosing.dtypes)
    _check(graph.name, "--with", "optional tensor", given, choosing.optional)
    axes = tuple(dict.fromkeys((*signature.free, *signature.bound, ROWS)))
    omitted = tuple(name for name in choosing.optional if name not in given)
    found = []
    for shape in map(parse, shapes or [""]):
        _check(graph.name, "--shapes", "axis", shape, axes)
        wanted = {ROWS: USUAL_ROWS, **shape} if not _names_rows(shape, choosing) else shape
        for values in product(*wanted.values()):
            extents, lead = _extents(graph, choosing, signature, dict(zip(wanted, values, strict=True)))
            found.append(case_of(graph, signature, extents, lead, dtypes, omitted))
    return list({repr(case): case for case in found}.values())


def _check(op: str, option: str, what: str, wanted: Collection[str], known: tuple[str, ...]) -> None:
    """That an op has all of what is wanted by name."""
    unknown = ", ".join(name for name in wanted if name not in known)
    if unknown:
        raise UsageError(f"{option} {unknown}: {op} has no {what} {unknown}; it has {', '.join(known) or 'none'}")


def _names_rows(shape: Mapping[str, object], choosing: Choosing) -> bool:
    """Whether a shape says how many rows there are."""
    return ROWS in shape or any(str(axis) in shape for axis in choosing.rows)


def _extents(
    graph: Graph, choosing: Choosing, signature: Signature, chosen: Mapping[str, int]
) -> tuple[dict[str, int], tuple[int, ...]]:
    """The extent of every axis, and those of `...`."""
    own = {name: value for name, value in chosen.items() if name in (*signature.free, *signature.bound)}
    rows = chosen.get(ROWS, 1)
    if ROWS in own:
        rows = prod(own.get(str(axis), 1) for axis in choosing.rows)
    varying = [name for axis in choosing.rows for name in names(axis) if name not in own]
    lead = (rows,) if Lead() in choosing.rows else ()
    inner = {} if lead or not varying else {**dict.fromkeys(varying, 1), varying[-1]: rows}
    steady = {name: _usual(name, graph) if name in signature.inner else OUTER for name in choosing.extents}
    # What is left is no part of a result: a table that rows are looked up in, say, which has one for each.
    longest = max(rows, 1, *(own.get(str(axis), 1) for axis in choosing.rows))
    rest = dict.fromkeys(signature.free, longest)
    extents = {**rest, **dict.fromkeys(varying, 1), **steady, **inner, **own}
    return {name: extents[name] for name in extents if name in (*signature.free, *own)}, lead


def _usual(name: str, graph: Graph) -> int:
    tensors = [tensor for tensor in graph.tensors if tensor.static] or list(graph.tensors)
    dims: list[Dim] = [dim for tensor in tensors for dim in tensor.dims]
    parts = [[each for axis in dim for each in names(axis)] for dim in dims]
    shared = [part for part in parts if name in part and part != [name]]
    if not shared:
        return ALONE
    return INNER if any(part[-1] == name for part in shared) else OUTER
