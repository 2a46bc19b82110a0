"""How an op is called and registered: the function that users call, and the object behind it, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from textwrap import fill

from fusec.codegen.checks import outputs_text
from fusec.codegen.module import conversion
from fusec.codegen.names import respelled
from fusec.codegen.signature import literal, schema, sequence
from fusec.codegen.wrap import filled, wrapped
from fusec.ir.arguments import scalar_names, settings
from fusec.ir.graph import Graph, ScalarParam

SCHEMA_WIDTH = 112
"""Characters of a schema in one line: what is left of the page beside quotes and indentation."""


def fitted(lines: Iterable[str], imports: Mapping[str, str]) -> tuple[str, ...]:
    """The lines of a function's body, none longer than the page."""
    return tuple(part for line in lines for part in wrapped(respelled(line, imports), depth=1))


def call_lines(graph: Graph, constant: str, imports: Mapping[str, str]) -> list[str]:
    """The body of the function that calls the op `constant`: scalars as numbers, then the op."""
    lines: list[str] = []
    for param in graph.params:
        if isinstance(param, ScalarParam):
            lines.append(f"{param.name} = {conversion(graph.name, param, imports)}")
    given = [sequence(tensor.name for tensor in graph.tensors)]
    if scalar_names(graph) or settings(graph):
        given.append(sequence(scalar_names(graph)))
    if settings(graph):
        given.append(sequence(settings(graph)))
    return [*lines, f"return {constant}({', '.join(given)})"]


def registration_lines(
    graph: Graph, spelled: Graph, constant: str, imports: Mapping[str, str], about: Mapping[str, str]
) -> Iterator[str]:
    """The statement that makes the op `constant`, its schema over several lines where it is long.

    `about` has the arguments that say where the rest of it stands. Private code calls what is in `graph` as `spelled`.
    """
    *first, last = fill(schema(graph), SCHEMA_WIDTH, break_long_words=False, break_on_hyphens=False).split("\n")
    yield f"{constant} = {imports['Op']}("
    yield from (f"    {literal(f'{line} ')}" for line in first)
    yield f"    {literal(last)},"
    given = [f"tensors={len(graph.tensors)}"]
    if scalar_names(graph):
        given.append(f"scalars={len(scalar_names(graph))}")
    given += [f"{part}={text}" for part, text in about.items() if part != "function"]
    given.append(f"outputs={respelled(outputs_text(spelled), imports)}")
    given += [f"{part}={text}" for part, text in about.items() if part == "function"]
    yield from (f"    {row}" for line in filled(given) for row in wrapped(line, 1))
    yield ")"
