"""What tables of a file share is written once, and the tables are what they were."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from fusec.codegen.shared_plans import Shared, shared_plans, with_shared
from fusec.ir.host.names import Name
from fusec.ir.host.plans import Library, Partition, Plans, Step
from fusec.ir.host.schedules import Resident, RowLoop

NORM = Step(
    "operand",
    (
        Resident(Name("_resident"), rows="lead1 lead0", tile="K", bytes="x", compact=True, words=1.0, inputs=3),
        RowLoop(Name("_row_loop"), rows="lead1 lead0", loop="K", words=2.0, at_least_one="lead1 lead0"),
    ),
)
SHORT = Step("y", (RowLoop(Name("_y"), rows="M", loop="K"),))
LIBRARY = Library("operand", "weight", "y", rows="lead1 lead0", columns="N", inner="K")
FIRST = Plans(extents="K", strides={}, partitions=(Partition((NORM, LIBRARY)), Partition((NORM, SHORT))))
SECOND = Plans(extents="K N", strides={}, partitions=(Partition((NORM, LIBRARY)),), steps=(SHORT,))


def back(tree: Any, shared: tuple[Shared, ...]) -> Any:
    """A table whose names are what they stand for."""
    if isinstance(tree, Name):
        return next((back(each.shown, shared) for each in shared if each.name == tree.text), tree)
    if isinstance(tree, tuple):
        return tuple(back(item, shared) for item in tree)
    if isinstance(tree, Plans | Partition | Step):
        return replace(tree, **{each.name: back(getattr(tree, each.name), shared) for each in fields(tree)})
    return tree


def test_tables_are_what_they_were() -> None:
    shared = shared_plans((FIRST, SECOND), str)
    for plans in (FIRST, SECOND):
        assert back(with_shared(plans, shared), shared) == plans


def test_what_stands_several_times_has_a_name_and_stands_before_what_uses_it() -> None:
    shared = shared_plans((FIRST, SECOND), str)
    assert [each.name for each in shared] == ["_STEP_OPERAND", "_PARTITION_OPERAND_LIBRARY"]
    assert [each.op for each in shared] == [0, 0]
    assert with_shared(FIRST, shared).partitions[0] == Name("_PARTITION_OPERAND_LIBRARY")
    (_, partition) = shared
    assert partition.shown.steps[0] == Name("_STEP_OPERAND")


def test_what_is_short_stands_where_it_is_used() -> None:
    assert with_shared(SECOND, shared_plans((FIRST, SECOND), str)).steps == (SHORT,)
