"""Functions of a file: what several kernels make of some values is written once, whatever they call these values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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

_OPTIONAL = re.compile(r" if %?\w+ is not None else \S+$")
"""What stands behind the value of a tensor that may be lacking: where it is there, the rest is compiled."""


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function as text: parameters, documentation and body."""

    name: str
    parameters: tuple[str, ...]
    doc: str
    body: tuple[str, ...]


def called_functions(programs: tuple[Program, ...], new_name: Callable[[str], str]) -> dict[FunctionText, str]:
    """The functions that the kernels of a file call, with a new name for each: what the first op that does calls it.

    One that may lack tensors is also that of ops whose calls have them.
    """
    wanted: dict[FunctionText, str] = {}
    for program in programs:
        wanted |= {text: name for text, name in _names(program).items() if text not in wanted}
    found: dict[FunctionText, str] = {}
    for text, name in wanted.items():
        whole = max((each for each in wanted if _serves(each, text)), key=_optional)
        found[text] = found[whole] = found.get(whole) or new_name(name)
    return found


def _serves(whole: FunctionText, text: FunctionText) -> bool:
    """Whether a function is another one, but that it may lack more tensors."""
    (fixed, lines), (own, others) = whole, text
    return (fixed, len(lines)) == (own, len(others)) and all(
        line in (one, _OPTIONAL.sub("", one)) for one, line in zip(lines, others, strict=True)
    )


def _optional(text: FunctionText) -> int:
    """How many tensors a function may lack."""
    return sum(bool(_OPTIONAL.search(line)) for line in text[1])


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


def function_views(programs: tuple[Program, ...]) -> dict[str, FunctionView]:
    """The functions that the kernels of a file call by name, each as the op has it that lacks most tensors."""
    found: dict[str, tuple[int, FunctionView]] = {}
    for program in programs:
        for call in (call for kernel in program.kernels for call in kernel.calls):
            lacks = _optional(_text(call.function, program))
            if lacks > found.get(call.called, (-1,))[0]:
                found[call.called] = lacks, _view(call.called, call.function, program)
    return {name: view for name, (_, view) in found.items()}


def _view(name: str, function: Function, program: Program) -> FunctionView:
    fixed = compile_time(function)
    parameters, lines = _written(function, program)
    typed = (f"{each}: tl.constexpr" if each in fixed else each for each in parameters)
    return FunctionView(name, tuple(typed), function.doc, lines)


def _functions(program: Program) -> tuple[Function, ...]:
    return tuple(dict.fromkeys(call.function for kernel in program.kernels for call in kernel.calls))


def _text(function: Function, program: Program) -> FunctionText:
    parameters, lines = _written(function, program)
    fixed = frozenset(place for place, name in enumerate(parameters) if name in compile_time(function))
    return fixed, numbered(lines, parameters)


def _written(function: Function, program: Program) -> tuple[tuple[str, ...], tuple[str, ...]]:
    lines = StatementPrinter("REAL" if program.spelled.may_be_wide else "tl.float32").function(function)
    return function_parameters(function, lines), tuple(lines)
