"""Every representation of an op on the way to kernels, as text: `fusec explain OP --ir STEP`."""

from __future__ import annotations

from collections.abc import Iterator

from fusec.codegen.host_table import table_lines
from fusec.codegen.skeletons import function_lines, kernel_lines
from fusec.ir.flow import Flow
from fusec.ir.graph import Graph
from fusec.ir.kernel import Kernel
from fusec.ir.partition import Partition, Split
from fusec.ir.program import HostTable
from fusec.ir.show import show_graph
from fusec.ir.show_flow import show_flow
from fusec.ir.show_partition import show_partition
from fusec.ir.sizes import size_text
from fusec.passes.partition.postpone import Postponed


def show(result: object) -> str:
    """What a pass made, as text."""
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
        case Partition():
            return show_partition(result)
        case Kernel():
            return "\n".join(_kernel(result))
        case dict():
            return "\n\n".join(map(show, result.values()))
        case tuple():
            return "\n\n".join(map(show, result)) or "there is no such partition"
        case _:
            raise TypeError(f"nothing shows a {type(result).__name__}")


def _kernel(kernel: Kernel) -> Iterator[str]:
    """A kernel before it has its place in a file: its arguments, the functions that it calls, and its body."""
    kinds = {
        "tensor maps": kernel.maps,
        "pointers": kernel.pointers,
        "scalars": kernel.scalars,
        "pointers of sums": kernel.sums,
        "integers": (*kernel.integers, *kernel.varying),
        "compile time": (*kernel.structure, *kernel.blocks, *kernel.flags),
    }
    yield f"kernel {kernel.name}: {kernel.skeleton.template}"
    yield from (f"  {kind} {', '.join(names)}" for kind, names in kinds.items() if names)
    for call in kernel.calls:
        yield f"  def epilogue({', '.join(call.function.inputs)}, ...):"
        yield from (f"      {line}" for line in function_lines(call.function, "tl.float32"))
    yield from (f"  {line}" for line in kernel_lines(kernel.calling(lambda function: "epilogue"), "tl.float32"))
