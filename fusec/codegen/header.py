"""The docstring of a generated file, a table of contents: the plans of each op, when one is taken, launches, bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import dedent, fill, wrap

from fusec.codegen.names import FileNames
from fusec.codegen.signature import tensor_text
from fusec.ir.graph import Graph
from fusec.ir.host.names import LEAD
from fusec.ir.host.plans import LIBRARY, Library, Partition, Plans, Step
from fusec.ir.host.schedules import (
    ColumnSums,
    Elementwise,
    Gemm,
    GemmRoles,
    GemmScaled,
    GemmTma,
    Gemv,
    Resident,
    RowLoop,
    Rows,
    RowTiles,
    RowVectors,
    Schedule,
    SplitRows,
    Tile,
    kernels,
)
from fusec.ir.program import Program
from fusec.passes.schedule.traffic import excess_traffic

WIDTH = 116
_HEAD = ("plan", "taken when", "launches", "bytes")
_LAUNCHES = 45
"""Characters of a line for launches."""

_LEAST = "least"
_LEGEND = "Bytes: `least` is every tensor once; what stands behind it is read or written again."


@dataclass(frozen=True, slots=True)
class _Row:
    """A plan in the table."""

    plan: str
    taken: str
    launches: str
    bytes: str


def summary(programs: tuple[Program, ...], names: FileNames) -> str:
    """The docstring as text, its first line alone."""
    title = [_title([f"`{program.graph.name}`" for program in programs])] if len(programs) > 1 else []
    known: dict[tuple[_Row, ...], str] = {}
    ops = sorted((program.graph.name for program in programs), key=len, reverse=True)
    kernels = {each.name: each.kernel for own in names.ops for each in own.renamed}
    return "\n\n".join([*title, *(_op(program, ops, kernels, known) for program in programs), _LEGEND])


def _title(names: list[str]) -> str:
    text = f"The ops {', '.join(names[:-1])} and {names[-1]}."
    return text if len(text) <= WIDTH else f"{len(names)} ops: {names[0]} and its variants."


def _op(program: Program, ops: list[str], renamed: Mapping[str, str], known: dict[tuple[_Row, ...], str]) -> str:
    """What an op is for, and its plans, unless those are of an op before it."""
    graph = program.graph
    doc = dedent(graph.doc).strip() or "as its spec says."
    lines = fill(f"{graph.name}: {doc}", WIDTH).split("\n")
    lines += _prepared(program.once) if program.once else ()
    rows = tuple(_Table(_plans(program), program, ops, renamed).rows())
    if rows in known:
        lines.append(f"  as `{known[rows]}`")
    else:
        known[rows] = graph.name
        lines += _table(rows)
    return "\n".join(lines)


def _prepared(once: Graph) -> Iterator[str]:
    """What is computed once, and the memory it takes."""
    weights = ", ".join(tensor.name for tensor in once.tensors)
    kept = ", ".join(f"{one.name}: {tensor_text(one)}" for one in once.outputs)
    text = f"computed once from {weights}, kept while they live unchanged, and read by plans of steps: {kept}"
    yield fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _plans(program: Program) -> Plans:
    assert program.table is not None
    return program.table.plans


class _Table:
    """The plans of one op as rows.

    `ops` are the names that kernels of the file begin with, the longest first; `renamed` kernels stand for others.
    """

    def __init__(self, plans: Plans, program: Program, ops: list[str], renamed: Mapping[str, str]) -> None:
        self._plans = plans
        self._ops = ops
        self._renamed = renamed
        self._excess: Mapping[str, str] = {
            kernel.name: excess_traffic(plan) for plan in program.plans for kernel in program.kernels_of(plan)
        }

    def rows(self) -> Iterator[_Row]:
        """Those of partitions first, of them those of the library, then one for each schedule of a step."""
        plans = self._plans
        for partition in sorted(plans.partitions, key=lambda each: not each.products):
            yield from self._partition(partition)
        for step in plans.steps:
            yield from self._step(step, step.writes if len(plans.steps) > 1 else "")
        for step in plans.last:
            yield from self._step(step, step.writes)

    def _partition(self, partition: Partition) -> Iterator[_Row]:
        """What runs in order: products of the library, row kernels, and contractions, whose schedules stand below."""
        contracting = partition.contracting
        if len(partition.steps) == 1 and contracting:
            yield from self._step(contracting[0], "")
            return
        launches = [
            LIBRARY if isinstance(step, Library) else step.writes if step in contracting else self._first(step)
            for step in partition.steps
        ]
        without = f" without {' and '.join(partition.omits.split())}" if partition.omits else ""
        faster = "it is faster" if partition.products else "else"
        held = "".join(f" + 2 {name}" for name in partition.holds.split())
        name = LIBRARY if partition.products else "steps"
        yield _Row(name, f"{faster}{without}", ", ".join(launches), f"{_LEAST}{held}")
        for step in contracting:
            yield from self._step(step, step.writes)

    def _step(self, step: Step, label: str) -> Iterator[_Row]:
        for plan in step.plans:
            last = plan is step.plans[-1] and len(step.plans) > 1 and not step.apart
            taken = "else" if last and not step.is_for_vectors else _taken(plan)
            yield _Row(f"{label}: {plan.name}" if label else plan.name, taken, self._launches(plan), self._bytes(plan))
        for inner in step.apart:
            yield from self._step(inner, inner.writes)
        if step.alone is not None:
            yield from self._step(step.alone, f"{step.alone.writes} where {step.absent} is empty")

    def _first(self, step: Step) -> str:
        """The kernels of the first of a step's schedules, and that there are others."""
        several = len(step.plans) > 1 or bool(step.apart)
        first = self._launches(step.plans[0]) if step.plans else step.writes
        return f"{first} .." if several else first

    def _launches(self, plan: Schedule) -> str:
        """The kernels of a schedule, without the name of the op that theirs begin with."""
        return ", ".join(self._own_name(self._renamed.get(kernel.text, kernel.text)) for kernel in kernels(plan))

    def _own_name(self, kernel: str) -> str:
        op = next((op for op in self._ops if kernel.startswith(f"_{op}_")), "")
        return kernel.removeprefix(f"_{op}_")

    def _bytes(self, plan: Schedule) -> str:
        kernel = kernels(plan)[0].text
        excess = "" if isinstance(plan, RowTiles | RowVectors) else self._excess[self._renamed.get(kernel, kernel)]
        return f"{_LEAST} + {excess}" if excess else _LEAST


