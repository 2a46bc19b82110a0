"""Every op of specs/ with its generated module, and the graph its kernels were made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from shipped import SPECS, planned_once

from fusec.driver.specs import read_specs
from fusec.ir.program import Program


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
    for path, source in read_specs(SPECS).items():
        module = import_module(f"generated.{path.stem}")
        found += [Op(program, module) for program in planned_once(source, path.parent).programs]
    return tuple(found)
