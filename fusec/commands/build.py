"""`fusec build`: specs to a verified package, and the table of what it costs."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fusec.codegen.gate import WORKER, Verdict
from fusec.codegen.package import spec_hash
from fusec.codegen.safety import is_identifier
from fusec.commands.exits import Exit
from fusec.commands.outcome import (
    DebugOption,
    JsonOption,
    UsageError,
    describe,
    print_json,
    reporting,
    tell_warnings,
)
from fusec.commands.table import Column, print_table, progress_bars
from fusec.commands.verify_package import verify_package
from fusec.diagnostics import Diagnostic
from fusec.driver.build import Options, Report, Verification, build_folder
from fusec.driver.compile import compile_file
from fusec.driver.record import OpRecord
from fusec.driver.specs import Compiler
from fusec.driver.store import Store, default_folder, write_whole
from fusec.driver.tuning.table import remarks
from fusec.passes.explain.plans import PlanRecord
from fusec.runtime.select.chip import TARGETS, Target

EPILOG = """[bold]Examples[/bold]

fusec build specs/

fusec build specs/ --out my_ops --target sm_90 --verify

fusec build specs/ --check [dim](fails when the committed package is stale)[/dim]

[bold]Exit codes[/bold]

0 built · 1 a spec is wrong, or --check found the package stale · 2 wrong usage · 3 the resource gate or the
verification failed · 4 a fault of fusec · 5 the package could not be written"""

COMPILER = Compiler(compile_file, WORKER)

FAILURES_SHOWN = 20

COLUMNS = (
    Column("op, plan"),
    Column("kernels", numbers=True),
    Column("bytes moved", elsewhere="`fusec explain OP` shows it"),
    Column("above least", elsewhere="`fusec explain OP` shows it"),
    Column("registers", numbers=True),
    Column("spills", numbers=True, elsewhere="each kernel that spills is told"),
    Column("shared\nmemory", numbers=True, elsewhere="`--report FILE` has it"),
    Column("with\nbound", numbers=True),
    Column("error\n/ bound", numbers=True),
)


def run(
    specs: Annotated[Path, typer.Argument(help="A folder of .fuse files, or one file.")] = Path("specs"),
    out: Annotated[Path, typer.Option("--out", "-o", help="The package folder to write.")] = Path("generated"),
    target: Annotated[str, typer.Option(help="Chips the kernels must fit, or `none`.")] = "sm_80,sm_90",
    verify: Annotated[bool, typer.Option("--verify", help="Run every op against its reference.")] = False,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes; else one per core.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when the package is stale.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Build nothing when a kernel spills registers.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write the full result to this file, as JSON.")] = None,
    cache: Annotated[bool, typer.Option(help="Reuse earlier results.")] = True,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Build a folder of specs into a package of Triton ops.

    Nothing is written when a spec is wrong, when a kernel does not fit a target, or when an op fails its verification:
    the package that was there stays as it was. A kernel that spills registers at some size is right and slower than it
    should be there: that is a warning, or a failure with --strict.
    """
    with reporting(as_json, debug):
        options = Options(
            targets=parse_targets(target),
            jobs=jobs or len(os.sched_getaffinity(0)),
            check=check,
            strict=strict,
            store=Store(default_folder() if cache else None),
        )
        with progress_bars() as progress:
            verify_with = verify_package if verify else None
            result = build_folder(specs, out, COMPILER, options, verify_with, progress, _say)
        plain = to_json(result, check)
        if report:
            write_whole(report, json.dumps(plain, indent=2) + "\n")
        if as_json:
            print_json(plain)
        else:
            tell_warnings(told_of(result))
            _tell("warning", tuple(hands(result, out, check)))
            print_table(COLUMNS, tuple(rows(result)), tuple(notes(result, out, check)))
        _exit(result, out, check)


def parse_targets(text: str) -> tuple[Target, ...]:
    """The targets of a list like `sm_80,sm_90`. Raises `UsageError` naming the known ones."""
    names = [name.strip() for name in text.split(",") if name.strip()] if text != "none" else []
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        raise UsageError(f"unknown target {', '.join(unknown)}; there are {', '.join(TARGETS)} and none")
    return tuple(TARGETS[name] for name in dict.fromkeys(names))


def rows(report: Report) -> Iterator[tuple[str, ...]]:
    """The lines of the table: every op with its worst error, then its plans with theirs and what variants need."""
    checks = {check.op: check for check in report.verifications}
    for record in report.files:
        for op in record.ops:
            check = checks.get(op.name)
            yield (op.name, *[""] * (len(COLUMNS) - 3), *_verified(check))
            for plan in op.plans:
                figures = plan_figures(plan, report.verdicts[op.name])
                measured = ("-", "-", "-") if figures is None else map(str, figures)
                error = plan_error(plan, check) if check else ""
                yield (f"  {plan.name}", str(len(plan.kernels)), plan.moved, plan.excess or "-", *measured, "", error)


def _verified(check: Verification | None) -> tuple[str, str]:
    """The share of elements that had a bound, and the worst error, of an op."""
    if check is None:
        return "", "-"
    share = "" if check.bounded is None else f"{check.bounded:.0%}"
    worst = "wrong" if check.failure else "-" if check.worst is None else f"{check.worst:.2f}"
    return share, worst


