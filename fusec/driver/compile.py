"""One spec, from its text to the text of its generated file: the one place that knows every stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePath

from fusec.codegen import safety
from fusec.codegen.emit import emit
from fusec.codegen.names import FileNames, OpNames, name_apart
from fusec.diagnostics import Diagnostic, InternalError, Source, SpecError
from fusec.driver.record import FileRecord, OpRecord
from fusec.driver.telling import telling_calls
from fusec.ir.graph import Graph
from fusec.ir.program import Program
from fusec.lang.load import load
from fusec.passes.explain.plans import plan_records
from fusec.passes.graph.elaborate.op import elaborate
from fusec.passes.pipeline import compile_graph
from fusec.passes.warnings import warnings_of
from fusec.reference.emit import Function, emit_all


@dataclass(frozen=True, slots=True)
class Compiled:
    """One op of a spec: what it computes, how, and the generated file it stands in, which `exports` these names."""

    graph: Graph
    program: Program
    text: str
    exports: tuple[str, ...]


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
    with blamed("passes/pipeline"):
        programs = compile_graphs(graphs)
    with blamed("codegen/names"):
        programs, names = name_apart(programs)
    return Planned(graphs, programs, names)


def compile_source(source: Source, folder: Path | None) -> tuple[Compiled, ...]:
    """Every op of a spec, as text too. Raises as `plan_source` does."""
    name, planned = PurePath(source.name), plan_source(source, folder)
    programs, names = planned.programs, planned.names
    with blamed("reference/emit"):
        functions = tuple(_functions(programs, names.ops))
        texts = dict(zip((each.name for each in functions), emit_all(functions, names.spec), strict=True))
    with blamed("codegen/emit"):
        text = emit(programs, texts, names, name.name, sha256(source.text.encode()).hexdigest())
    exports = safety.check(name.stem, text)
    ops = zip(planned.graphs, programs, strict=True)
    return tuple(Compiled(graph, program, text, exports) for graph, program in ops)


def _functions(programs: Sequence[Program], names: Sequence[OpNames]) -> Iterator[Function]:
    """The functions of a file that are plain PyTorch, in the order they stand."""
    for program, own in zip(programs, names, strict=True):
        yield Function(own.reference, program.graph)
        if program.once:
            yield Function(own.prepare, program.once, once=True)


def compile_file(source: Source, folder: Path | None) -> FileRecord:
    """What a build keeps of a spec: its generated file, and the figures of its ops. Raises as `compile_source` does."""
    compiled = compile_source(source, folder)
    ops = tuple(OpRecord(one.graph.name, plan_records(one.program), telling_calls(one.program)) for one in compiled)
    with blamed("passes/warnings"):
        warnings = warnings_of(one.graph for one in compiled)
    return FileRecord(PurePath(source.name).stem, compiled[0].text, compiled[0].exports, ops, warnings)


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
