"""Outputs: what the body assigned against what the header declares."""

from __future__ import annotations

from fusec.diagnostics import Note
from fusec.ir.graph import Output
from fusec.ir.types import Axis, Fixed, Kind, Quotient, Storage, Sum, without
from fusec.passes.graph.elaborate.report import Report, did_you_mean, listing
from fusec.passes.graph.elaborate.signature import Declared
from fusec.passes.graph.elaborate.statements import Body, storable


def find_output(declared: Declared, body: Body, report: Report) -> Output | None:
    """The declared output with the value that the body gave it, or None when they do not fit, which is reported."""
    name = declared.name
    binding = body.names.get(name.text)
    if binding is None:
        near = did_you_mean(name.text, [n for n, b in body.names.items() if not b.parameter])
        help = near or f"assign it in the body: `{name.text} = ...`"
        report.add(f"output `{name.text}` is never assigned", name.span, help=help)
        return None
    node = None if binding.bound is None else body.as_value(binding.bound, binding.span)
    if node is None:
        return None
    type, axes = body.context.type_of(node), tuple(axis for dim in declared.dims for axis in dim)
    note = Note(f"`{name.text}` is declared here", name.span.to(declared.span))
    extra = without(type.axes, axes)
    if extra:
        message = f"`{name.text}` has axis `{extra[0]}`, which its declaration lacks"
        report.add(message, binding.span, note, help=_missing_help(extra[0], axes, type.axes))
    elif not storable(type.kind, declared.element.kind):
        message = f"`{name.text}` is {type.kind.value} but is declared as `{declared.element}`"
        report.add(message, binding.span, note, help=_kind_help(type.kind, declared.element))
    else:
        return Output(name.text, declared.element, declared.dims, node, name.span)
    return None


def _kind_help(value: Kind, element: Storage) -> str:
    """What to do about a value of a kind that its output does not hold."""
    if value is Kind.BOOL:
        return "`where(condition, 1, 0)` makes a number of a truth value"
    if element.kind is Kind.BOOL:
        return "compare it, as in `x > 0`"
    return f"round it with `cast(..., {element})`"


def _missing_help(extra: Axis, declared: tuple[Axis, ...], has: tuple[Axis, ...]) -> str:
    """What to do about a value with an axis that its output lacks."""
    if isinstance(extra, Quotient) and extra.of in declared:
        return f"`join` or `interleave` makes `{extra.of}` of its parts"
    if extra == Fixed(2):
        return "`halves(x, over=2)` takes its two positions apart, and `x[0]` looks one up"
    if isinstance(extra, Sum):
        turned = next((a for a in declared if isinstance(a, Sum) and set(a.parts) == set(extra.parts)), None)
        if turned:
            return f"the parts are declared in the order `{turned}`"
    same = next((axis for axis in declared if str(axis).lower() == str(extra).lower()), None)
    if same:
        return f"`{same}` is declared, and capitals matter"
    whole = next(
        (axis for axis in declared if isinstance(axis, Sum) and any(extra in part for part in axis.parts)), None
    )
    if whole:
        return f"`concat` makes `{whole}` of its parts"
    return f"reduce over `{extra}`, or declare it; the value has the axes {listing(has)}"
