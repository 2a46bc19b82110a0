"""The text of a reference, or of a preparation: the functions it needs, its signature, its docstring, its body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import assert_never

from fusec.diagnostics import InternalError
from fusec.ir.graph import (
    SIZE,
    ChoiceParam,
    DimParam,
    DTypeParam,
    Graph,
    Output,
    Param,
    ScalarParam,
    Solve,
    TensorParam,
)
from fusec.ir.host.dtypes import TORCH_NAMES
from fusec.ir.types import DTypeVar, Kind, Lead, product_text
from fusec.reference.emit.body import WIDTH, Body
from fusec.reference.emit.context import Context
from fusec.reference.emit.extents import solved_text
from fusec.reference.emit.omitted import cast_where_given
from fusec.reference.emit.prelude import BUILTINS, PRELUDE, prelude, with_callees
from fusec.reference.emit.readings import Readings
from fusec.reference.emit.spelling import literal


@dataclass(frozen=True, slots=True)
class Function:
    """A function to be written: the reference of an op, or with `once` what is computed once for its weights."""

    name: str
    graph: Graph
    once: bool = False


def emit(graph: Graph, name: str = "reference") -> str:
    """The source of a function `name` that computes the op with torch alone.

    It has the parameters of the op, in their order and with their defaults, and returns what the op returns; a `mut`
    tensor is written in place. Functions that it calls stand above it. The same graph gives the same text.
    """
    return emit_all((Function(name, graph),))[0]


def emit_all(wanted: tuple[Function, ...], taken: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The functions that stand in one file in this order; what they call is above its first caller.

    Nothing that they call is called as something in `taken` or as one of their parameters.
    """
    taken |= {param.name for each in wanted for param in each.graph.params}
    hidden = {name for name in BUILTINS if name in taken}
    functions = {name: _apart(f"_{name}" if name in hidden else name, taken) for name in (*PRELUDE, *BUILTINS)}
    texts: list[str] = []
    there: set[str] = set()
    for each in wanted:
        graph = cast_where_given(each.graph)
        context = Context(graph, functions, declared=each.once)
        body = Body(context, Readings(graph)).write()
        head = _once(each) if each.once else [*_signature(each.graph, each.name), *_docstring(each.graph)]
        called = with_callees(context.prelude)
        lines = [*head, *_definitions(context), *body]
        texts.append(prelude(called - there, functions) + "\n".join(lines) + "\n")
        there |= called
    return tuple(texts)


