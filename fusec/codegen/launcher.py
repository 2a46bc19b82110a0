"""The host side that launches: `_plan` chooses among the plans of an op by its extents, as lines of Python."""

from __future__ import annotations

from collections.abc import Iterable

from fusec.codegen.checks import extent_names, layout_arguments, squeeze_line, squeezed
from fusec.codegen.choices import Choice, ChoiceWriter
from fusec.codegen.extents import Extents, count
from fusec.codegen.launches import LaunchWriter
from fusec.codegen.names import OpNames
from fusec.codegen.signature import chooses_real, is_wide, sequence
from fusec.codegen.sizes import SizeWriter
from fusec.ir.graph import Graph, ScalarParam
from fusec.ir.program import BuiltGroup, Program


def plan_lines(program: Program, names: OpNames) -> list[str]:
    """The body of `_plan` for one op: extents and outputs, sizes, and a chain of choices for each group of outputs."""
    graph = program.spelled
    sizes = SizeWriter(program)
    choices = ChoiceWriter(graph, Extents(dict(program.known)), LaunchWriter(graph, sizes))
    lines = [*_extents(graph, names), *sizes.lines()]
    if any(kernel.blocks for kernel in program.kernels):
        tensors = [*(tensor.name for tensor in graph.tensors), *(output.name for output in graph.outputs)]
        lines.append(f"index = tiles.index_type({', '.join(tensors)})")
    if chooses_real(graph):
        lines.append(f"real = tl.float64 if torch.float64 in {_wide_dtypes(graph)} else tl.float32")
    if _has_scratch(program):
        lines.append("scratch = {}")
    lines.append("launches = []")
    for group in program.groups:
        lines += _group(group, choices)
    return [*lines, *_result(graph, _has_scratch(program))]


def scalar_names(graph: Graph) -> list[str]:
    """The run-time scalars of an op, in order."""
    return [param.name for param in graph.params if isinstance(param, ScalarParam)]


def _extents(graph: Graph, names: OpNames) -> list[str]:
    given = f"{names.extents}({', '.join(layout_arguments(graph))})"
    found = extent_names(graph)[: -len(graph.variables) or None]
    left = [*found, *(["*_"] if graph.variables else [])]
    lines = [f"{_targets(left)} = extents = {given}" if found else f"extents = {given}"]
    if graph.outputs:
        lines.append(f"{_targets(output.name for output in graph.outputs)} = {names.outputs}(*extents)")
    return [*lines, squeeze_line(graph)] if squeezed(graph) else lines


def _targets(names: Iterable[str]) -> str:
    """The left side of an assignment from a tuple."""
    listed = list(names)
    return ", ".join(listed) if len(listed) > 1 else sequence(listed)


def _wide_dtypes(graph: Graph) -> str:
    wide = (tensor for tensor in graph.tensors if not tensor.optional and is_wide(tensor.element))
    return sequence(dict.fromkeys(f"{tensor.name}.dtype" for tensor in wide))


def _has_scratch(program: Program) -> bool:
    plans = [plan.plan for group in program.groups for plan in group.all_plans()]
    return any(stage.partials for plan in plans for stage in plan.stages)


def _group(group: BuiltGroup, writer: ChoiceWriter) -> list[str]:
    """The launches for a group of outputs, and for what is left to compute when they are of no program."""
    choices = [writer.choice(plan) for plan in group.plans]
    if group.apart:
        apart = [line for inner in group.apart for line in _group(inner, writer)]
        choices.append(Choice(None, "each output apart", apart))
    if group.alone is None:
        return _chain(choices)
    empty = " or ".join(f"{count((axis,))} == 0" for axis in group.absent)
    return [*_chain(choices), f"if {empty}:", *(f"    {line}" for line in _group(group.alone, writer))]


def _chain(choices: list[Choice]) -> list[str]:
    """Plans as an if-chain, the last of which takes all extents."""
    if len(choices) == 1:
        return [f"# {choices[0].words}", *choices[0].body]
    lines: list[str] = []
    for place, choice in enumerate(choices):
        always = choice.condition is None or place == len(choices) - 1
        lines.append("else:" if always else f"{'elif' if place else 'if'} {choice.condition}:")
        lines += [f"    # {choice.words}", *(f"    {line}" for line in choice.body)]
        if always:
            break
    return lines


def _result(graph: Graph, scratch: bool) -> list[str]:
    quoted = {name: f'"{name}"' for name in (param.name for param in graph.params)}
    tensors = sequence(quoted[tensor.name] for tensor in graph.tensors)
    scalars = [quoted[name] for name in scalar_names(graph)]
    mutated = [quoted[tensor.name] for tensor in graph.tensors if tensor.mutable]
    outputs = ", ".join(f'"{output.name}": {output.name}' for output in graph.outputs)
    return [
        "return Plan(",
        f'    "{graph.name}",',
        f"    {next(tensor.name for tensor in graph.tensors if not tensor.optional)}.device,",
        f"    tensors={tensors},",
        *([f"    scalars={sequence(scalars)},"] if scalars else []),
        *([f"    mutated={sequence(mutated)},"] if mutated else []),
        f"    outputs={{{outputs}}},",
        *(["    scratch=scratch,"] if scratch else []),
        "    launches=launches,",
        ")",
    ]
