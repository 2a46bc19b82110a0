"""One spec, from its text to the text of its generated file: its plans, as text and as figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePath

from fusec.codegen import safety
from fusec.codegen.emit import emit
from fusec.codegen.names import OpNames
from fusec.diagnostics import Source
from fusec.driver.plan import Planned, blamed, plan_source
from fusec.driver.record import FileRecord, OpRecord
from fusec.driver.telling import telling_calls
from fusec.ir.graph import Graph
from fusec.ir.program import Program
from fusec.passes.explain.plans import plan_records
from fusec.passes.warnings import warnings_of
from fusec.reference.emit import Function, emit_all


@dataclass(frozen=True, slots=True)
class Compiled:
    """One op of a spec: what it computes, how, and the generated file it stands in, which `exports` these names."""

    graph: Graph
    program: Program
    text: str
    exports: tuple[str, ...]


def compile_source(source: Source, folder: Path | None) -> tuple[Compiled, ...]:
    """Every op of a spec, as text too. Raises as `plan_source` does."""
    return compile_planned(source, plan_source(source, folder))


def compile_planned(source: Source, planned: Planned) -> tuple[Compiled, ...]:
    """The same for the ops of a spec that are planned."""
    name = PurePath(source.name)
    if not planned.graphs:
        return ()
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
    """What a build keeps of a spec: its generated file, and the figures of its ops. Raises as `compile_source` does.

    A file of functions alone, which others `use`, makes no file.
    """
    return record(source, compile_source(source, folder))


def record(source: Source, compiled: Sequence[Compiled]) -> FileRecord:
    """What a build keeps of the ops of a spec."""
    if not compiled:
        return FileRecord(PurePath(source.name).stem, "", (), (), ())
    ops = tuple(OpRecord(one.graph.name, plan_records(one.program), telling_calls(one.program)) for one in compiled)
    with blamed("passes/warnings"):
        warnings = warnings_of(one.graph for one in compiled)
    return FileRecord(PurePath(source.name).stem, compiled[0].text, compiled[0].exports, ops, warnings)
