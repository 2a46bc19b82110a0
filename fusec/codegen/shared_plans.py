"""Shared plans: steps and partitions that tables of a file have several times are written once, under a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from fusec.codegen.host_table import table_lines
from fusec.ir.host.names import Name
from fusec.ir.host.plans import Library, Partition, Plans, Step

_SHORT = 2
"""Lines of what may as well stand there twice."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A part of several tables, or several times of one, the first of which is that of an op, by number.

    It is `shown` with names for what it shares itself.
    """

    name: str
    value: Step | Partition
    op: int
    shown: Step | Partition


def shared_plans(plans: Sequence[Plans], new_name: Callable[[str], str]) -> tuple[Shared, ...]:
    """What the tables of a file share, in the order in which it has to stand there: steps before partitions."""
    found: list[Shared] = []
    for kind in (Partition, Step):
        seen: list[tuple[Any, int]] = []
        trees = [(with_shared(table, found), op) for op, table in enumerate(plans)]
        trees += [(each.value, each.op) for each in found]
        for part, op in ((part, op) for tree, op in trees for part in _parts(tree, kind)):
            if any(part == each.value for each in found):
                continue
            first = next((number for known, number in seen if known == part), None)
            if first is not None and len(table_lines("", part, {})) > _SHORT:
                found.append(Shared(new_name(_wanted(part)), part, min(first, op), part))
            seen.append((part, op))
    steps = [each for each in found if isinstance(each.value, Step)]
    partitions = [each for each in found if isinstance(each.value, Partition)]
    return (*steps, *(replace(each, shown=with_shared(each.value, steps)) for each in partitions))


def with_shared(tree: Any, shared: Sequence[Shared]) -> Any:
    """A table, or a part of it, with names for what it shares."""
    for each in shared:
        if type(tree) is type(each.value) and tree == each.value:
            return Name(each.name)
    if isinstance(tree, tuple):
        return tuple(with_shared(item, shared) for item in tree)
    if isinstance(tree, Plans | Partition | Step):
        return replace(tree, **{each.name: with_shared(getattr(tree, each.name), shared) for each in fields(tree)})
    return tree


def _parts(tree: Any, kind: type) -> Iterator[Any]:
    """The parts of a table that are of this kind, not those within one another."""
    if isinstance(tree, kind):
        yield tree
    elif isinstance(tree, tuple | Mapping):
        for item in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _parts(item, kind)
    elif is_dataclass(tree) and not isinstance(tree, type):
        for each in fields(tree):
            yield from _parts(getattr(tree, each.name), kind)


def _wanted(part: Step | Partition) -> str:
    """What a part might be called: by what it writes."""
    steps = part.steps if isinstance(part, Partition) else (part,)
    words = [("library" if isinstance(step, Library) else step.writes.replace(" ", "_")) for step in steps]
    return f"_{'PARTITION' if isinstance(part, Partition) else 'STEP'}_{'_'.join(words)}".upper()
