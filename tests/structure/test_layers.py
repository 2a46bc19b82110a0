"""The way of the data has one direction: a module imports what stands above it, and nothing else."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import fusec

ROOT = Path(fusec.__file__).parent


@dataclass(frozen=True)
class Layer:
    """Modules whose name starts with `place`, what they may import of fusec beside each other, and of others."""

    place: str
    fusec: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


LAYERS = (
    Layer("diagnostics"),
    Layer("workers"),
    # Pygments loads it where nothing of the compiler is installed.
    Layer("lang.highlight", (), ("pygments",)),
    Layer("lang", ("diagnostics",), ("lark",)),
    # The host table is data of the standard library alone: the compiler fills it, the runtime reads it.
    Layer("ir.host"),
    Layer("ir", ("diagnostics",), ("sympy",)),
    Layer("extents", ("ir",), ("numpy", "sympy")),
    Layer("passes.graph.elaborate", ("diagnostics", "ir", "lang.syntax", "lang.habits", "passes.graph"), ("sympy",)),
    Layer("passes.graph", ("diagnostics", "ir"), ("sympy",)),
    Layer("passes.partition", ("diagnostics", "ir", "passes.graph"), ("sympy",)),
    Layer("passes.schedule", ("diagnostics", "ir"), ("sympy",)),
    Layer("passes.kernel", ("diagnostics", "ir", "passes.schedule.survey"), ("sympy",)),
    Layer(
        "passes.host",
        ("diagnostics", "ir", "passes.kernel.blocks", "passes.schedule.traffic", "passes.schedule.registers"),
        ("sympy",),
    ),
    Layer("passes.explain", ("diagnostics", "ir", "passes"), ("sympy",)),
    Layer("passes.runner", ("diagnostics", "ir", "passes.partition.postpone")),
    Layer("passes.pipeline", ("diagnostics", "ir", "passes")),
    Layer("passes.widened_dots", ("diagnostics", "ir", "passes"), ("sympy",)),
    Layer("passes.warnings", ("diagnostics", "ir", "passes"), ("sympy",)),
    Layer("reference.emit", ("diagnostics", "ir"), ("sympy",)),
    Layer(
        "reference",
        (
            "diagnostics",
            "ir.types",
            "ir.formats",
            "ir.host.dtypes",
            "ir.ops",
            "ir.traits",
            "ir.expressions",
            "ir.graph",
        ),
        ("sympy", "torch"),
    ),
    Layer("numerics", ("diagnostics", "ir", "reference"), ("sympy", "torch")),
    Layer("codegen.launched", ("codegen.variant", "ir.host", "runtime"), ("torch",)),
    Layer("codegen.gate_worker", ("codegen.launched", "workers", "runtime.launch", "runtime.select.chip"), ("triton",)),
    Layer(
        "codegen",
        (
            *("__version__", "diagnostics", "workers", "ir"),
            *("passes.host.table", "passes.kernel.blocks", "passes.schedule.traffic", "runtime.select.chip"),
        ),
        ("filelock", "jinja2", "sympy"),
    ),
    Layer("interpreter", ("runtime.tensor_map",), ("numpy", "torch", "triton")),
    Layer("runtime", ("ir.host",), ("torch", "triton")),
    Layer("conversion", ("runtime",), ("torch",)),
    Layer("forcing", ("ir", "runtime")),
    Layer(
        "driver",
        (
            *("__version__", "diagnostics", "workers", "lang", "ir", "extents", "passes", "reference", "numerics"),
            *("codegen", "runtime", "forcing"),
        ),
        ("platformdirs", "sympy", "torch"),
    ),
    Layer(
        "testing",
        (
            "diagnostics",
            "forcing",
            "workers",
            "ir",
            "lang",
            "extents",
            "passes",
            "reference",
            "numerics",
            "interpreter",
            "runtime",
            "driver",
        ),
        ("hypothesis", "numpy", "pytest", "sympy", "torch", "triton"),
    ),
    # Results of benchmarks as data, and pictures of them: nothing of the compiler.
    Layer("report", (), ("matplotlib",)),
    Layer(
        "commands",
        (
            *(
                "__version__",
                "diagnostics",
                "workers",
                "lang",
                "ir",
                "extents",
                "passes",
                "reference",
                "numerics",
                "codegen",
                "driver",
                "report",
            ),
            "runtime.explain.tree",
            "runtime.select.tables",
            "runtime.select.chip",
        ),
        ("rich", "torch", "triton", "typer"),
    ),
    Layer("cli", ("__version__", "commands"), ("typer",)),
    # A live model: it reads the source of its modules, and calls what the model itself would.
    Layer("models", ("ops", "conversion", "runtime"), ("torch",)),
    Layer("extra"),
    # The package of ops: in a wheel it stands in the place of this module.
    Layer("ops", (), ("generated",)),
    Layer("__main__", ("extra",)),
    Layer("", ("extra", "conversion", "driver.load", "models", "runtime")),
)
"""The first entry whose place fits a module is its layer. `codegen.gate_worker` is a process of its own."""

CALLING = (
    *("bench", "bench_cases", "bench_measure", "bench_ops", "sizes", "tune", "tune_shapes", "tune_worker"),
    *("verify", "verify_worker", "verify_package_worker"),
)
"""The parts of the command line that call ops, on arguments that `testing` draws."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def layer_of(module: str) -> Layer:
    return next(layer for layer in LAYERS if within(module, layer.place))