def _table(rows: tuple[_Row, ...]) -> list[str]:
    """The table, with launches of many kernels in several lines."""
    lines = [_HEAD]
    for row in rows:
        first, *others = wrap(row.launches, _LAUNCHES) or [""]
        lines.append((row.plan, row.taken, first, row.bytes))
        lines += [("", "", each, "") for each in others]
    widths = [max(len(line[place]) for line in lines) for place in range(3)]
    return [
        (
            "  " + "  ".join([*(text.ljust(width) for text, width in zip(line[:3], widths, strict=True)), line[3]])
        ).rstrip()
        for line in lines
    ]


def _taken(plan: Schedule) -> str:
    """When a schedule is taken, in a few words. The rules themselves are in `fusec.runtime.select`."""
    match plan:
        case Rows(tile=tile, block=block):
            return f"registers hold {_listed(tile)} of many {block}" if block else f"{_listed(tile)} is short"
        case Resident(tile=tile) | Tile(tile=tile):
            return f"registers hold {_listed(tile)}"
        case RowTiles(loop=loop):
            return f"registers hold tiles of {_listed(loop)}"
        case RowVectors(loop=loop):
            return f"rows of {_listed(loop)} begin anywhere"
        case RowLoop():
            return "many rows, or none very long"
        case SplitRows():
            return "few long rows"
        case ColumnSums(tile=tile, block=block):
            return f"registers hold {_listed(tile or block)}"
        case Gemv(of=Resident(tile=tile)):
            return f"one row, registers hold {_listed(tile)}"
        case Gemv():
            return "one row"
        case Gemm(few=few, combine=combine):
            tiles = ", and tiles as well" if combine else ""
            return f"{'rows' if set(few.split()) & set(LEAD) else few} are few{tiles}" if few else "always"
        case GemmRoles():
            return "TMA can move them, on sm_90"
        case GemmScaled():
            return "tensor cores multiply with scales, from sm_100 on"
        case GemmTma():
            return "TMA can move them"
        case Elementwise():
            return "always"


def _listed(keys: str) -> str:
    return ", ".join(keys.split())
