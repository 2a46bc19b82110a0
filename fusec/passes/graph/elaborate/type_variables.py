"""Dtypes and the type variables that stand for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from fusec.diagnostics import Note, Span
from fusec.ir.graph import DTypeParam, Param, TensorParam
from fusec.ir.types import DTYPES, DType, DTypeVar, Storage
from fusec.lang import syntax
from fusec.passes.graph.elaborate.identifiers import check_name
from fusec.passes.graph.elaborate.report import Report, near_dtype


@dataclass(frozen=True, slots=True)
class Variable:
    """A type variable and where it is bound."""

    type: DTypeVar
    span: Span


def read_variables(conditions: Iterable[syntax.Condition], report: Report) -> dict[str, Variable]:
    """The variables that conditions such as `T in {f16, bf16}` bind; a wrong one is known nevertheless."""
    known: dict[str, Variable] = {}
    for condition in conditions:
        if isinstance(condition, syntax.Membership):
            name = condition.variable
            if name.text in known:
                first = Note("it is bound here", known[name.text].span)
                report.add(f"type variable `{name.text}` is bound twice", name.span, first)
            check_name(name, report)
            known.setdefault(name.text, Variable(DTypeVar(name.text, _options(condition, report)), name.span))
    return known


def check_variables(
    variables: Mapping[str, Variable],
    params: Collection[Param],
    stored: Collection[str],
    read: Collection[str],
    report: Report,
) -> None:
    """Every variable must be the dtype of a tensor that is always given, or be chosen: nothing else tells which it is.

    One of a tensor that may be omitted will do where nothing but that tensor is of it. `stored` are the dtypes of the
    outputs, `read` the names in the statements. f64 is excepted: it decides what everything is computed in.
    """
    tensors = [param for param in params if isinstance(param, TensorParam)]
    given = {str(tensor.element): tensor for tensor in tensors if not tensor.optional}
    chosen = _check_chosen(params, given, stored, report)
    narrow = {str(tensor.element) for tensor in tensors if all(each.name != "f64" for each in tensor.element.options)}
    told = {*given, *chosen, *(narrow - {*stored, *read})}
    for name, variable in variables.items():
        if name not in told:
            help = f"make it the dtype of a tensor parameter that has no default, or add `out_dtype: dtype({name})`"
            report.add(f"no argument tells which dtype `{name}` is", variable.span, help=help)


def _check_chosen(
    params: Iterable[Param], given: Mapping[str, TensorParam], stored: Collection[str], report: Report
) -> set[str]:
    """The variables that the caller chooses: each of an output, and told once."""
    chosen: dict[str, Param] = {}
    for param in (param for param in params if isinstance(param, DTypeParam)):
        name = param.variable.name
        other = chosen.get(name, given.get(name))
        if other and other.span and param.span:
            note = Note(f"`{other.name}` tells it", other.span)
            report.add(f"which dtype `{name}` is, is told twice", param.span, note, help="drop one of them")
        elif name not in stored and param.span:
            help = "declare the result with it, or take the dtype of a tensor"
            report.add(f"no output has the dtype `{name}` that `{param.name}` chooses", param.span, help=help)
        chosen[name] = param
    return set(chosen)


def element_of(name: syntax.Name, variables: dict[str, Variable], report: Report) -> Storage | None:
    """The dtype or variable that `name` stands for, or None, which is reported.

    A variable that is not bound is reported where it first stands, and then taken for a real one.
    """
    text = name.text
    if text in DTYPES:
        return DTYPES[text]
    if text in variables:
        return variables[text].type
    if text[0].isupper():
        help = f"bind it with `where {text} in {{f16, bf16, f32}}`"
        report.add(f"type variable `{text}` is not bound", name.span, help=help)
        variables[text] = Variable(DTypeVar(text, (DTYPES["f32"],)), name.span)
        return variables[text].type
    else:
        report.add(f"there is no dtype `{text}`", name.span, help=_dtype_help(text))
    return None


def _options(condition: syntax.Membership, report: Report) -> tuple[DType, ...]:
    name = condition.variable.text
    for option in condition.options:
        if option.text not in DTYPES:
            report.add(f"there is no dtype `{option.text}`", option.span, help=_dtype_help(option.text))
    options = tuple(DTYPES[option.text] for option in condition.options if option.text in DTYPES)
    kinds = dict.fromkeys(option.kind.value for option in options)
    if len(set(options)) < len(options):
        report.add(f"a dtype stands twice among those of `{name}`", condition.span)
    elif len(kinds) > 1:
        message = f"type variable `{name}` mixes {' and '.join(kinds)} dtypes"
        report.add(message, condition.span, help="use one variable for each kind")
    elif any(option.packed for option in options):
        message = f"`{name}` may be a type of which two numbers share a byte: that is another tensor of bytes"
        report.add(message, condition.span, help="write an op for it, and `overload` it")
    elif not condition.options:
        report.add(f"type variable `{name}` has no dtype to stand for", condition.span)
    return options or (DTYPES["f32"],)


def _dtype_help(text: str) -> str:
    return near_dtype(text) or f"the dtypes are {', '.join(DTYPES)}"
