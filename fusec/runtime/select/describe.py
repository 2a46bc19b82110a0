"""A plan as data for whoever wants to see it: which schedules a call takes, in which tiles, by how many programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fusec.runtime.launch import Launch
from fusec.runtime.product import Product
from fusec.runtime.select.run import Decision


@dataclass(frozen=True, slots=True)
class DescribedLaunch:
    """One launch: the kernel, or the library, the programs of its grid, warps and stages, and its compile-time sizes.

    Of several sets of options it is the first, which is left where registers would spill.
    """

    kernel: str
    programs: int
    warps: int
    stages: int
    blocks: Mapping[str, int | bool]


@dataclass(frozen=True, slots=True)
class DescribedStep:
    """What is written, by which schedule, in which launches."""

    writes: str
    plan: str
    launches: tuple[DescribedLaunch, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """The plan of one call: its steps in order, and the workspaces it allocates, by name in bytes."""

    op: str
    steps: tuple[DescribedStep, ...]
    workspace: Mapping[str, int]


def described(decision: Decision) -> Described:
    """A decision in plain values."""
    steps = tuple(
        DescribedStep(step.writes, step.plan, tuple(map(described_launch, step.launches))) for step in decision.steps
    )
    return Described(decision.call.op, steps, {name: each.bytes for name, each in decision.call.workspaces.items()})


def described_launch(launch: Launch | Product) -> DescribedLaunch:
    """A launch in plain values."""
    if isinstance(launch, Product):
        *batch, rows, columns = launch.out.shape
        return DescribedLaunch("library", 0, 0, 0, {"M": rows, "N": columns, "K": launch.a.shape[-1], **_batch(batch)})
    first = launch.options[0]
    blocks: dict[str, Any] = {
        name: value
        for name, value in launch.arguments.items()
        if name.isupper() and isinstance(value, int) and "_stride_" not in name
    }
    programs = 1
    for size in launch.grid:
        programs *= size
    return DescribedLaunch(
        launch.kernel.__name__, programs, int(first.get("num_warps", 4)), int(first.get("num_stages", 1)), blocks
    )


def _batch(sizes: list[int]) -> dict[str, int]:
    return {"B": sizes[0]} if sizes else {}
