"""Kernels of a chain touch no memory of their neighbours before they have waited for them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from catalogue import Op, all_ops

from fusec.codegen.skeletons import group_lines, group_name, kernel_lines
from fusec.ir.expressions import Dot
from fusec.ir.kernel import GemmRoles, Kernel
from fusec.passes.kernel.blocks import OVERLAP

WITH_DOTS = [op for op in all_ops() if any(isinstance(node.expr, Dot) for node in op.program.graph.nodes)]
WAIT = f"device.enter({OVERLAP})"
TOUCHING = re.compile(r"\.(load|store)(_\w+)?\(|\.(async_copy|atomic)_\w+\(")
ROLES = Path(__file__).parents[2] / "fusec" / "runtime" / "roles.py"


def touching_roles() -> frozenset[str]:
    """The functions for warps with roles that touch memory, themselves or in others of theirs that they call."""
    functions = {node.name: node for node in ast.parse(ROLES.read_text()).body if isinstance(node, ast.FunctionDef)}
    found = {name for name, node in functions.items() if TOUCHING.search(ast.unparse(node))}
    names = {name: {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} for name, node in functions.items()}
    while more := {name for name, called in names.items() if called & found} - found:
        found |= more
    return frozenset(found)


TOUCHING_ROLES = touching_roles()


def touches(line: str) -> bool:
    """Whether a line of a kernel touches memory, or begins what does."""
    return bool(TOUCHING.search(line) or TOUCHING_ROLES & {*re.findall(r"\broles\.(\w+)", line)})


def touching_lines(kernel: Kernel) -> list[bool]:
    """For each line of a kernel whether it touches memory; one in roles has a line that begins what groups do."""
    is_group = isinstance(kernel.skeleton, GemmRoles) and any(map(touches, group_lines(kernel, "tl.float32")))
    lines = kernel_lines(kernel, "tl.float32")
    return [touches(line) or (is_group and group_name(kernel.name) in line) for line in lines]


def test_roles_that_touch_memory_are_known() -> None:
    assert {"load", "put"} <= TOUCHING_ROLES
    assert not {"shared", "barriers", "start", "done", "sum_of_parts"} & TOUCHING_ROLES


def chained(op: Op) -> dict[str, Kernel]:
    """The kernels that are one of several in a call."""
    cut = op.program.cut
    plans = [plan for partition in cut for plan in partition.plans if partition.is_chained or plan.is_chained]
    return {kernel.name: kernel for plan in plans for kernel in op.program.kernels_of(plan)}


@pytest.mark.parametrize("op", WITH_DOTS, ids=lambda op: op.name)
def test_memory_is_touched_behind_the_wait(op: Op) -> None:
    kernels = chained(op)
    assert kernels
    for kernel in kernels.values():
        assert OVERLAP in kernel.blocks
        lines = kernel_lines(kernel, "tl.float32")
        assert lines.count(WAIT) == 1
        touched = touching_lines(kernel)
        assert not any(touched[: lines.index(WAIT)])
        assert any(touched)


@pytest.mark.parametrize("op", WITH_DOTS, ids=lambda op: op.name)
def test_groups_of_warps_touch_memory_behind_the_wait_of_their_kernel(op: Op) -> None:
    """All warps wait before they have roles, so a group does not wait itself, and what begins it stands behind."""
    for kernel in chained(op).values():
        if isinstance(kernel.skeleton, GemmRoles):
            assert any(map(touches, group_lines(kernel, "tl.float32")))
            assert not any(WAIT in line for line in group_lines(kernel, "tl.float32"))
            lines = kernel_lines(kernel, "tl.float32")
            (begun,) = (place for place, line in enumerate(lines) if "roles.warp_specialize(" in line)
            assert group_name(kernel.name) in lines[begun]
            assert lines.index(WAIT) < begun


def others(op: Op) -> list[Kernel]:
    """The kernels that are all of a call."""
    return [kernel for kernel in op.program.kernels if kernel.name not in chained(op)]


@pytest.mark.parametrize("op", [*filter(others, WITH_DOTS)], ids=lambda op: op.name)
def test_other_kernels_know_of_no_overlap(op: Op) -> None:
    for kernel in others(op):
        assert OVERLAP not in kernel.blocks
        assert WAIT not in "\n".join(kernel_lines(kernel, "tl.float32"))


def test_a_vector_is_multiplied_in_one_kernel() -> None:
    names = [kernel.name for op in WITH_DOTS for kernel in others(op)]
    assert {"_linear_gemv", "_rmsnorm_linear_gemv", "_rmsnorm_gated_mlp_gemv"} <= {*names}
