"""The runner of passes: it times and reports each, and verifies what it makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fusec.diagnostics import InternalError, SpecError
from fusec.ir.graph import Graph
from fusec.ir.kernel import Kernel
from fusec.ir.partition import Partition, Split
from fusec.ir.verify import verify_graph
from fusec.ir.verify_kernel import verify_kernel
from fusec.ir.verify_partition import verify_partition
from fusec.passes.partition.postpone import Postponed


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a pass made of its input, and how long it took in seconds."""

    name: str
    result: Any
    seconds: float


class Runner:
    """Runs passes one by one. A fault becomes an `InternalError` that names the pass."""

    def __init__(self, watch: Callable[[StepReport], None]) -> None:
        self._watch = watch

    def __call__(self, name: str, step: Callable[[Any], Any], given: Any) -> Any:
        """What a pass makes, which `watch` is told of."""
        start = time.perf_counter()
        result = self.checked(name, step, given)
        self._watch(StepReport(name, result, time.perf_counter() - start))
        return result

    def checked(self, name: str, step: Callable[[Any], Any], given: Any) -> Any:
        """What a pass makes, which is well formed: else an error names the pass and the rule that it broke."""
        try:
            result = step(given)
        except (SpecError, InternalError):
            raise
        except Exception as fault:
            raise InternalError(name, f"{type(fault).__name__}: {fault}", repr(given)) from fault
        verify(result, name)
        return result


def verify(result: object, name: str) -> None:
    """Raises `InternalError`, in the name of a pass, if something in its result is not well formed."""
    match result:
        case Graph():
            verify_graph(result, name)
        case Split(once, each):
            verify((once, each), name)
        case Postponed(first, _, last):
            verify((first, last), name)
        case Partition():
            verify(tuple(step.graph for step in result.steps), name)
            verify_partition(result, name)
        case Kernel():
            verify_kernel(result, name)
        case tuple():
            for each in result:
                verify(each, name)
        case dict():
            verify(tuple(result.values()), name)
        case _:
            pass
