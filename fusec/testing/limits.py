"""Which of the limits of `fusec.forcing` reach something in an op."""

from __future__ import annotations

from fusec.forcing import LIMITS, Limits, limited
from fusec.ir.plan import Shape
from fusec.ir.program import Program

__all__ = ["LIMITS", "Limits", "limited", "reaches"]


def reaches(shape: str, program: Program) -> bool:
    """Whether an op has the plans that the limits of a shape are for."""
    match shape:
        case "library":
            return bool(program.chains)
        case "boxed":
            return any(chain.boxed for chain in program.chains)
        case "few":
            return any(plan.plan.shape is Shape.SWAPPED for plan in program.plans)
        case _:
            return True
