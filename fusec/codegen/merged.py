"""Merged kernels: those of several ops of a file that differ in a few statements are one, to which `OP` says the op.

Before: `linear` and `linear_residual` have a gemm each, whose epilogues differ; after: one gemm, with a branch for each
op where they differ. `OP` is known when a kernel is compiled, so that a launch has the code of its own op alone.
Tensors that an op lacks are None to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, get_args

from fusec.codegen.skeletons import kernel_lines
from fusec.ir.kernel import Kernel
from fusec.ir.statements import AxisIndex, Branch, Chosen, Let, Statement, Test
from fusec.passes.kernel.blocks import OP, VEC

_STATEMENTS = get_args(Statement)
_SAME = ("scalars", "rounded", "chained", "boxes", "varying", "sums")
"""What kernels that are merged have to have in common."""

MOST_BRANCHES = 3
"""Places where merged kernels may differ."""

MOST_STATEMENTS = 4
"""Statements of each op where kernels differ."""

LEAST_GAIN = 6
"""Lines that merging one more kernel has to save, beside those of its signature."""

MOST_GROWTH = 1.4
"""How many times as long as one of them merged kernels may be."""


@dataclass(slots=True)
class Differ(Exception):
    """Kernels are not of one shape."""


def merged(kernels: Sequence[Kernel], ops: Sequence[str]) -> Kernel | None:
    """The kernels of some ops as one, under the name of the first; None where they differ in more than statements."""
    first = kernels[0]
    if any(getattr(kernel, name) != getattr(first, name) for kernel in kernels for name in _SAME):
        return None
    if any(_numbers(kernel) != _numbers(first) for kernel in kernels):
        return None
    try:
        merging = _Merging(tuple(ops))
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


def _numbers(kernel: Kernel) -> set[str]:
    """What a launch has to know beside the strides of tensors."""
    return {*(name for name in kernel.integers if "_stride_" not in name), *kernel.structure, *kernel.blocks} - {VEC}


class _Merging:
    """Merges trees, and counts the branches that takes."""

    def __init__(self, ops: tuple[str, ...]) -> None:
        self._ops = ops
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
        if is_dataclass(first) and not isinstance(first, type) and all(type(tree) is type(first) for tree in trees):
            return replace(
                first, **{each.name: self.of([getattr(tree, each.name) for tree in trees]) for each in fields(first)}
            )
        raise Differ

    def _block(self, bodies: list[tuple[Statement, ...]]) -> tuple[Statement, ...]:
        """Statements that all begin with, a branch, and those that all end with."""
        before = _common(bodies)
        rest = [body[before:] for body in bodies]
        behind = _common([body[::-1] for body in rest])
        middles = [body[: len(body) - behind] for body in rest]
        if max(map(len, middles)) > MOST_STATEMENTS:
            raise Differ
        self.branches += 1
        return (*bodies[0][:before], self._branch(middles), *bodies[0][len(bodies[0]) - behind :])

    def _branch(self, middles: list[tuple[Statement, ...]]) -> Branch:
        """A case for each op; the one of most ops comes last, or nothing where some ops do nothing."""
        counts = {middle: middles.count(middle) for middle in middles}
        last = () if () in counts else max(counts, key=lambda middle: counts[middle])
        cases: list[tuple[Test | None, tuple[Statement, ...]]] = [
            (Chosen(OP, op), middle) for op, middle in zip(self._ops, middles, strict=True) if middle != last
        ]
        return Branch((*cases, *([(None, last)] if last else [])))


def _common(bodies: Sequence[Sequence[Statement]]) -> int:
    """With how many equal statements all bodies begin."""
    count = 0
    for statements in zip(*bodies, strict=False):
        if any(statement != statements[0] for statement in statements):
            break
        count += 1
    return count


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
    """An op of a file: the kernels that it launches, the tensors that its calls have, their strides, its choices."""

    name: str
    kernels: frozenset[str]
    tensors: frozenset[str]
    strides: frozenset[str]
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
        flags = (name for name in self.kernel.flags if name != OP and name not in op.flags)
        return (*(name for name in pointers if name not in op.tensors), *flags)


def groups(written: Sequence[Written], ops: Sequence[OpFacts], real: str) -> tuple[Group, ...]:
    """The kernels that are merged. An op is one member in all groups that it has a kernel of."""
    found: list[Group] = []
    for kernel in written:
        for place, group in enumerate(found):
            larger = _grown(group, kernel, ops, real)
            others = [*found[:place], *found[place + 1 :]]
            if larger is not None and all(_label((*others, larger), op) is not None for op in ops):
                found[place] = larger
                break
        else:
            found.append(Group((kernel,), kernel.kernel))
    return tuple(group for group in found if len(group.members) > 1)


def _grown(group: Group, more: Written, ops: Sequence[OpFacts], real: str) -> Group | None:
    """A group with one more member, if it can have it and that saves enough."""
    members = (*group.members, more)
    if len({member.op for member in members}) < len(members) or not _is_alike(members):
        return None
    scratch = {tuple(name for name in each.kernel.pointers if name not in ops[each.op].tensors) for each in members}
    if len(scratch) > 1:
        return None
    kernel = merged([member.kernel for member in members], [ops[member.op].name for member in members])
    if kernel is None:
        return None
    larger = Group(members, kernel)
    for op in ops:
        needed = {
            name for name in kernel.integers if name.partition("_stride_")[0] in op.tensors and "_stride_" in name
        }
        if larger.of(op) is not None and not needed <= op.strides:
            return None
    length, own, before = (len(kernel_lines(each, real)) for each in (kernel, more.kernel, group.kernel))
    return larger if before + own - length >= LEAST_GAIN and length <= MOST_GROWTH * max(before, own) else None


def _is_alike(members: Sequence[Written]) -> bool:
    """Whether kernels are of one family and for the same part of their plans."""
    return len({type(member.kernel.skeleton) for member in members}) == 1


def _label(groups: Iterable[Group], op: OpFacts) -> int | None:
    """The op, by number, as which an op launches all merged kernels: -1 if it launches none, None if there are two."""
    found = {
        member.op for group in groups if len(group.members) > 1 for member in group.members if member.name in op.kernels
    }
    return None if len(found) > 1 else next(iter(found), -1)


def label(groups: Iterable[Group], op: OpFacts) -> int | None:
    """The op, by number, as which an op launches merged kernels; None if it launches none."""
    found = _label(groups, op)
    return None if found == -1 else found
