"""What must hold of every kernel: what a statement reads was computed before it, or is an argument."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fusec.diagnostics import InternalError
from fusec.ir.field_names import field_names
from fusec.ir.kernel import GroupSteps, Kernel, Multiply, RowIndex, Rows, Total
from fusec.ir.statements import Assign, AxisIndex, Branch, Call, Fetch, Kept, Lanes, Let, LoadTile, NoTiles, Point
from fusec.ir.tile_values import MaskName, Name

_MADE = ("name", "names", "parts")
"""Fields that have what is computed, of what computes something."""


def verify_kernel(kernel: Kernel, step: str = "build_kernels") -> Kernel:
    """The kernel. Raises `InternalError`, in the name of `step`, when it is not well formed.

    The slots of a skeleton are in the order of its program.
    """
    pointers = (f"{name}_ptr" for name in (*kernel.pointers, *kernel.sums))
    numbers = (*kernel.scalars, *kernel.integers, *kernel.aligned, *kernel.structure, *kernel.blocks, *kernel.flags)
    arguments = {*pointers, *numbers, *kernel.maps}
    calls = (fault for call in kernel.calls for fault in _faults(call.function, {*arguments, *call.function.inputs}))
    faults = (*_faults(kernel.skeleton, {*arguments, *kernel.skeleton.variables}), *calls)
    fault = next(iter(faults), None)
    if fault:
        raise InternalError(step, f"{kernel.name}: {fault}", repr(kernel.skeleton))
    return kernel


def _faults(tree: Any, known: set[str]) -> Iterator[str]:
    """What is read and not `known`, which grows by what is computed."""
    fields = field_names(tree.__class__)
    if fields is None and not isinstance(tree, tuple):
        return
    match tree:
        case Name(text) | MaskName(text):
            if text not in known:
                yield f"{text} is read before it is computed"
            return
        case Branch(cases):
            yield from _of_cases(cases, known)
            return
        case Call(names, _, arguments):
            yield from _faults(arguments, known)
            known |= {name.text for name in names}
            return
        case Rows(mask, axes):
            yield from _faults((*axes, mask), known)
            return
        case tuple():
            for part in tree:
                yield from _faults(part, known)
            return
    made = _made(tree)
    if isinstance(tree, AxisIndex | Multiply | GroupSteps):
        known |= made  # The mask is one of the index; accumulators and what a step leaves begin before the loop.
    for field in fields or ():
        if not (made and field in _MADE):
            yield from _faults(getattr(tree, field), known)
    known |= made


def _of_cases(cases: tuple[tuple[object, tuple[object, ...]], ...], known: set[str]) -> Iterator[str]:
    """Cases one of which is taken: what all of them compute is known. One that is alone is completed by another."""
    ends: list[set[str]] = []
    for test, body in cases:
        inner = set(known)
        yield from _faults(test, inner)
        yield from _faults(body, inner)
        ends.append(inner)
    is_whole = cases[-1][0] is None
    known |= set.intersection(*ends) if is_whole or len(ends) > 1 else set.union(*ends)


def _made(tree: object) -> set[str]:
    """The variables that a statement or an index computes."""
    match tree:
        case Assign(name=name) | Point(name=name) | Fetch(name=name) | Lanes(name=name) | Let(name=name):
            return {name.text}
        case NoTiles(name=name) | Kept(name=name):
            return {name.text}
        case AxisIndex(name=name) | RowIndex(name=name):
            return {name.text}
        case LoadTile(names=names):
            return {name.text for name in names}
        case Total(name=name, parts=parts):
            return {name.text, *(part.text for part in parts)}
        case Multiply(total=total):
            return {total.text}
        case GroupSteps(part=part, scales=scales):
            return {part.text, *(last.text for last, _ in scales)}
        case _:
            return set()
