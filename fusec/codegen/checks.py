"""The host side that checks: `_extents` and `_outputs`, as lines of Python."""

from __future__ import annotations

import sympy

from fusec.codegen.signature import TORCH_DTYPES, dims_text, dtype_options, sequence
from fusec.ir.graph import SIZE, ChoiceParam, DimParam, Graph, Output, Solve
from fusec.ir.sizes import size_text
from fusec.ir.types import Dim, DTypeVar, Lead, product_extent

LEAD = "lead"
"""The Python name of the sizes of `...`."""


def has_lead(dims: tuple[Dim, ...]) -> bool:
    """Whether a layout begins with `...`."""
    return any(dim == (Lead(),) for dim in dims)


def squeezed(graph: Graph) -> tuple[str, ...]:
    """The tensors whose size-1 dimensions may be dropped: those of fewer dimensions than another one has."""
    most = max((len(tensor.dims) for tensor in graph.tensors if not has_lead(tensor.dims)), default=0)
    return tuple(
        t.name for t in graph.tensors if 0 < len(t.dims) < most and not (has_lead(t.dims) or t.optional or t.mutable)
    )


def extent_names(graph: Graph) -> tuple[str, ...]:
    """What `_extents` returns: the sizes of `...`, every extent, the dtype of every type variable."""
    lead = (LEAD,) if any(has_lead(tensor.dims) for tensor in graph.tensors) else ()
    return (*lead, *(solve.name for solve in graph.solves), *(variable.name for variable in graph.variables))


def settings(graph: Graph) -> tuple[str, ...]:
    """The parameters besides tensors that a plan depends on: choices and extents."""
    return tuple(param.name for param in graph.params if isinstance(param, ChoiceParam | DimParam))


def layout_arguments(graph: Graph) -> tuple[str, ...]:
    """The parameters a plan depends on, tensors first; run-time scalars are not among them."""
    return (*(tensor.name for tensor in graph.tensors), *settings(graph))


def extents_lines(graph: Graph) -> list[str]:
    """The body of `_extents`."""
    tensors = graph.tensors
    lines = [squeeze_line(graph)] if squeezed(graph) else []
    lines.append(f'check = Checker("{graph.name}", {", ".join(f"{t.name}={t.name}" for t in tensors)})')
    for tensor in tensors:
        lead = has_lead(tensor.dims)
        rank = len(tensor.dims) - lead
        lines.append(f'check.rank("{tensor.name}", "{dims_text(tensor.dims)}", {rank}{", lead=True" if lead else ""})')
    lines += _dtype_lines(graph)
    lines += [line for solve in graph.solves for line in _solve_lines(graph, solve)]
    holder = next((tensor for tensor in tensors if has_lead(tensor.dims)), None)
    if holder is not None:
        after = len(holder.dims) - 1
        lines.append(f"{LEAD} = {holder.name}.shape[:-{after}]" if after else f"{LEAD} = {holder.name}.shape")
    for tensor in tensors:
        lines.append(f'check.shape("{tensor.name}", "{dims_text(tensor.dims)}", {shape_text(tensor.dims)})')
    lines += _parameter_lines(graph)
    names = extent_names(graph)
    return [*lines, f"return {', '.join(names)}" if len(names) > 1 else f"return {sequence(names)}"]


def outputs_lines(graph: Graph) -> list[str]:
    """The body of `_outputs`."""
    buffers = (f"Buffer({shape_text(output.dims)}, {_output_dtype(output)})" for output in graph.outputs)
    return [f"return {sequence(buffers)}"]


def squeeze_line(graph: Graph) -> str:
    """`cos, sin = squeeze(cos, 2), squeeze(sin, 2)`."""
    names = squeezed(graph)
    calls = (f"squeeze({name}, {len(graph.tensor(name).dims)})" for name in names)
    return f"{', '.join(names)} = {', '.join(calls)}"


def shape_text(dims: tuple[Dim, ...]) -> str:
    """A shape as a tuple of Python expressions."""
    return sequence(f"*{LEAD}" if dim == (Lead(),) else size_text(product_extent(dim)) for dim in dims)


def _output_dtype(output: Output) -> str:
    return output.element.name if isinstance(output.element, DTypeVar) else TORCH_DTYPES[output.element.name]


def _dtype_lines(graph: Graph) -> list[str]:
    lines: list[str] = []
    for variable in graph.variables:
        names = [f'"{tensor.name}"' for tensor in graph.tensors if tensor.element == variable]
        arguments = ", ".join([f'"{variable.name}"', dtype_options(variable), *names])
        lines.append(f"{variable.name} = check.dtype({arguments})")
    for tensor in graph.tensors:
        if not isinstance(tensor.element, DTypeVar):
            options = dtype_options(tensor.element)
            lines.append(f'check.dtype("{tensor.element.name}", {options}, "{tensor.name}")')
    return lines


def _solve_lines(graph: Graph, solve: Solve) -> list[str]:
    if solve.dim is None:
        param = next((p for p in graph.params if p.name == solve.param), None)
        return [
            f"{solve.name} = {size_text(solve.value.subs(SIZE, sympy.Symbol(param.name)) if param else solve.value)}"
        ]
    where = f"{solve.param}.shape[{solve.dim}]"
    if solve.value == SIZE:
        return [f"{solve.name} = {where}"]
    names = {"size": where}
    divisor: sympy.Expr = sympy.S.One
    dividend = solve.value
    if isinstance(solve.value, sympy.floor):
        dividend, divisor = sympy.fraction(sympy.together(solve.value.args[0]))
    place = solve.dim if solve.dim >= 0 else len(graph.tensor(solve.param).dims) + solve.dim
    arguments = f'"{solve.name}", "{solve.param}", {place}, {size_text(dividend, names)}, {size_text(divisor, names)}'
    return [f"{solve.name} = check.quotient({arguments})"]


def _parameter_lines(graph: Graph) -> list[str]:
    lines: list[str] = []
    for param in graph.params:
        if isinstance(param, DimParam):
            lines.append(f'check.extent("{param.axis}", "{param.name}", {param.name}, {param.axis})')
        if isinstance(param, ChoiceParam):
            lines.append(f'check.choice("{param.name}", {param.name}, {param.options!r})')
    for rule in graph.constraints:
        names = sorted(str(s) for s in rule.left.free_symbols | rule.right.free_symbols)
        values = "".join(f", {name}={name}" for name in names)
        condition = f"{size_text(rule.left)} {rule.relation} {size_text(rule.right)}"
        lines.append(f"check.require({condition}, {rule.text!r}{values})")
    return lines
