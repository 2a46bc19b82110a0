"""The names of a generated file: what the spec calls something is taken first, everything else goes around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fusec.codegen.kernels import kernel_views
from fusec.ir.host import with_names
from fusec.ir.program import Program

IMPORTS = (
    *("Buffer", "Checker", "Op", "Prepare"),
    *("device", "flag", "integer", "lengthen", "parameter", "real", "repeat", "spread", "squeeze"),
)
"""What the functions of a generated file may take from `fusec.runtime`; it imports what it uses."""

TABLE = (
    *("ColumnSums", "Elementwise", "Gemm", "GemmTma", "Gemv", "Library", "Partial", "Partition", "Plans", "Resident"),
    *("RowLoop", "Rows", "RowTiles", "SplitRows", "Step", "TensorMap", "Tile", "Tuned", "View", "Workspace"),
)
"""What its tables are made of."""

_WORD = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?<![\w.])[A-Za-z_]\w*(?!\w|=[^=])""")
"""A string, or a name that is no attribute and no keyword of a call."""


@dataclass(frozen=True, slots=True)
class OpNames:
    """What belongs to an op at the top of its file, beside the op itself. Its `kernels` are those that stand there."""

    extents: str
    plans: str
    constant: str
    reference: str
    prepare: str
    prepared: str
    kernels: frozenset[str]


@dataclass(frozen=True, slots=True)
class FileNames:
    """The names at the top of a file: those of each op, and what it calls its imports where they are taken.

    `spec` holds what callers see, the names of ops, modules and their parameters; nothing else may be called so.
    """

    spec: frozenset[str]
    ops: tuple[OpNames, ...]
    imports: Mapping[str, str]


def name_apart(programs: tuple[Program, ...]) -> tuple[tuple[Program, ...], FileNames]:
    """The programs of a file, their kernels under names of their own, and the names of everything else."""
    graphs = [program.graph for program in programs]
    spec = {graph.name for graph in graphs} | {param.name for graph in graphs for param in graph.params}
    for module in (module for graph in graphs for module in graph.modules):
        spec |= {module.name, *(setting.name for setting in module.settings)}
    names = _Free(spec.union(*map(_spelled, programs)))
    imports = {name: names.new(name) for name in (*IMPORTS, *TABLE)}
    kernels = _kernel_names(programs, names)
    owned = _first_of_each(kernels)
    ops = tuple(
        OpNames(
            extents=names.new(f"_extents_{graph.name}"),
            plans=names.new(f"_PLANS_{graph.name.upper()}"),
            constant=names.new(f"_OP_{graph.name.upper()}"),
            reference=names.new(f"reference_{graph.name}"),
            prepare=names.new(f"_prepare_{graph.name}"),
            prepared=names.new(f"_PREPARE_{graph.name.upper()}"),
            kernels=own,
        )
        for graph, own in zip(graphs, owned, strict=True)
    )
    named = tuple(_with_names(program, new) for program, new in zip(programs, kernels, strict=True))
    return named, FileNames(frozenset(spec), ops, imports)


def _kernel_names(programs: tuple[Program, ...], names: _Free) -> list[dict[str, str]]:
    """What each op calls its kernels in the file. Those that are the same but for their names are one."""
    written: dict[tuple[object, ...], str] = {}
    found: list[dict[str, str]] = []
    for program in programs:
        own: dict[str, str] = {}
        for kernel in kernel_views(program):
            if kernel.code not in written:
                written[kernel.code] = names.new(kernel.name)
            own[kernel.name] = written[kernel.code]
        found.append(own)
    return found


def _first_of_each(kernels: list[dict[str, str]]) -> list[frozenset[str]]:
    """The kernels of each op that none before it has."""
    found: list[frozenset[str]] = []
    for own in kernels:
        found.append(frozenset(own.values()).difference(*found))
    return found


def respelled(line: str, imports: Mapping[str, str]) -> str:
    """A line of private code, whose other names are not those of `IMPORTS`, with these as the file calls them."""
    return _WORD.sub(lambda found: imports.get(found[0], found[0]) if found[0] in IMPORTS else found[0], line)


def words(lines: Iterable[str]) -> set[str]:
    """The names in lines of code, without attributes and keywords of calls."""
    return {found[0] for line in lines for found in _WORD.finditer(line)}


class _Free:
    """Hands out names, each once."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken

    def new(self, wanted: str) -> str:
        """`wanted`, or that with as many underscores behind it as it takes."""
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted


def _spelled(program: Program) -> set[str]:
    """What the private functions of an op call the things of its spec."""
    graph = program.spelled
    named = (*graph.params, *graph.outputs, *graph.variables, *graph.solves, *program.kept)
    return {each.name for each in named}


def _with_names(program: Program, names: Mapping[str, str]) -> Program:
    built = {stage: replace(kernel, name=names[kernel.name]) for stage, kernel in program.built.items()}
    table = program.table and replace(program.table, plans=with_names(program.table.plans, names))
    return replace(program, built=built, table=table)
