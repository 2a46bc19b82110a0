"""The process in which Triton reads kernels without a GPU: takes specs as JSON, writes what it refuses."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler.compiler import make_backend

from fusec.codegen.gate_worker import _constexpr, load
from fusec.codegen.launched import variants
from fusec.codegen.variant import Variant
from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.driver.telling import telling_calls

TARGET = GPUTarget("cuda", 90, 32)


def refused(text: str, folder: Path) -> dict[str, str]:
    """Why kernels of a spec are refused, by what they are."""
    found: dict[str, str] = {}
    for op in compile_source(Source("meet.fuse", text), None):
        module = load("meet", op.text, folder)
        for variant in variants(module, op.graph.name, telling_calls(op.program)):
            try:
                translate(getattr(module, variant.kernel), variant)
            except Exception as error:
                found[variant.label] = f"{type(error).__name__}: {error}"
    return found


def translate(kernel: object, variant: Variant) -> None:
    source = ASTSource(kernel, dict(variant.signature), {name: _constexpr(value) for name, value in variant.constexprs})
    backend, context = make_backend(TARGET), ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    options = backend.parse_options({"num_warps": 4})
    source.make_ir(TARGET, options, backend.get_codegen_implementation(options), backend.get_module_map(), context)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as written:
        print(json.dumps([refused(text, Path(written)) for text in json.load(sys.stdin)]))
