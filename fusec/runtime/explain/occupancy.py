"""Occupancy: how many programs of a launch an SM runs at once, and what keeps it from running more."""

from __future__ import annotations

from dataclasses import dataclass

from fusec.runtime.launch import Resources
from fusec.runtime.select.chip import WARP, Chip


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Programs that an SM runs at once, the share of its warps that they are, and what there is no more of."""

    programs: int
    share: float
    limit: str


def occupancy(chip: Chip, warps: int, resources: Resources | None) -> Occupancy:
    """The occupancy of programs of so many warps; without resources as far as the warps allow."""
    limits = {"warps": chip.warps // warps, "programs": chip.sm_programs}
    if resources is not None:
        unit = -(-max(resources.registers, 1) * WARP // chip.register_unit) * chip.register_unit
        limits["registers"] = chip.registers // (unit * warps)
        limits["shared memory"] = (chip.smem + chip.reserved_smem) // (resources.shared + chip.reserved_smem)
    limit = min(limits, key=lambda name: limits[name])
    return Occupancy(limits[limit], limits[limit] * warps / chip.warps, limit)
