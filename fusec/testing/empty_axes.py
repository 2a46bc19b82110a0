"""Calls in which one axis alone is empty: some kernels run in no others, for they make what is left then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fusec.extents.signature import Signature
from fusec.ir.graph import Graph
from fusec.testing.cases import Case


def emptied(graph: Graph, case: Case) -> Iterator[Case]:
    """`case` with plain tensors whose axes are as short as they can be, one of them without any position."""
    signature = Signature.of(graph)
    plain = replace(case, layouts={}, values={}, lead=(2,) if signature.has_lead else ())
    for name in signature.free:
        if name not in signature.positive and not signature.nearest(name, 0, _others(signature, name)):
            yield replace(plain, extents=_all(signature, {**signature.least, name: 0}))
    if signature.has_lead:
        yield replace(plain, extents=_all(signature, dict(signature.least)), lead=(0,))


def _others(signature: Signature, name: str) -> dict[str, int]:
    return {other: size for other, size in signature.least.items() if other != name}


def _all(signature: Signature, free: dict[str, int]) -> dict[str, int]:
    return free | {name: int(formula(free)) for name, formula in signature.bound.items()}