def plan_error(plan: PlanRecord, check: Verification) -> str:
    """The worst error of results that kernels of a plan had a part in; what did not run is told."""
    if not check.errors.keys() >= set(plan.kernels):
        return "not run"
    errors = [check.errors[kernel] for kernel in plan.kernels]
    known = [error for error in errors if error is not None]
    return f"{max(known, default=0.0):.2f}" if len(known) == len(errors) else "wrong"


def plan_figures(plan: PlanRecord, verdicts: Sequence[Verdict]) -> tuple[int, int, int] | None:
    """The most registers, spilled bytes and shared memory of a plan's kernels, or None when none was measured."""
    found = [verdict.resources for verdict in verdicts if verdict.kernel in plan.kernels and verdict.resources]
    if not found:
        return None
    return (
        max(resources.registers for resources in found),
        max(resources.spills for resources in found),
        max(resources.shared for resources in found),
    )


def notes(report: Report, out: Path, check: bool) -> Iterator[str]:
    """What stands below the table: what was measured and run, what was skipped and why, what was written."""
    verdicts = [verdict for group in report.verdicts.values() for verdict in group]
    if verdicts:
        targets = ", ".join(dict.fromkeys(verdict.target for verdict in verdicts))
        missing = sum(map(len, report.not_compiled.values()))
        rest = f"; {missing} kernels were not compiled" if missing else ""
        alike = sum(verdict.like is not None for verdict in verdicts)
        light = f"; {alike} of them need no more than one that leaves registers free" if alike else ""
        yield f"Resource gate: {len(verdicts)} kernel variants on {targets}{light}{rest}."
    skipped = Counter(f"{verdict.target}: {verdict.skipped}" for verdict in verdicts if verdict.skipped)
    for reason, count in skipped.items():
        yield f"  {count} skipped on {reason}"
    if report.verifications:
        where = ", ".join(dict.fromkeys(check.where for check in report.verifications))
        ran = sum(len(check.errors) for check in report.verifications)
        left = sum(len(check.not_run) for check in report.verifications)
        kernels = f"{ran} of {ran + left} kernels" if left else "every kernel"
        yield f"Verification: {kernels} of every op against its reference on {where}."
    if report.failures:
        return
    ops = ((spec_hash(record.text), op) for record in report.files for op in record.ops)
    yield from remarks(out, {op.name: (spec, _plan_names(op)) for spec, op in ops})
    changes = report.changes
    counts = {"added": changes.added, "changed": changes.changed, "removed": changes.removed}
    done = ", ".join(f"{len(names)} {kind}" for kind, names in counts.items() if names)
    yield f"{out}: {done or 'up to date'}{' (nothing was written)' if check and done else ''}"
    if not is_identifier(out.resolve().name):
        name = out.resolve().name
        yield f"Python cannot import a package of the name {name!r}; letters, digits and underscores it can."


def _plan_names(op: OpRecord) -> frozenset[str]:
    """What a table may call the plans of an op."""
    return frozenset(word for plan in op.plans for word in plan.name.split())


def to_json(report: Report, check: bool) -> dict[str, Any]:
    """The whole outcome as plain values."""
    ops = [
        {
            "op": op.name,
            "module": record.module,
            "plans": [asdict(plan) for plan in op.plans],
            "gate": [asdict(verdict) for verdict in report.verdicts[op.name]],
            "not_compiled": list(report.not_compiled[op.name]),
            "verification": next((asdict(made) for made in report.verifications if made.op == op.name), None),
        }
        for record in report.files
        for op in record.ops
    ]
    written = not check and not report.failures
    return {
        "ok": not report.failures and not (check and report.changes),
        "written": written,
        "changes": asdict(report.changes),
        "failures": list(report.failures),
        "warnings": [*map(describe, told_of(report)), *({"message": warning} for warning in report.warnings)],
        "ops": ops,
    }


def hands(report: Report, out: Path, check: bool) -> Iterator[str]:
    """What was changed by hand in the package folder, and what becomes of it."""
    written = "would be replaced" if check else "is to be replaced" if report.failures else "was replaced"
    for name in report.changes.edited:
        yield f"{out / name} was edited since the last build, and {written} by what its spec makes"
    for name in report.changes.kept:
        yield f"{out / name} is not as a build left it and belongs to no spec: it stays"


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def told_of(report: Report) -> list[Diagnostic]:
    """What the specs are warned of."""
    return [warning for record in report.files for warning in record.warnings]


def _exit(report: Report, out: Path, check: bool) -> None:
    _tell("warning", report.warnings)
    _tell("error", report.failures)
    if report.failures:
        print(f"{out} was left as it was", file=sys.stderr)
        raise typer.Exit(Exit.FAILED)
    if check and report.changes:
        print(f"error: {out} is stale: run `fusec build` and commit the result", file=sys.stderr)
        raise typer.Exit(Exit.SPEC)


def _tell(kind: str, messages: tuple[str, ...]) -> None:
    for message in messages[:FAILURES_SHOWN]:
        first, *more = message.strip().splitlines()
        print(f"{kind}: {first}{f' ... {more[-1]}' if more else ''}", file=sys.stderr)
    if len(messages) > FAILURES_SHOWN:
        print(f"and {len(messages) - FAILURES_SHOWN} more; --json shows them all", file=sys.stderr)
