"""Merged kernels: those of several ops of a file that differ in a few statements are one, to which `OP` says the op.

Before: `linear` and `linear_residual` have a gemm each, whose epilogues differ; after: one gemm, with a branch for each
op where they differ. `OP` is known when a kernel is compiled, so that a launch has the code of its own op alone.
Tensors and extents that an op lacks are None to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import SequenceMatcher
from typing import Any, get_args

from fusec.codegen.skeletons import kernel_lines
from fusec.codegen.statements import StatementPrinter
from fusec.ir.kernel import Kernel, Multiply
from fusec.ir.statements import AxisIndex, Branch, Chosen, Let, Statement, Test
from fusec.ir.tile_values import Name
from fusec.passes.kernel.blocks import OP, VEC

_STATEMENTS = get_args(Statement)
_SAME = ("scalars", "chained", "maps", "varying", "sums")
"""What kernels that are merged have to have in common."""

MOST_BRANCHES = 4
"""Places where merged kernels may differ."""

MOST_STATEMENTS = 6
"""Statements of each op where kernels differ."""

LEAST_GAIN = 6
"""Lines that merging one more kernel has to save, beside those of its signature."""

MOST_GROWTH = 1.5
"""How many times as long as one of them merged kernels may be."""


@dataclass(slots=True)
class Differ(Exception):
    """Kernels are not of one shape."""


def merged(kernels: Sequence[Kernel], ops: Sequence[tuple[str, ...]], printer: StatementPrinter) -> Kernel | None:
    """Kernels, each of some ops, as one under the name of the first; None where they differ in more than statements."""
    first = kernels[0]
    if any(getattr(kernel, name) != getattr(first, name) for kernel in kernels for name in _SAME):
        return None
    if any(_known(kernel) != _known(first) for kernel in kernels):
        return None
    try:
        merging = _Merging(tuple(ops), printer)
        skeleton = merging.of([kernel.skeleton for kernel in kernels])
    except Differ:
        return None
    if merging.branches > MOST_BRANCHES:
        return None
    return replace(
        first,
        pointers=_united(kernel.pointers for kernel in kernels),
        integers=_united(kernel.integers for kernel in kernels),
        aligned=_united(kernel.aligned for kernel in kernels),
        structure=_united(kernel.structure for kernel in kernels),
        blocks=_united(kernel.blocks for kernel in kernels),
        flags=(*_united(kernel.flags for kernel in kernels), OP),
        skeleton=skeleton,
    )


def _known(kernel: Kernel) -> set[str]:
    """What a kernel of several ops has to know for each of them: not where rows of an axis lie that an op lacks."""
    return {*kernel.structure, *kernel.blocks} - {VEC}


def _extents(kernel: Kernel) -> Iterator[str]:
    """The extents that a kernel is given. Strides of axes that a tensor of an op lacks are 0."""
    return (name for name in kernel.integers if "_stride_" not in name)


class _Merging:
    """Merges trees, and counts the branches that takes."""

    def __init__(self, ops: tuple[tuple[str, ...], ...], printer: StatementPrinter) -> None:
        self._ops = ops
        self._printer = printer
        self.branches = 0

    def of(self, trees: Sequence[Any]) -> Any:
        """Trees of one shape as one. Raises `Differ`."""
        first = trees[0]
        if all(tree == first for tree in trees):
            return first
        if any(tree is None for tree in trees) and all(
            tree is None or isinstance(tree, AxisIndex | Let) for tree in trees
        ):
            # An index that some have no use for.
            return self.of([tree for tree in trees if tree is not None])
        if all(isinstance(tree, tuple) for tree in trees):
            if all(isinstance(item, _STATEMENTS) for tree in trees for item in tree):
                return self._block([tuple(tree) for tree in trees])
            if len({len(tree) for tree in trees}) == 1:
                return tuple(self.of(items) for items in zip(*trees, strict=True))
        if all(isinstance(tree, Multiply) for tree in trees) and len({tree.sums for tree in trees}) > 1:
            return self._multiply(trees)
        if is_dataclass(first) and not isinstance(first, type) and all(type(tree) is type(first) for tree in trees):
            return replace(
                first, **{each.name: self.of([getattr(tree, each.name) for tree in trees]) for each in fields(first)}
            )
        if all(isinstance(tree, Name) for tree in trees) and len(set(map(self._printer.value, trees))) == 1:
            return first
        raise Differ

    def _multiply(self, dots: Sequence[Multiply]) -> Multiply:
        """A product whose sums are added in ways of their own: as those of the first, but in some ops."""
        self.branches += 1
        same: Multiply = self.of([replace(dot, sums=dots[0].sums) for dot in dots])
        ways = [(op, dot.sums) for dot, ops in zip(dots, self._ops, strict=True) for op in ops]
        return replace(same, ways=tuple((op, sums) for op, sums in ways if sums is not same.sums))

    def _block(self, bodies: list[tuple[Statement, ...]]) -> tuple[Statement, ...]:
        """The statements that all have, in their order, with a branch wherever other ones stand between."""
        found: list[Statement] = []
        for shared, *parts in self._aligned(bodies):
            if any(parts):
                found.append(self._middle(parts))
            found += shared
        return tuple(found)

    def _aligned(self, bodies: list[tuple[Statement, ...]]) -> Iterator[tuple[tuple[Statement, ...], ...]]:
        """Runs of statements that all have, as the first has them, each behind what stands before it in each body."""
        texts = [list(map(self._text, body)) for body in bodies]
        common = texts[0]
        for other in texts[1:]:
            blocks = SequenceMatcher(None, common, other, autojunk=False).get_matching_blocks()
            common = [text for block in blocks for text in common[block.a : block.a + block.size]]
        places = [0] * len(bodies)
        for text in common:
            ends = [own.index(text, place) for own, place in zip(texts, places, strict=True)]
            parts = (body[place:end] for body, place, end in zip(bodies, places, ends, strict=True))
            yield (bodies[0][ends[0]],), *parts
            places = [end + 1 for end in ends]
        yield (), *(body[place:] for body, place in zip(bodies, places, strict=True))

    def _middle(self, parts: list[tuple[Statement, ...]]) -> Branch:
        """What stands between common statements, which may be nothing in some ops."""
        texts = dict[tuple[str, ...], tuple[Statement, ...]]()
        middles = [texts.setdefault(tuple(self._printer.block(part)), part) for part in parts]
        if max(map(len, middles)) > MOST_STATEMENTS:
            raise Differ
        self.branches += 1
        return self._branch(middles)

    def _branch(self, middles: list[tuple[Statement, ...]]) -> Branch:
        """A case for each op; the one of most ops comes last, or nothing where some ops do nothing."""
        counts: Counter[tuple[Statement, ...]] = Counter()
        for middle, ops in zip(middles, self._ops, strict=True):
            counts[middle] += len(ops)
        last = () if () in counts else max(counts, key=lambda middle: counts[middle])
        cases: list[tuple[Test | None, tuple[Statement, ...]]] = [
            (Chosen(OP, op), middle)
            for middle, ops in zip(middles, self._ops, strict=True)
            for op in ops
            if middle != last
        ]
        return Branch((*cases, *([(None, last)] if last else [])))

    def _text(self, statement: Statement) -> tuple[str, ...]:
        return tuple(self._printer.block((statement,)))


def _united(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """All items of some lists once, each behind what it stands behind in its own."""
    found: list[str] = []
    for items in lists:
        place = 0
        for item in items:
            if item in found:
                place = found.index(item) + 1
            else:
                found.insert(place, item)
                place += 1
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Written:
    """A kernel of a file, written for one of its ops, by number."""

    name: str
    op: int
    kernel: Kernel


@dataclass(frozen=True, slots=True)
class OpFacts:
    """An op of a file: the kernels that it launches, the tensors that its calls have, its choices.

    Of `tensors` those it `holds` between two kernels are there in some plans alone.
    """

    name: str
    kernels: frozenset[str]
    extents: frozenset[str]
    tensors: frozenset[str]
    holds: frozenset[str]
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Group:
    """Kernels of several ops, and the one that they are together."""

    members: tuple[Written, ...]
    kernel: Kernel

    def of(self, op: OpFacts) -> Written | None:
        """The member that an op launches."""
        return next((member for member in self.members if member.name in op.kernels), None)

    def absent(self, op: OpFacts) -> tuple[str, ...]:
        """What the kernel knows and an op lacks that launches one of the members."""
        own = self.of(op)
        if own is None:
            return ()
        pointers = (name for name in self.kernel.pointers if name not in own.kernel.pointers)
        extents = (name for name in _extents(self.kernel) if name not in own.kernel.integers)
        flags = (name for name in self.kernel.flags if name != OP and name not in op.flags)
        return (
            *(name for name in pointers if name not in op.tensors),
            *(name for name in extents if name not in op.extents),
            *flags,
        )


def groups(written: Sequence[Written], ops: Sequence[OpFacts], real: str) -> tuple[Group, ...]:
    """The kernels that are merged."""
    printer = StatementPrinter(real)
    found: list[Group] = []
    for kernel in written:
        for place, group in enumerate(found):
            larger = _grown(group, kernel, ops, printer, real)
            if larger is not None:
                found[place] = larger
                break
        else:
            found.append(Group((kernel,), kernel.kernel))
    return tuple(group for group in found if len(group.members) > 1)


def _grown(group: Group, more: Written, ops: Sequence[OpFacts], printer: StatementPrinter, real: str) -> Group | None:
    """A group with one more member, if it can have it and that saves enough."""
    members = (*group.members, more)
    users = [tuple(op.name for op in ops if member.name in op.kernels) for member in members]
    if len({name for names in users for name in names}) < sum(map(len, users)) or not _is_alike(members, ops):
        return None
    kernel = merged([member.kernel for member in members], users, printer)
    if kernel is None:
        return None
    larger = Group(members, kernel)
    for op in ops:
        member = larger.of(op)
        if member is not None and op.holds.intersection(kernel.pointers) - set(member.kernel.pointers):
            return None
    length, own, before = (len(kernel_lines(each, real)) for each in (kernel, more.kernel, group.kernel))
    return larger if before + own - length >= LEAST_GAIN and length <= MOST_GROWTH * max(before, own) else None


def _is_alike(members: Sequence[Written], ops: Sequence[OpFacts]) -> bool:
    """Whether kernels are of one family, for the same part of their plans, with the same partial results."""
    workspaces = {tuple(name for name in each.kernel.pointers if name not in ops[each.op].tensors) for each in members}
    return len({type(member.kernel.skeleton) for member in members}) == len(workspaces) == 1
