"""One spec, from its text to the kernels of its ops, under the names that they have in their file.

What only tells of kernels needs no more, and so waits for nothing that writes files or runs kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fusec.codegen.names import FileNames, name_apart
from fusec.diagnostics import Diagnostic, InternalError, Source, SpecError
from fusec.ir.graph import Graph
from fusec.ir.program import Program
from fusec.lang.load import load
from fusec.passes.graph.elaborate.op import elaborate
from fusec.passes.pipeline import compile_graph


@dataclass(frozen=True, slots=True)
class Planned:
    """The ops of a spec before their text: what they compute, how, and what stands in their file under which name."""

    graphs: tuple[Graph, ...]
    programs: tuple[Program, ...]
    names: FileNames

    def program(self, op: str) -> Program:
        """The kernels of the op of that name, as they are called in the file."""
        return next(program for program in self.programs if program.graph.name == op)


def plan_source(source: Source, folder: Path | None) -> Planned:
    """Every op of a spec, with all its kernels. `folder` is where `use NAME` looks for files; None admits no `use`.

    Raises `SpecError` with all mistakes of the spec and `InternalError` for a fault of the compiler.
    """
    with blamed("lang"):
        tree = load(source, folder)
    with blamed("passes/graph/elaborate"):
        graphs = elaborate(tree)
    return plan_graphs(graphs)


def plan_graphs(graphs: tuple[Graph, ...]) -> Planned:
    """The same for the ops of a spec that is read."""
    with blamed("passes/pipeline"):
        programs = compile_graphs(graphs)
    with blamed("codegen/names"):
        programs, names = name_apart(programs)
    return Planned(graphs, programs, names)


def compile_graphs(graphs: Sequence[Graph]) -> tuple[Program, ...]:
    """The kernels of all ops of a spec. Raises `SpecError` with everything in them that no kernel can be built for."""
    programs: list[Program] = []
    faults: list[Diagnostic] = []
    for graph in graphs:
        try:
            programs.append(compile_graph(graph))
        except SpecError as error:
            faults += error.diagnostics
    if faults:
        raise SpecError(tuple(faults))
    return tuple(programs)


@contextmanager
def blamed(step: str) -> Iterator[None]:
    """Turn whatever a stage did not mean to raise into an `InternalError` that names it."""
    try:
        yield
    except (SpecError, InternalError):
        raise
    except Exception as error:
        raise InternalError(step, f"{type(error).__name__}: {error}") from error