def within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.") or not place


def imports(path: Path) -> Iterator[str]:
    """The full names a file imports, those inside `from X import a` as `X.a`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden(module: str, path: Path) -> list[str]:
    layer = layer_of(module)
    allowed = (*layer.fusec, layer.place) if layer.place else layer.fusec
    outside = layer.outside
    if module.removeprefix("commands.") in CALLING:
        allowed += ("interpreter", "runtime", "testing")
        outside += ("hypothesis",)
    found = []
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "fusec":
            fine = any(within(rest, place) for place in allowed)
        else:
            fine = top in sys.stdlib_module_names or top in outside
        if not fine:
            found.append(name)
    return found


def test_every_module_imports_only_what_stands_above_it() -> None:
    wrong = {module: found for module, path in modules() if (found := forbidden(module, path))}
    assert not wrong


def test_every_layer_is_there() -> None:
    places = {layer_of(module).place for module, _ in modules()}
    assert places == {layer.place for layer in LAYERS}


@pytest.mark.parametrize(
    ("module", "line", "name"),
    [
        ("lang.parse", "from fusec.ir.graph import Graph", "fusec.ir.graph.Graph"),
        ("passes.graph.simplify", "from fusec.lang import syntax", "fusec.lang.syntax"),
        ("ir.graph", "import torch", "torch"),
        ("runtime.plan", "from fusec.diagnostics import Span", "fusec.diagnostics.Span"),
        ("runtime.plan", "import sympy", "sympy"),
        ("runtime.select.run", "from fusec.ir.graph import Graph", "fusec.ir.graph.Graph"),
        ("ir.host", "import sympy", "sympy"),
        ("runtime.launch", "import numpy", "numpy"),
        (
            "interpreter.exact",
            "from fusec.testing import interpreter_selftest",
            "fusec.testing.interpreter_selftest",
        ),
        ("codegen.emit", "from fusec.passes.pipeline import compile_graph", "fusec.passes.pipeline.compile_graph"),
        ("commands.build", "from fusec.testing import cases", "fusec.testing.cases"),
        ("driver.build", "from fusec.commands import table", "fusec.commands.table"),
    ],
)
def test_a_wrong_arrow_is_seen(tmp_path: Path, module: str, line: str, name: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(f"import os\n{line}\n")
    assert forbidden(module, path) == [name]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("passes.graph.elaborate.op", "from fusec.lang import syntax"),
        ("runtime.plan", "from fusec.runtime.launch import Launch"),
        ("commands.verify_package_worker", "from fusec.testing import cases"),
        ("cli", "from fusec import __version__"),
    ],
)
def test_a_right_arrow_is_allowed(tmp_path: Path, module: str, line: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(f"{line}\n")
    assert forbidden(module, path) == []
