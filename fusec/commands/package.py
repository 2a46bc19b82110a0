"""`fusec package`: chosen ops as something that others install, which needs no fusec."""

from __future__ import annotations

import ast
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fusec.commands.outcome import DebugOption, JsonOption, UsageError, print_json, reporting
from fusec.driver.archives import write_folder, write_kernels, write_wheel
from fusec.driver.shipped import shipped_ops
from fusec.driver.vendoring import VendoringError, vendored

EPILOG = """[bold]Examples[/bold]

fusec package rmsnorm rope_qk --to wheel

fusec package scaled_rmsnorm --from my_ops --name my_kernels --to hf-kernels --out dist

[bold]Exit codes[/bold]

0 written · 2 wrong usage · 4 a fault of fusec · 5 the result could not be written"""


class Form(StrEnum):
    """What is written."""

    FOLDER = "folder"
    WHEEL = "wheel"
    KERNELS = "hf-kernels"


def run(
    ops: Annotated[list[str], typer.Argument(help="The names of ops.")],
    name: Annotated[str, typer.Option(help="The name of the package, as Python imports it.")] = "fused_ops",
    to: Annotated[Form, typer.Option(help="A folder, a wheel, or the layout of Hugging Face's kernels.")] = Form.WHEEL,
    source: Annotated[Path | None, typer.Option("--from", help="A built package; else the ops of fusec.")] = None,
    out: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("dist"),
    version: Annotated[str, typer.Option(help="The version of the package; of hf-kernels, a whole number.")] = "1",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a package of chosen ops that holds all they need of fusec: kernels, runtime, tuned table, licence.

    It needs torch and triton alone, is imported beside an installed fusec of any version, and keeps its names in
    PyTorch apart.
    """
    with reporting(as_json, debug):
        if not name.isidentifier():
            raise UsageError(f"--name {name}: Python has to be able to import it")
        folder = source or shipped_ops()
        try:
            contents = vendored(name, list(dict.fromkeys(ops)), folder, homes(folder))
        except VendoringError as error:
            raise UsageError(str(error)) from None
        if to is Form.KERNELS and not version.isdigit():
            raise UsageError(f"--version {version}: the versions of kernels are whole numbers")
        match to:
            case Form.FOLDER:
                written = write_folder(name, contents, out)
            case Form.WHEEL:
                written = write_wheel(name, contents, out, version)
            case Form.KERNELS:
                written = write_kernels(name, contents, out, int(version))
        if as_json:
            print_json({"ok": True, "written": str(written), "ops": sorted(set(ops)), "files": len(contents)})
        else:
            print(f"{written}: {', '.join(dict.fromkeys(ops))}")


def homes(folder: Path) -> dict[str, str]:
    """Which module of a built package each op is in, read from its index. Raises `UsageError` where there is none."""
    path = folder / "__init__.py"
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        raise UsageError(f"{folder} is no package that fusec has built") from None
    served = [
        node.args[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "serve"
    ]
    if len(served) != 1:
        raise UsageError(f"{folder} is no package that fusec has built")
    found: dict[str, str] = ast.literal_eval(served[0])
    return found
