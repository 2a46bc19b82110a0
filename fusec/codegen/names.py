"""The names of a generated file: what the spec calls something is taken first, everything else goes around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fusec.codegen.functions import called_functions, with_functions
from fusec.codegen.kernels import kernel_views
from fusec.codegen.merged import OpFacts, Written
from fusec.codegen.merged import groups as merged_groups
from fusec.codegen.shared_plans import Shared, shared_plans
from fusec.ir.host.names import argument_name, with_names
from fusec.ir.kernel import Kernel
from fusec.ir.program import HostTable, Program

IMPORTS = (
    *("Buffer", "Checker", "LinearModule", "Op", "Prepare", "StoringModule"),
    *("device", "roles", "flag", "integer", "lengthen", "parameter", "real", "renamed", "repeat", "spread"),
)
"""What the functions of a generated file may take from `fusec.runtime`; it imports what it uses."""

TABLE = (
    *("ColumnSums", "Elementwise", "Gemm", "GemmRoles", "GemmTma", "Gemv", "Library", "Partial", "Partition", "Plans"),
    *("GemmScaled", "Resident"),
    *("RowLoop", "RowTiles", "RowVectors", "Rows", "SplitRows", "Step", "TensorMap", "Tile", "Tuned", "View"),
    "Workspace",
)
"""What its tables are made of."""

_WORD = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?<![\w.])[A-Za-z_]\w*(?!\w|=[^=])""")
"""A string, or a name that is no attribute and no keyword of a call."""


@dataclass(frozen=True, slots=True)
class OpNames:
    """What belongs to an op at the top of its file, beside the op itself.

    Its `kernels` are those that stand there; `renamed` are kernels of the file under names of its own, for tensors that
    are called otherwise.
    """

    extents: str
    plans: str
    constant: str
    reference: str
    prepare: str
    prepared: str
    values: ValuesNames | None
    kernels: frozenset[str]
    renamed: tuple[Renaming, ...]


@dataclass(frozen=True, slots=True)
class ValuesNames:
    """What belongs to the op that takes prepared values in place of weights."""

    function: str
    extents: str
    constant: str


@dataclass(frozen=True, slots=True)
class Renaming:
    """`name = renamed(kernel, q="k")`: a kernel, and what its parameters stand for, by words of their names."""

    name: str
    kernel: str
    words: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FileNames:
    """The names at the top of a file: those of each op, and what it calls its imports where they are taken.

    `spec` holds what callers see, the names of ops, modules and their parameters; nothing else may be called so. `hash`
    is that of the text of the spec.
    """

    spec: frozenset[str]
    hash: str
    ops: tuple[OpNames, ...]
    imports: Mapping[str, str]
    functions: tuple[str, ...]
    shared: tuple[Shared, ...]
    taken: frozenset[str]


def name_apart(programs: tuple[Program, ...]) -> tuple[tuple[Program, ...], FileNames]:
    """The programs of a file, their kernels under names of their own, and the names of everything else."""
    graphs = [program.graph for program in programs]
    spec = {graph.name for graph in graphs} | {param.name for graph in graphs for param in graph.params}
    for module in (module for graph in graphs for module in graph.modules):
        spec |= {module.name, *(setting.name for setting in module.settings)}
    names = _Free(spec.union(*map(_spelled, programs)))
    imports = {name: names.new(name) for name in (*IMPORTS, *TABLE)}
    functions = called_functions(programs, names.new)
    programs = tuple(with_functions(program, functions) for program in programs)
    called = _kernel_names(programs, names)
    programs = _with_merged(programs, called)
    ops = tuple(
        OpNames(
            extents=names.new(f"_extents_{graph.name}"),
            plans=names.new(f"_PLANS_{graph.name.upper()}"),
            constant=names.new(f"_OP_{graph.name.upper()}"),
            reference=names.new(f"reference_{graph.name}"),
            prepare=names.new(f"_prepare_{graph.name}"),
            prepared=names.new(f"_PREPARE_{graph.name.upper()}"),
            values=_values_names(graph.name, names) if program.from_values else None,
            kernels=frozenset(own.written),
            renamed=tuple(own.renamed),
        )
        for program, graph, own in zip(programs, graphs, called, strict=True)
    )
    named = tuple(_with_names(program, own) for program, own in zip(programs, called, strict=True))
    shared = shared_plans([_table(program).plans for program in named], names.new)
    return named, FileNames(
        frozenset(spec), names.new("_SPEC"), ops, imports, tuple(dict.fromkeys(functions.values())), shared, names.taken
    )


def _values_names(op: str, names: _Free) -> ValuesNames:
    return ValuesNames(
        names.new(f"_{op}_of_values"), names.new(f"_extents_{op}_of_values"), names.new(f"_OP_{op.upper()}_OF_VALUES")
    )