def _apart(name: str, taken: frozenset[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _signature(graph: Graph, name: str) -> list[str]:
    params, behind = [], False
    for param in graph.params:
        behind = behind or (isinstance(param, TensorParam) and param.optional)
        params.append(_parameter(replace(param, optional=True) if behind and isinstance(param, TensorParam) else param))
    count = len(graph.outputs)
    result = "None" if not count else "torch.Tensor" if count == 1 else f"tuple[{', '.join(['torch.Tensor'] * count)}]"
    return _head(name, params, f" -> {result}")


def _head(name: str, params: Sequence[str], result: str) -> list[str]:
    line = f"def {name}({', '.join(params)}){result}:"
    if len(line) <= WIDTH:
        return [line]
    rows = [f"    {params[0]},"]
    for param in params[1:]:
        if len(rows[-1]) + len(param) + 2 <= WIDTH:
            rows[-1] += f" {param},"
        else:
            rows.append(f"    {param},")
    return [f"def {name}(", *rows, f"){result}:"]


def _parameter(param: Param) -> str:
    match param:
        case TensorParam(name, optional=optional):
            return f"{name}: torch.Tensor | None = None" if optional else f"{name}: torch.Tensor"
        case ScalarParam(name, dtype, default):
            kind = {Kind.REAL: "float", Kind.INT: "int", Kind.BOOL: "bool"}[dtype.kind]
            return f"{name}: {kind}" if default is None else f"{name}: {kind} = {literal(default).code}"
        case DimParam(name, inferred=inferred):
            return f"{name}: int | None = None" if inferred else f"{name}: int"
        case DTypeParam(name, default=default):
            return f"{name}: torch.dtype" + (f" = {TORCH_NAMES[default.name]}" if default else "")
        case ChoiceParam(name, default=default):
            return f"{name}: str" if default is None else f'{name}: str = "{default}"'
        case _:
            assert_never(param)


def _docstring(graph: Graph) -> list[str]:
    return [f'    """`{graph.name}` in plain PyTorch, in f32 or f64: the kernels have to agree."""']


def _once(function: Function) -> list[str]:
    """The head of a preparation. Like all private functions of a file it has no annotations."""
    graph = function.graph
    names = (*(tensor.name for tensor in graph.tensors), *graph.untold)
    given = "; ".join(f"{_shown(each)}{' or None' * each.optional}" for each in graph.tensors)
    made = "; ".join(map(_shown, graph.outputs))
    text = [f"Takes {given}.", f"Returns {made}."]
    return [
        *_head(function.name, names, ""),
        '    """What follows from weights alone, computed once for them and kept.',
        "",
        *(line for part in text for line in wrap(part, WIDTH, initial_indent="    ", subsequent_indent="        ")),
        '    """',
    ]


def _shown(tensor: TensorParam | Output) -> str:
    return f"{tensor.name}: {tensor.element}[{', '.join(map(product_text, tensor.dims))}]"


def _definitions(context: Context) -> list[str]:
    """The variables that stand for dtypes and extents, as far as the body uses them; indented."""
    graph = context.graph
    holders: dict[DTypeVar, str] = {}
    for param in graph.tensors:
        if isinstance(param.element, DTypeVar) and not param.optional:
            holders.setdefault(param.element, f"{param.name}.dtype")
    holders |= {param.variable: param.name for param in graph.params if isinstance(param, DTypeParam)}
    computes = context.real in context.needs
    needed = [
        variable
        for variable in holders
        if context.types[variable.name] in context.needs or (computes and variable.kind is Kind.REAL)
    ]
    lines: list[str] = []
    if needed:
        left = ", ".join(context.types[variable.name] for variable in needed)
        lines.append(f"{left} = {', '.join(holders[variable] for variable in needed)}")
    if computes:
        reals = [context.types[variable.name] for variable in needed if variable.kind is Kind.REAL]
        test = f"{reals[0]} == torch.float64" if len(reals) == 1 else f"torch.float64 in ({', '.join(reals)})"
        lines.append(f"{context.real} = torch.float64 if {test} else torch.float32")
    if context.lead in context.needs:
        lines.append(f"{context.lead} = {_lead(graph)}")
    return [f"    {line}" for line in (*lines, *_extents(context))]


def _lead(graph: Graph) -> str:
    for param in graph.tensors:
        if (Lead(),) in param.dims and not param.optional:
            place = param.dims.index((Lead(),))
            behind = len(param.dims) - 1 - place
            start, end = str(place) if place else "", str(-behind) if behind else ""
            return f"{param.name}.shape[{start}:{end}]" if start or end else f"{param.name}.shape"
    raise InternalError("emit reference", f"no tensor of {graph.name} says what `...` stands for")


def _extents(context: Context) -> list[str]:
    """A statement for each extent in use; one for several that are neighbours in the shape of a tensor."""
    needed = [solve for solve in context.graph.solves if context.axes[solve.name] in context.needs]
    needed = [solve for solve in needed if solve.param != context.axes[solve.name]]
    lines: list[str] = []
    while needed:
        run = _run(needed)
        if len(run) > 1:
            left = ", ".join(context.axes[solve.name] for solve in run)
            lines.append(f"{left} = {_slice(context.graph.tensor(run[0].param), run)}")
        else:
            lines.append(_extent(context, run[0]))
        del needed[: len(run)]
    return lines


def _run(solves: list[Solve]) -> list[Solve]:
    """The first of `solves` and those behind it that are whole dimensions, each next to the one before."""
    run = solves[:1]
    for solve in solves[1:]:
        last = run[-1]
        if not all(each.dim is not None and each.value == SIZE for each in (last, solve)):
            break
        assert last.dim is not None
        if (solve.param, solve.dim) != (last.param, last.dim + 1):
            break
        run.append(solve)
    return run


def _slice(param: TensorParam, run: list[Solve]) -> str:
    first, last = run[0].dim, run[-1].dim
    assert first is not None
    assert last is not None
    rank = len(param.dims)
    start = "" if first == 0 else str(first)
    end = "" if last in (-1, rank - 1) else str(last + 1)
    return f"{param.name}.shape[{start}:{end}]" if start or end else f"{param.name}.shape"


def _extent(context: Context, solve: Solve) -> str:
    name = context.axes[solve.name]
    size = solve.param if solve.dim is None else f"{solve.param}.shape[{solve.dim}]"
    value = solved_text(solve.value, context.axis, size).code
    for param in context.graph.params:
        if isinstance(param, DimParam) and param.inferred and param.axis.name == solve.name:
            return f"{name} = {value} if {param.name} is None else {param.name}"
    return f"{name} = {value}"
