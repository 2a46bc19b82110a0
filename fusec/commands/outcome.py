"""How a command ends: its exit code, and its errors as text on stderr or as JSON on stdout; never a traceback."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from fusec.codegen.package import PackageError
from fusec.commands.exits import Exit
from fusec.diagnostics import Diagnostic, InternalError, Severity, SpecError, rendered
from fusec.driver.specs import UnreadableError

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an internal error.")]


class UsageError(Exception):
    """The command was asked for something that is not there; the message says what there is."""


@contextmanager
def reporting(as_json: bool, debug: bool) -> Iterator[None]:
    """Turn every error that leaves a command into a message and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except SpecError as error:
        _report(as_json, "spec", str(error), error.diagnostics)
        raise typer.Exit(Exit.SPEC) from None
    except (UsageError, UnreadableError) as error:
        _report(as_json, "usage", f"error: {error}")
        raise typer.Exit(Exit.USAGE) from None
    except BrokenPipeError:
        # Whoever read our output has gone, and Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(Exit.OUTPUT) from None
    except PackageError as error:
        _report(as_json, "output", f"error: {error}")
        raise typer.Exit(Exit.OUTPUT) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _report(as_json, "output", f"error: {place}{error.strerror or error}")
        raise typer.Exit(Exit.OUTPUT) from None
    except KeyboardInterrupt:
        _report(as_json, "interrupted", "interrupted")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if debug:
            traceback.print_exc()
        text = str(error) if isinstance(error, InternalError) else f"internal error: {type(error).__name__}: {error}"
        advice = "This is a fault of fusec, not of your spec: please report it with the spec and the lines above."
        _report(as_json, "internal", f"{text}\n{advice}")
        raise typer.Exit(Exit.INTERNAL) from None


def describe(fault: Diagnostic) -> dict[str, Any]:
    """A diagnostic as plain values."""
    line, column = fault.span.source.position(fault.span.start)
    notes = [{"message": note.text, "at": str(note.span) if note.span else None} for note in fault.notes]
    place = {"file": fault.span.source.name, "line": line, "column": column}
    return {
        **place,
        "severity": fault.severity.value,
        "message": fault.message,
        "notes": notes,
        "help": fault.help,
    }


def tell_warnings(warnings: Sequence[Diagnostic]) -> None:
    """What specs are warned of, on standard error."""
    if warnings:
        print(rendered(warnings), file=sys.stderr)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2))


def _report(as_json: bool, kind: str, text: str, told: Sequence[Diagnostic] = ()) -> None:
    if as_json:
        errors = [describe(one) for one in told if one.severity is Severity.ERROR] or [{"message": text}]
        warnings = [describe(one) for one in told if one.severity is Severity.WARNING]
        print_json({"ok": False, "kind": kind, "errors": errors, "warnings": warnings})
    else:
        print(text, file=sys.stderr)
