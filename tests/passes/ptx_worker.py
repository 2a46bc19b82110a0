"""The process in which PTX is made without a GPU: reads jobs as JSON, writes the 16-bit arithmetic of each op."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompiledKernel

from fusec.codegen.gate_worker import _constexpr, load
from fusec.codegen.launched import variants
from fusec.codegen.variant import Variant
from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.driver.telling import telling_calls
from fusec.passes.kernel import facts

ARITHMETIC = re.compile(r"^\s*(?:add|sub|mul|div|fma|mad|min|max)\.\S*f16\S*", re.MULTILINE)


def arithmetic(job: dict[str, Any], folder: Path) -> list[list[str]]:
    """For each op of a spec, the instructions of its first kernel that compute in f16 or bf16."""
    with mock.patch.object(facts, "kept_apart", facts.kept_apart if job["apart"] else lambda flow, live: frozenset()):
        ops = compile_source(Source("narrow.fuse", job["spec"]), None)
    found: list[list[str]] = []
    for op in ops:
        (variant, *_) = variants(load("narrow", op.text, folder), op.graph.name, telling_calls(op.program))
        found.append(instructions(op.text, variant, job["capability"], folder))
    return found


def instructions(text: str, variant: Variant, capability: int, folder: Path) -> list[str]:
    made = compiled(text, variant, capability, folder)
    return sorted({each.strip() for each in ARITHMETIC.findall(made.asm["ptx"])})


def compiled(
    text: str, variant: Variant, capability: int, folder: Path, changed: Mapping[str, int | bool] | None = None
) -> CompiledKernel:
    """A kernel for a chip, with some compile-time arguments `changed`."""
    names = [name for name, _ in variant.signature]
    source = ASTSource(
        getattr(load("narrow", text, folder), variant.kernel),
        dict(variant.signature),
        {name: _constexpr(value) for name, value in variant.constexprs} | dict(changed or {}),
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in variant.divisible},
    )
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as written:
        print(json.dumps([arithmetic(job, Path(written)) for job in json.load(sys.stdin)]))
