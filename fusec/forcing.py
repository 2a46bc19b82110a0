"""Plans forced from outside, by name, and the small chips on which calls of a few elements take many steps.

Verification, the resource gate and tests reach every plan of a generated file by these.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from fusec.ir.program import Program
from fusec.runtime import Chip, Op

NEVER = 1 << 60
"""More than any call has, of multiplications, positions or programs."""

SMALL = Chip(
    short_row=16,
    small_row=1 << 20,
    resident_row=1 << 20,
    live_words=1 << 22,
    tiled_row=0,
    chunk=64,
    few_rows=2,
    long_row=64,
    tile=64,
    shortest_run=0,
    most_splits=4,
    library_work=NEVER,
    int8_work=NEVER,
    skinny=0,
    most_again=NEVER,
)
"""A chip of small tiles, whose rules leave everything to kernels that compute all of an output at once."""

CHIPS: dict[str, Chip] = {
    "rows": replace(SMALL, short_row=1 << 20),
    "resident": replace(SMALL, short_row=0),
    "row_loop": replace(SMALL, short_row=0, small_row=0, resident_row=0, few_rows=0, long_row=0, live_words=0),
    "split_rows": replace(
        SMALL, short_row=0, small_row=0, resident_row=0, chunk=16, few_rows=1 << 20, long_row=0, live_words=0
    ),
    "column_sums": replace(SMALL, short_row=0, resident_row=0),
    "library": replace(SMALL, library_work=0, int8_work=0, copying_work=0),
    "tma": replace(SMALL, gemv_matrix=-1),
    "swap_ab": replace(SMALL, skinny=NEVER, few_tiles=1 << 10, skinny_block_k=16),
}
"""For each kind of plan a chip whose rules take it wherever an op has it.

Under "swap_ab", tiles of more than one step are shared by several programs, the others are not. Under "tma", one row is
multiplied by TMA as well; whether that can move its operands is for the call to say.
"""

_ROWS = {
    **{name: CHIPS[name] for name in ("rows", "resident", "row_loop", "split_rows")},
    "apart": replace(CHIPS["rows"], resident_row=0, small_row=0),
    "elementwise": replace(CHIPS["resident"], resident_row=0),
}
"""How rows are computed; "apart" and "elementwise" are for outputs, and tiles, that could go together but need not."""


def reaches(kind: str, program: Program) -> bool:
    """Whether an op has plans that a chip of `CHIPS` is for."""
    match kind:
        case "library":
            return bool(program.cut)
        case "tma":
            return any(plan.name == "tma" for partition in program.cut for plan in partition.plans)
        case "swap_ab":
            return any(plan.name == "swap_ab" for plan in program.plans)
        case "column_sums":
            return any(plan.name == "column_sums" for plan in program.plans)
        case _:
            return True


@contextmanager
def on_chip(module: ModuleType, chip: Chip) -> Iterator[None]:
    """Within, the ops of a generated `module` choose their plans for this chip; plans made before are forgotten."""
    with ExitStack() as stack:
        for op in vars(module).values():
            if isinstance(op, Op):
                stack.enter_context(op.forced(chip=chip))
        yield


@dataclass(frozen=True, slots=True)
class Forcing:
    """How plans are chosen: a `plan` by its name, the rest for a `chip`; else as calls of users do."""

    plan: str | None = None
    chip: Chip | None = None

    @property
    def kind(self) -> str:
        """What calls are drawn for: sums that several programs share are long, as those are that TMA moves."""
        words = {word.rpartition(".")[2] for word in (self.plan or "").split()}
        if "library" in words:
            return "library"
        return "tma" if words & {"tma", "roles", "split_k"} else "rows"

    def of(self, op: Op) -> AbstractContextManager[None]:
        """Within, an op chooses its plans this way."""
        return op.forced(self.plan, self.chip)


def forcings(op: Op, **sizes: int) -> list[Forcing]:
    """Ways to choose that, together, reach all plans of an op that anything reaches; `sizes` replace those of chips."""
    # Tiles of few rows are shared by several programs where the loop has several steps.
    own: dict[str, Any] = {"few_tiles": 1 << 10, "skinny_block_k": 16, **sizes}
    small = replace(SMALL, **own)
    chips = [replace(chip, **own) for chip in _ROWS.values()]
    return [*(Forcing(None, chip) for chip in chips), *(Forcing(name, small) for name in op.reaching_names)]
