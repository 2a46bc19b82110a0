"""`fusec bench`: an op against everything else that does its work, on one GPU, in one run; or what the GPU can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from fusec.commands import sizes
from fusec.commands.find import SpecsOption, find_op
from fusec.commands.limits import Limit
from fusec.commands.limits import limits as best
from fusec.commands.outcome import DebugOption, JsonOption, UsageError, print_json, reporting
from fusec.commands.pairs import DTYPES, pairs
from fusec.commands.peers import peers
from fusec.commands.table import Column, print_table
from fusec.commands.timing import Timing, time_calls
from fusec.driver.compile import compile_file
from fusec.driver.load import load_module
from fusec.driver.store import default_folder
from fusec.testing.cases import Case, build

EPILOG = """[bold]Examples[/bold]

fusec bench rmsnorm

fusec bench rmsnorm --size N=8192 --size ...=16384 --dtype T=f16

fusec bench rope_qk --size B=1 --size S=4096 --size Hq=32 --size Hk=8 --size D=128 --json

fusec bench --limits

[bold]Exit codes[/bold]

0 measured · 1 the spec is wrong · 2 wrong usage, or no GPU · 4 a fault of fusec"""


def run(
    op: Annotated[str, typer.Argument(help="The name of an op.")] = "",
    specs: SpecsOption = Path("specs"),
    limits: Annotated[bool, typer.Option("--limits", help="What this GPU reaches at best, for each type.")] = False,
    size: Annotated[list[str] | None, typer.Option(help="The extent of an axis, or of `...`.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="The dtype of a type variable.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which all candidates take turns.")] = 7,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Time an op and its peers on this machine's GPU: eager, torch.compile, torch.nn.functional, Liger.

    Device time is the median of interleaved rounds with a cold cache, from a CUDA graph where the call can be captured;
    host time is what one call costs the CPU. With --limits, time large products of the vendor's library instead.
    """
    with reporting(as_json, debug):
        if bool(op) == limits:
            raise UsageError("name an op to time, or ask for --limits alone")
        if not torch.cuda.is_available():
            raise UsageError("there is no GPU here, and the interpreter's times would mean nothing")
        if limits:
            tell_limits(rounds, as_json)
        else:
            tell_op(op, specs, size or [], pairs("--dtype", dtype or [], DTYPES), rounds, as_json)


def tell_op(op: str, specs: Path, size: list[str], dtypes: dict[str, str], rounds: int, as_json: bool) -> None:
    """An op and its peers, as a table or as data."""
    _, source, graph = find_op(op, specs)
    module = load_module(source, specs if specs.is_dir() else specs.parent, compile_file, default_folder())
    case = sizes.choose(graph, size, dtypes)
    arguments = build(graph, case, "cuda").arguments
    function = getattr(module, op)
    calls = peers(op, lambda: function(**arguments), getattr(module, f"reference_{op}"), arguments)
    moved = traffic(arguments, function(**arguments))
    calls["copy of as many bytes"] = copy_of(moved)
    timings = time_calls(calls, rounds)
    if as_json:
        print_json(to_json(case, moved, timings))
    else:
        print_table(COLUMNS, rows_of(moved, timings), (f"{case!r}", torch.cuda.get_device_name()))


def tell_limits(rounds: int, as_json: bool) -> None:
    """What the GPU reaches at best, as a table or as data."""
    found = list(best(lambda calls: time_calls(calls, rounds)))
    device = torch.cuda.get_device_name()
    if as_json:
        print_json({"device": device, "torch": torch.__version__, "limits": [asdict(limit) for limit in found]})
    else:
        columns = (Column("kind"), Column("rate", numbers=True), Column("at", numbers=True), Column("us", numbers=True))
        print_table(columns, [limit_row(limit) for limit in found], (device,))


def limit_row(limit: Limit) -> tuple[str, ...]:
    """A line of the table, or why there is no rate."""
    if limit.refused:
        return limit.kind, "-", limit.refused, "-"
    at = " x ".join(map(str, limit.shape))
    return limit.kind, f"{limit.rate:.2f} {limit.unit}", at, f"{limit.microseconds:.1f}"


COLUMNS = (
    Column("candidate"),
    Column("device us", numbers=True),
    Column("TB/s", numbers=True),
    Column("fusec is faster by", numbers=True),
    Column("host us", numbers=True),
    Column("CUDA graph"),
)


def rows_of(moved: int, timings: Mapping[str, Timing]) -> list[tuple[str, ...]]:
    """A line per candidate. The rate counts the least bytes the op could move, whatever a candidate really moves."""
    own = timings["fusec"].device
    return [
        (
            name,
            f"{timing.device:.1f}",
            f"{moved / timing.device / 1e6:.2f}",
            f"{timing.device / own:.2f}x",
            f"{timing.host:.1f}",
            "yes" if timing.captured else "no",
        )
        for name, timing in timings.items()
    ]


def to_json(case: Case, moved: int, timings: Mapping[str, Timing]) -> dict[str, Any]:
    """Everything measured, with what it was measured on."""
    return {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "case": asdict(case),
        "bytes": moved,
        "microseconds": {name: {**asdict(timing), "device": timing.device} for name, timing in timings.items()},
    }


def traffic(arguments: Mapping[str, Any], results: Any) -> int:
    """The least bytes the call can move: every tensor it is given read once, every result written once."""
    outputs = results if isinstance(results, tuple) else (results,)
    tensors = [value for value in (*arguments.values(), *outputs) if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def copy_of(moved: int) -> Any:
    """A device copy that reads and writes `moved` bytes together."""
    source = torch.empty(moved // 2, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return lambda: target.copy_(source)
