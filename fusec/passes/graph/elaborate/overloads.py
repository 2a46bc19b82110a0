"""`overload NAME of OP`: both ops are here, and a call may be passed on from one to the other as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fusec.diagnostics import Note
from fusec.ir.graph import DimParam, Graph, Param, TensorParam
from fusec.lang import syntax
from fusec.passes.graph.elaborate.report import Report, did_you_mean


def read_overloads(program: syntax.Program, graphs: Mapping[str, Graph | None], report: Report) -> dict[str, list[str]]:
    """The overloads of each op, in order; every mistake in them is reported. `graphs` has None for what is wrong."""
    found: dict[str, list[str]] = {}
    for overload in program.file.overloads:
        missing = [name for name in (overload.name, overload.op) if name.text not in graphs]
        for name in missing:
            if name.text not in program.broken:
                help = did_you_mean(name.text, graphs) or "an overload is of two ops in the same file"
                report.add(f"there is no op `{name.text}` here", name.span, help=help)
        names = found.setdefault(overload.op.text, [])
        if overload.name.text == overload.op.text:
            report.add("an op is no overload of itself", overload.span, help="drop it")
        elif overload.name.text in names:
            report.add(f"`{overload.op.text}` has `{overload.name.text}` already", overload.name.span, help="drop it")
        elif not missing and (one := graphs[overload.op.text]) and (other := graphs[overload.name.text]):
            _check(overload, one, other, report)
            names.append(other.name)
    return found


def _check(overload: syntax.Overload, op: Graph, other: Graph, report: Report) -> None:
    """That a caller cannot tell the two apart but by the shapes and dtypes of tensors."""
    help = "an overload takes arguments of the same names, in the same order, with the same defaults"
    for mine, theirs in zip(op.params, other.params, strict=False):
        if _called(mine) != _called(theirs) and not _is_needed(mine, theirs):
            assert theirs.span
            message = f"`{theirs.name}` of `{other.name}` is not called as `{mine.name}` of `{op.name}` is"
            report.add(message, theirs.span, Note("the overload is here", overload.span), help=help)
            return
        if _is_needed(mine, theirs) and any(solve.param == theirs.name for solve in other.solves):
            assert theirs.span
            message = f"`{theirs.name}` may be left out in a call of `{op.name}`, and tells an extent of `{other.name}`"
            report.add(message, theirs.span, Note("the overload is here", overload.span), help=_TELL)
            return
    if len(op.params) != len(other.params):
        counts = f"{len(other.params)} parameters and `{op.name}` {len(op.params)}"
        report.add(f"`{other.name}` has {counts}", overload.span, help=help)
    elif [output.name for output in op.outputs] != [output.name for output in other.outputs]:
        message = f"`{other.name}` does not return what `{op.name}` does"
        report.add(message, overload.span, help="an overload has outputs of the same names, in the same order")


_TELL = "let other tensors tell the extent, or give it a default"


def _is_needed(mine: Param, theirs: Param) -> bool:
    """Whether a tensor that may be left out for one op has to be given for the other, which calls tell."""
    if not isinstance(mine, TensorParam) or not isinstance(theirs, TensorParam):
        return False
    return mine.optional and not theirs.optional and _called(replace(mine, optional=False)) == _called(theirs)


def _called(param: Param) -> object:
    """What a caller sees of a parameter, shapes and dtypes of tensors apart."""
    match param:
        case TensorParam(name, mutable=mutable, optional=optional):
            return name, mutable, optional
        case DimParam(name, inferred=inferred):
            return name, inferred
        case _:
            return replace(param, span=None)
