"""The command line: `fusec build`, `check`, `explain`, `bench`, `tune`, `verify`, `package`, `cache`, `doctor`."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from fusec import __version__
from fusec.commands.exits import Exit

COMMANDS = ("build", "check", "explain", "bench", "tune", "verify", "package", "cache", "doctor")

HELP = """Build fused Triton ops from specs of a few lines.

A spec says what an op computes; fusec derives the kernels, the launcher and its checks, a PyTorch reference and an
error bound, and verifies one against the other."""

EPILOG = """[bold]Examples[/bold]

fusec check specs/

fusec build specs/ --out generated --verify

fusec explain rmsnorm_quantize

[bold]Exit codes[/bold]

0 fine · 1 a spec is wrong · 2 wrong usage · 3 the resource gate, a verification or a tuning failed ·
4 a fault of fusec · 5 the result could not be written"""


def main() -> None:
    """Run the command that the arguments of the process name."""
    try:
        # What modules make while they load stays: looking for garbage there takes a tenth of the time of a command.
        gc.disable()
        commands = application(sys.argv[1:])
        gc.freeze()
        gc.enable()
        commands()
    except KeyboardInterrupt:  # while a command's modules were loading; a command that runs says so itself
        print("interrupted", file=sys.stderr)
        sys.exit(Exit.INTERRUPTED)


def application(arguments: Sequence[str]) -> typer.Typer:
    """The command line, with the modules of only the command that `arguments` ask for: `check` waits for no torch.

    Where they name none it has what all commands say of themselves, for a list of them.
    """
    app = typer.Typer(
        help=paragraphs(HELP),
        epilog=paragraphs(EPILOG),
        rich_markup_mode="rich",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_top)
    match arguments[:1]:
        case [name] if name in COMMANDS:
            module = import_module(f"fusec.commands.{name}")
            app.command(name, help=paragraphs(module.run.__doc__), epilog=paragraphs(module.EPILOG))(module.run)
        case ["--version"]:
            pass
        case _:
            for name in COMMANDS:
                app.command(name, help=paragraphs(said_of(name)))(_unnamed)
    return app


def said_of(name: str) -> str:
    """What a command says of itself, read without what it would load."""
    text = Path(__file__).with_name("commands").joinpath(f"{name}.py").read_text(encoding="utf-8")
    run = next(each for each in ast.parse(text).body if isinstance(each, ast.FunctionDef) and each.name == "run")
    return ast.get_docstring(run) or ""


def paragraphs(text: str) -> str:
    """A text whose paragraphs are a line each, for the terminal to break."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _unnamed() -> None:
    """Stands for a command that no argument names."""


def _top(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=lambda asked: _print_version(asked))
    ] = False,
) -> None:
    pass


def _print_version(asked: bool) -> None:
    if asked:
        print(f"fusec {__version__}")
        raise typer.Exit