@dataclass(slots=True)
class _Called:
    """What an op calls its kernels: what each is in the file, and what the table of the op has in its place."""

    kernels: dict[str, str] = field(default_factory=dict)
    table: dict[str, str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    renamed: list[Renaming] = field(default_factory=list)

    def replace(self, names: Mapping[str, str]) -> None:
        """Take some kernels of the file for others."""
        self.kernels = {own: names.get(known, known) for own, known in self.kernels.items()}
        self.table = {own: names.get(known, known) for own, known in self.table.items()}
        self.renamed = [replace(each, kernel=names.get(each.kernel, each.kernel)) for each in self.renamed]
        self.written -= set(names)


def _kernel_names(programs: tuple[Program, ...], names: _Free) -> list[_Called]:
    """What each op calls its kernels in the file. Those that are the same but for their names are one.

    Where the names of parameters differ as well, the table has the kernel under a name that says so.
    """
    written: dict[tuple[object, ...], dict[str, tuple[str, ...]]] = {}
    alike: dict[tuple[str, tuple[str, ...]], str] = {}
    found: list[_Called] = []
    for program in programs:
        own = _Called()
        for kernel in kernel_views(program):
            others = written.setdefault(kernel.form, {})
            found_words = ((name, renaming(arguments, kernel.by_use)) for name, arguments in others.items())
            known, words = min(
                ((name, words) for name, words in found_words if words is not None),
                key=lambda each: len(each[1]),
                default=("", None),
            )
            if words is None:
                known = names.new(kernel.name)
                own.written.add(known)
                others[known] = kernel.by_use
                alike[known, kernel.by_use] = known
            elif (known, kernel.by_use) not in alike:
                alike[known, kernel.by_use] = names.new(kernel.name)
                own.renamed.append(Renaming(alike[known, kernel.by_use], known, tuple(words.items())))
            own.kernels[kernel.name] = known
            own.table[kernel.name] = alike[known, kernel.by_use]
        found.append(own)
    return found


def _with_merged(programs: tuple[Program, ...], called: list[_Called]) -> tuple[Program, ...]:
    """The programs, where kernels of several ops that differ in little are one, told for which op it is launched."""
    if len(programs) <= 1 or len({program.spelled.may_be_wide for program in programs}) > 1:
        return programs
    written: list[Written] = []
    for place, (program, own) in enumerate(zip(programs, called, strict=True)):
        kernels = {own.kernels[kernel.name]: kernel for kernel in reversed(program.kernels)}
        written += [Written(name, place, kernels[name]) for name in reversed(kernels) if name in own.written]
    ops = [_facts(program, own) for program, own in zip(programs, called, strict=True)]
    found = merged_groups(written, ops, "REAL" if programs[0].spelled.may_be_wide else "tl.float32")
    made = list(programs)
    for place, op in enumerate(ops):
        if any(group.of(op) for group in found):
            absent = dict.fromkeys(name for group in found for name in group.absent(op))
            made[place] = _launched_as(made[place], op.name, tuple(absent))
    for group in found:
        first, *others = group.members
        made[first.op] = _with_kernel(made[first.op], first.kernel, group.kernel)
        for own in called:
            own.replace({member.name: first.name for member in others})
    return tuple(made)


def _facts(program: Program, own: _Called) -> OpFacts:
    strides = _table(program).plans.strides
    return OpFacts(
        program.graph.name,
        frozenset(own.kernels.values()),
        frozenset(_table(program).plans.extents.split()),
        frozenset(strides),
        frozenset(_table(program).plans.workspace),
        frozenset(flag for kernel in program.kernels for flag in kernel.flags),
    )


def _launched_as(program: Program, op: str, absent: tuple[str, ...]) -> Program:
    plans = replace(_table(program).plans, op=op, absent=" ".join(absent))
    return replace(program, table=replace(_table(program), plans=plans))


def _table(program: Program) -> HostTable:
    assert program.table is not None
    return program.table


def _with_kernel(program: Program, old: Kernel, new: Kernel) -> Program:
    built = {stage: new if kernel == old else kernel for stage, kernel in program.built.items()}
    return replace(program, built=built)


def renaming(old: tuple[str, ...], new: tuple[str, ...]) -> dict[str, str] | None:
    """Words of the parameters `old` that make them those of `new`, or whole names of these; None where neither does."""
    words: dict[str, str] = {}
    for before, after in zip(old, new, strict=True):
        pairs = [(before, after)]
        if before.endswith("_ptr") and after.endswith("_ptr"):
            pairs = [(before.removesuffix("_ptr"), after.removesuffix("_ptr"))]
        elif "_stride_" in before and "_stride_" in after:
            (tensor, _, dim), (other, _, axis) = before.partition("_stride_"), after.partition("_stride_")
            pairs = [(tensor, other), (dim, axis)]
        words |= {one: other for one, other in pairs if one != other and one not in words}
    words |= {one: other for one, other in zip(old, new, strict=True) if argument_name(one, words) != other}
    return words if tuple(argument_name(name, words) for name in old) == new else None


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

    @property
    def taken(self) -> frozenset[str]:
        """All that it has handed out."""
        return frozenset(self._taken)

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


def _with_names(program: Program, called: _Called) -> Program:
    built = {stage: replace(kernel, name=called.kernels[kernel.name]) for stage, kernel in program.built.items()}
    table = program.table and replace(program.table, plans=with_names(program.table.plans, called.table))
    return replace(program, built=built, table=table)
