"""Why a step takes the schedule that it takes, in words with the sizes of the call."""

from __future__ import annotations

from fusec.ir.host.names import LEAD
from fusec.ir.host.plans import LIBRARY, Library, Step
from fusec.ir.host.schedules import (
    ColumnSums,
    Elementwise,
    Gemm,
    GemmRoles,
    GemmScaled,
    GemmTma,
    Gemv,
    Resident,
    RowLoop,
    Rows,
    RowTiles,
    RowVectors,
    Schedule,
    SplitRows,
    Tile,
    kernels,
)
from fusec.runtime.launch import Launch
from fusec.runtime.select.call import Call
from fusec.runtime.select.gemm import as_one
from fusec.runtime.select.run import Decision, Taken


def reason(decision: Decision, taken: Taken) -> str:
    """Who chose the schedule, and what it is for."""
    call = decision.call
    if taken.plan == LIBRARY:
        return f"{_chosen(decision, LIBRARY)}: the vendor's library multiplies what lies in memory as matrices"
    step, schedule = _found(decision, taken)
    if schedule is None or step is None:
        return ""
    names = (schedule.name, f"{step.writes.split()[0]}.{schedule.name}")
    return f"{_chosen(decision, *names)}: {words(schedule, call)}"


def words(schedule: Schedule | Library, call: Call) -> str:
    """What a schedule is for, in the sizes of a call."""
    match schedule:
        case Elementwise():
            return "no element waits for another one"
        case Tile(tile=tile):
            return f"registers hold {_sized(tile, call)} of every row"
        case Rows(tile=tile, block=block) if block:
            return (
                f"rows along {_sized(tile, call)} lie side by side along {_sized(block, call)}, and registers hold many"
            )
        case Rows(tile=tile):
            return f"rows of {_sized(tile, call)} are short: a program takes several"
        case Resident(tile=tile):
            return f"registers hold a row, {_sized(tile, call)}"
        case RowTiles(loop=loop):
            return f"registers hold a row, {_sized(loop, call)}, in tiles of one size"
        case RowVectors(loop=loop):
            return f"registers hold a row, {_sized(loop, call)}, which begins anywhere, in tiles of whole vectors"
        case RowLoop(loop=loop):
            return f"a row, {_sized(loop, call)}, is walked in a loop, by one program"
        case ColumnSums(loop=loop):
            return f"sums over {_sized(loop, call)}: programs take positions in turn and keep sums in registers"
        case SplitRows(partials=partials):
            rows = f" of {_sized(partials[0].loop, call)}" if partials else ""
            return f"few rows{rows}: each goes over several programs"
        case ColumnSums(loop=loop, tile=tile, block=block):
            held = _sized(tile or block, call)
            return f"programs take {_sized(loop, call)} in turn, and registers hold {held} and what is summed"
        case Gemv(few=few):
            return f"one row ({_sized(few, call)}): threads multiply while the matrix is read once"
        case Gemm(few=few, combine=combine) if few and combine is not None:
            rows = _sized(few if as_one(schedule, call) is call else schedule.joined, call)
            return f"few rows ({rows}) are the columns of few tiles: programs share each, along K"
        case Gemm(few=few) if few:
            rows = _sized(few if as_one(schedule, call) is call else schedule.joined, call)
            return f"few rows ({rows}) are the columns of tiles whose rows are those of the matrix"
        case Gemm():
            return "tiles on the tensor core, for any strides"
        case GemmRoles():
            return "TMA can move the operands: one warp loads what two groups of warps multiply and add up"
        case GemmScaled(formats=formats):
            kinds = ", ".join(_kinds(each) for each in formats)
            return f"the tensor core multiplies {kinds} as they lie in memory"
        case GemmTma():
            return "TMA can move the operands: addresses and strides are multiples of 16 bytes"
        case Library():
            return "the vendor's library"


def _kinds(formats: str) -> str:
    """`e4m3 by e2m1 with scales in e8m0`."""
    a, b, scale = formats.split()
    return f"{a} by {b} with scales in {scale}"


def _chosen(decision: Decision, *names: str) -> str:
    """Who chose: whoever forces a plan, a table of measured ones, or the rules."""
    choice = decision.call.choice
    if choice is None or not set(names) & set(choice.plan.split()):
        return "by rule"
    return "forced" if decision.is_forced else "measured"


def _found(decision: Decision, taken: Taken) -> tuple[Step | None, Schedule | None]:
    launched = {id(launch.kernel) for launch in taken.launches if isinstance(launch, Launch)}
    for step in decision.call.plans.every():
        for schedule in step.plans:
            own = {id(kernel) for kernel in kernels(schedule)}
            if step.writes == taken.writes and schedule.name == taken.plan and launched <= own:
                return step, schedule
    return None, None


def _sized(keys: str, call: Call) -> str:
    """`... x N = 16 x 4096`: axes with their sizes."""
    sizes: dict[str, int] = {}
    for key in keys.split():
        name = "..." if key in LEAD else key
        sizes[name] = sizes.get(name, 1) * call.size(key)
    return f"{' x '.join(sizes)} = {' x '.join(map(str, sizes.values()))}" if sizes else "1"
