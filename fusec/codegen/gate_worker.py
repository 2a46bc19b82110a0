"""The process in which the resource gate compiles. It writes the files it is handed, since Triton needs files."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fusec.runtime.launch import fits
from fusec.runtime.select.chip import WARP
from fusec.workers import answer

_REGISTERS = re.compile(r"Used (\d+) registers")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


def figures(job: dict[str, Any], folder: Path) -> Mapping[str, object]:
    """The figures of one job, or `{"error": why}` when the kernel does not compile."""
    try:
        module = load(job["module"], job["text"], folder)
        return resources(getattr(module, job["variant"]["kernel"]), job["variant"], job["target"])
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


def resources(kernel: Any, variant: dict[str, Any], chip: dict[str, Any]) -> dict[str, int]:
    """Registers, spilled bytes, stack and shared memory of a variant, with the first options that fit a chip."""
    names = [name for name, _ in variant["signature"]]
    source = ASTSource(
        kernel,
        dict(variant["signature"]),
        {name: _constexpr(value) for name, value in variant["constexprs"]},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in variant["divisible"]},
    )
    target = GPUTarget("cuda", chip["capability"], WARP)
    for each in variant["options"]:
        options = dict(each)
        most = options.pop("most_registers", None)
        found = _compiled(source, target, options)
        if fits(found["spills"], found["registers"], most) and found["shared"] <= chip["shared_limit"]:
            break
    return found


def _compiled(source: ASTSource, target: GPUTarget, options: dict[str, int]) -> dict[str, int]:
    # Each time through the assembler, whose report is what we are after, also for a kernel that was met before.
    triton.knobs.compilation.always_compile = True
    triton.knobs.nvidia.dump_ptxas_log = True
    with redirect_stdout(io.StringIO()) as log:
        compiled = triton.compile(
            source, target=target, options={**options, "enable_fp_fusion": bool(options.get("enable_fp_fusion", True))}
        )
    return {**usage(log.getvalue()), "shared": compiled.metadata.shared}


def _constexpr(value: bool | int | float | str) -> Any:
    return getattr(tl, value.removeprefix("tl.")) if isinstance(value, str) and value.startswith("tl.") else value


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
    # Line numbers would make equal kernels of different files differ.
    os.environ["TRITON_DISABLE_LINE_INFO"] = "1"
    os.environ["TRITON_CACHE_DIR"] = str(Path.cwd() / "triton")
    answer(figures)
