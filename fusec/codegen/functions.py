"""Functions of a file: what several kernels make of some values is written once, whatever they call these values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from fusec.codegen.kernels import numbered
from fusec.codegen.statements import StatementPrinter, compile_time, function_parameters
from fusec.ir.program import Program
from fusec.ir.statements import Function

FunctionText: TypeAlias = tuple[frozenset[int], tuple[str, ...]]
"""A function but for what it calls its parameters and variables: which of them are compile-time, and its lines.

What is the same text is the same function.
"""


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function as text: parameters, documentation and body."""

    name: str
    parameters: tuple[str, ...]
    doc: str
    body: tuple[str, ...]


def called_functions(programs: tuple[Program, ...]) -> dict[FunctionText, str]:
    """The functions that the kernels of a file call, each once, and what the first op that does would call it."""
    found: dict[FunctionText, str] = {}
    for program in programs:
        for text, name in _names(program).items():
            found.setdefault(text, name)
    return found


def _names(program: Program) -> dict[FunctionText, str]:
    """What an op would call its functions: by what they write, and those of more sums by what else they are given."""
    by_outputs: dict[tuple[str, ...], dict[FunctionText, Function]] = {}
    for function in _functions(program):
        by_outputs.setdefault(function.writes, {}).setdefault(_text(function, program), function)
    found: dict[FunctionText, str] = {}
    for writes, same in by_outputs.items():
        stem = "_".join((f"_{program.graph.name}_epilogue", *(writes if len(by_outputs) > 1 else ())))
        least = min(same.values(), key=lambda function: len(function.inputs))
        for text, function in same.items():
            more = [name for name in function.inputs if name not in least.inputs]
            found[text] = f"{stem}_with_{'_'.join(more)}" if more else stem
    return found


def with_functions(program: Program, names: Mapping[FunctionText, str]) -> Program:
    """A program whose kernels call functions by these names."""
    texts = {function: names[_text(function, program)] for function in _functions(program)}
    built = {stage: kernel.calling(texts.__getitem__) for stage, kernel in program.built.items()}
    return replace(program, built=built)


def function_views(program: Program) -> Iterator[FunctionView]:
    """The functions that the kernels of an op call, as text."""
    calls = {call.called: call.function for kernel in program.kernels for call in kernel.calls}
    for name, function in calls.items():
        fixed = compile_time(function)
        parameters, lines = _written(function, program)
        typed = (f"{each}: tl.constexpr" if each in fixed else each for each in parameters)
        yield FunctionView(name, tuple(typed), function.doc, lines)


def _functions(program: Program) -> tuple[Function, ...]:
    return tuple(dict.fromkeys(call.function for kernel in program.kernels for call in kernel.calls))


def _text(function: Function, program: Program) -> FunctionText:
    parameters, lines = _written(function, program)
    fixed = frozenset(place for place, name in enumerate(parameters) if name in compile_time(function))
    return fixed, numbered(lines, parameters)


def _written(function: Function, program: Program) -> tuple[tuple[str, ...], tuple[str, ...]]:
    lines = StatementPrinter("REAL" if program.spelled.may_be_wide else "tl.float32").function(function)
    return function_parameters(function, lines), tuple(lines)
