"""A kernel as text: its skeleton and what fills the slots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import assert_never

import sympy

from fusec.ir.kernel import Kernel, Results, RowIndex, Rows, Skeleton, Sweep, Total, Walk
from fusec.ir.show_statements import show_mask, show_name, show_product, show_statements
from fusec.ir.sizes import size_text
from fusec.ir.statements import AxisIndex, Cut, Point, Statement
from fusec.ir.tile_values import Name


def show_kernel(kernel: Kernel) -> str:
    """The whole kernel: its arguments, then slot by slot what its template is given."""
    kinds = {
        "tensor maps": kernel.maps,
        "pointers": kernel.pointers,
        "scalars": kernel.scalars,
        "pointers of sums": kernel.sums,
        "integers": (*kernel.integers, *kernel.varying),
        "compile time": (*kernel.structure, *kernel.blocks, *kernel.flags),
    }
    lines = [f"kernel {kernel.name}: {kernel.skeleton.template}"]
    lines += [f"  {kind} {', '.join(names)}" for kind, names in kinds.items() if names]
    return "\n".join([*lines, *(f"  {line}" for line in _skeleton(kernel.skeleton))])


def _skeleton(skeleton: Skeleton) -> Iterator[str]:
    for field in fields(skeleton):
        match getattr(skeleton, field.name):
            case Cut() as cut:
                yield f"{field.name}: {_cut(cut)}"
            case Rows() as rows:
                yield from _rows(rows)
            case Walk() as walk:
                yield f"{field.name}: {_walk(walk)}"
            case Results() as results:
                yield from _results(results)
            case bool() as flag:
                yield from ([field.name] if flag else ())
            case tuple() as slot:
                yield from _slot(field.name, slot)
            case Point() as point:
                yield from _slot(field.name, (point,))
            case None:
                continue
            case other:
                assert_never(other)


def _slot(name: str, slot: tuple[AxisIndex | Sweep | Total | Statement, ...]) -> Iterator[str]:
    body: list[Statement] = []
    for item in slot:
        match item:
            case AxisIndex():
                yield f"{name}: {_axis(item)}"
            case Sweep():
                yield "sweep:"
                yield from _indented(_sweep(item))
            case Total(total, parts, second_first):
                turned = f", the second first by {second_first}" if second_first else ""
                yield f"total: {show_name(total)}{f' of {_names(parts)}' if parts else ''}{turned}"
            case _:
                body.append(item)
    if body:
        yield f"{name}:"
        yield from _indented(show_statements(tuple(body)))


def _sweep(sweep: Sweep) -> Iterator[str]:
    yield from _slot("before", sweep.before)
    if sweep.walk:
        yield f"walk: {_walk(sweep.walk)}"
    step = sweep.step
    yield f"step: {'; '.join([*map(_index, step.outer), _axis(step.index)])}"
    for dot in step.dots:
        yield from _indented(show_statements(dot.values))
        yield from _indented(show_product(dot))
    yield from _indented(show_statements(step.values))
    yield from _indented(_results(step.results))
    yield from _slot("after", sweep.after)


def _results(results: Results) -> Iterator[str]:
    yield from _slot("values", results.values)
    if results.waits:
        yield "all threads wait"
    yield from _slot("stores", results.stores)


def _rows(rows: Rows) -> Iterator[str]:
    if rows.axes:
        several = f" of several, {show_mask(rows.mask)}" if rows.mask else ""
        yield f"rows: {'; '.join(map(_index, rows.axes))}{several}"


def _index(axis: RowIndex) -> str:
    over = "" if axis.inner == 1 else f" // ({size_text(axis.inner)})"
    of = "" if axis.extent is None else f" % {_size(axis.extent)}"
    return f"{show_name(axis.name)} = number{over}{of}"


def _axis(axis: AxisIndex) -> str:
    return f"{show_name(axis.name)} in {axis.size}{f', {show_mask(axis.mask)}' if axis.mask else ''}"


def _cut(cut: Cut) -> str:
    least = ", at least one" if cut.at_least_one else ""
    return f"{_size(cut.extent)} by {cut.size}{least}{f'; {_axis(cut.index)}' if cut.index else ''}"


def _walk(walk: Walk) -> str:
    return f"{f'{_size(walk.outer)} times ' if walk.outer is not None else ''}{_size(walk.extent)} by {walk.size}"


def _size(size: sympy.Expr) -> str:
    text = size_text(size)
    return f"({text})" if " " in text else text


def _names(names: tuple[Name, ...]) -> str:
    return ", ".join(show_name(name) for name in names)


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
