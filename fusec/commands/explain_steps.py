"""Every representation of an op on the way to kernels, as text: `fusec explain OP --ir STEP`."""

from __future__ import annotations

from fusec.codegen.host_table import table_lines
from fusec.ir.flow import Flow
from fusec.ir.graph import Graph
from fusec.ir.partition import Chain, Split
from fusec.ir.program import BuiltChain, BuiltGroup, HostTable
from fusec.ir.schedule import Group
from fusec.ir.show import show_graph
from fusec.ir.show_flow import show_flow
from fusec.ir.show_kernel import show_kernel
from fusec.ir.show_partition import show_chain
from fusec.ir.show_schedule import show_group
from fusec.ir.sizes import size_text
from fusec.passes.partition.postpone import Postponed


def show(
    result: Graph | Flow | Split | Postponed | Chain | BuiltChain | HostTable | tuple[Group | BuiltGroup, ...] | None,
) -> str:
    """What a step made, as text."""
    match result:
        case HostTable(table, computed):
            sizes = [f"{key} = {size_text(value)}" for key, value in computed]
            return "\n".join([*sizes, *table_lines("", table, {})])
        case Graph():
            return show_graph(result)
        case Split(once, each):
            return "\n".join([*(["once:", show_graph(once), "in every call:"] if once else []), show_graph(each)])
        case Postponed(first, _, last):
            return "\n".join([show_graph(first), *(["last:", show_graph(last)] if last else [])])
        case Flow():
            return show_flow(result)
        case Chain() | None:
            return show_chain(result)
        case BuiltChain():
            groups = [group.placed for group in result.contracting]
            shown = [f"{show_flow(group.plans[0].stages[0].flow)}\n{show_group(group)}" for group in groups]
            return "\n\n".join([*shown, *(show_kernel(kernel) for plan in result.boxed for kernel in plan.kernels)])
    plans = [plan for group in result if isinstance(group, BuiltGroup) for plan in group.all_plans()]
    kernels = {kernel.name: kernel for plan in plans for kernel in plan.kernels}
    return "\n\n".join(
        [show_group(group) for group in result if isinstance(group, Group)] + [*map(show_kernel, kernels.values())]
    )
