"""The process in which the resource gate compiles: one JSON job a line in, one JSON answer a line out.

    python -m fusec.codegen.gate_worker FOLDER

writes the generated files it is handed into FOLDER, since Triton compiles functions of files only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

_REGISTERS = re.compile(r"Used (\d+) registers")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


def serve(folder: Path) -> None:
    """Answer jobs until the input ends. Nothing but answers reaches the real standard output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), folder)), file=answers, flush=True)


def answer(job: dict[str, Any], folder: Path) -> dict[str, object]:
    """The figures of one job, or `{"error": why}` when the kernel does not compile."""
    try:
        module = load(job["module"], job["text"], folder)
        return resources(getattr(module, job["variant"]["kernel"]), job["variant"], job["target"]["capability"])
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def load(name: str, text: str, folder: Path) -> ModuleType:
    """The generated file as a module, imported once."""
    unique = f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if unique not in sys.modules:
        path = folder / f"{unique}.py"
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(unique, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[unique] = module
    return sys.modules[unique]


def resources(kernel: Any, variant: dict[str, Any], capability: int) -> dict[str, object]:
    """Registers, spilled bytes, stack and shared memory of a kernel variant on a compute capability."""
    names = [name for name, _ in variant["signature"]]
    source = ASTSource(
        kernel,
        dict(variant["signature"]),
        dict(variant["constexprs"]),
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in variant["divisible"]},
    )
    options = {"num_warps": variant["num_warps"], "num_stages": variant["num_stages"]}
    triton.knobs.nvidia.dump_ptxas_log = True
    with redirect_stdout(io.StringIO()) as log:
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return {**usage(log.getvalue()), "shared": compiled.metadata.shared}


def usage(log: str) -> dict[str, int]:
    """Registers, spills and stack in the assembler's report: of its functions, and of stores and loads, the most."""
    registers, stacks = _REGISTERS.findall(log), _STACK.findall(log)
    if not registers or not stacks:
        raise ValueError(f"the assembler reported nothing to read: {log!r}")
    return {
        "registers": max(map(int, registers)),
        "spills": max(max(int(stores), int(loads)) for _, stores, loads in stacks),
        "stack": max(int(frame) for frame, _, _ in stacks),
    }


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
