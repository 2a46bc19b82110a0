"""Every op of specs/ with its generated module, and the graph its kernels were made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from fusec.codegen.names import name_apart
from fusec.diagnostics import Source
from fusec.ir.program import Program
from fusec.lang.load import load
from fusec.passes.graph.elaborate.op import elaborate
from fusec.passes.pipeline import compile_graph

SPECS = Path(__file__).parents[2] / "specs"


@dataclass(frozen=True)
class Op:
    """A generated op beside the program the compiler makes of its spec now."""

    program: Program
    module: ModuleType

    @property
    def name(self) -> str:
        return self.program.graph.name

    @property
    def call(self) -> Callable[..., Any]:
        return getattr(self.module, self.name)


@cache
def all_ops() -> tuple[Op, ...]:
    """Every op of every spec."""
    found = []
    for path in sorted(SPECS.glob("*.fuse")):
        module = import_module(f"generated.{path.stem}")
        graphs = elaborate(load(Source(path.name, path.read_text()), SPECS))
        # Kernels have the names of the file, where some are those of several ops.
        programs, _ = name_apart(tuple(map(compile_graph, graphs)))
        found += [Op(program, module) for program in programs]
    return tuple(found)
