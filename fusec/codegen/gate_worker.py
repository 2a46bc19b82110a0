"""The process in which the resource gate compiles. It writes the files it is handed, since Triton needs files."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import triton
import triton.language as tl
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.experimental.gluon._runtime import GluonASTSource

from fusec.codegen.launched import variants
from fusec.runtime.launch import fits
from fusec.runtime.select.chip import WARP
from fusec.workers import answer

_REGISTERS = re.compile(r"Used (\d+) registers")
_BLOCK_SIZE = re.compile(r"^\.reqntid .*$", re.MULTILINE)
_PRODUCT = re.compile(r"^\s*(?:@\S+\s+)?((?:tcgen05\.mma|mma\.sync|wgmma\.mma_async)\S*)", re.MULTILINE)
"""An instruction of the tensor core in PTX."""

_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


def figures(job: dict[str, Any], folder: Path) -> Mapping[str, object]:
    """The figures of one job, or `{"error": why}` when the kernel does not compile; none of one for the front end.

    A job that is `telling` calls is for the variants that these launch.
    """
    try:
        if "telling" in job:
            module = load(job["module"], job["text"], folder)
            return {op: list(map(asdict, variants(module, op, told))) for op, told in job["telling"].items()}
        kernel = getattr(load(job["module"], job["text"], folder), job["variant"]["kernel"])
        if job.get("front"):
            return in_triton_ir(kernel, job["variant"], job["target"])
        return resources(kernel, job["variant"], job["target"])
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
    source, target = _source(kernel, variant), _target(chip)
    texts: dict[object, _Lowered] = {}
    for each in variant["options"]:
        options = dict(each)
        most = options.pop("most_registers", None)
        cap = None if kernel.is_gluon() else options.pop("maxnreg", None)
        key = tuple(options.items())
        if key not in texts:
            texts[key] = lowered(source, target, options)
        found = texts[key].assembled(cap)
        if fits(found["spills"], found["registers"], most) and found["shared"] <= chip["shared_limit"]:
            break
    return found


def in_triton_ir(kernel: Any, variant: dict[str, Any], chip: dict[str, Any]) -> dict[str, int]:
    """Nothing, for a variant that Triton's front end takes: its types and shapes are checked then."""
    options = dict(variant["options"][0])
    options.pop("most_registers", None)
    lowered(_source(kernel, variant), _target(chip), options, front=True)
    return {}


@dataclass(frozen=True, slots=True)
class _Lowered:
    """A kernel in `text` for the assembler, the stage that runs this, and what Triton noted of the kernel."""

    text: Any
    assemble: Callable[[Any, dict[str, Any]], Any]
    noted: dict[str, Any]

    def capped(self, cap: int | None) -> Any:
        """The text for so many registers to a thread at most: no stage before the assembler looks at that."""
        return self.text if cap is None else _BLOCK_SIZE.sub(rf"\g<0>\n.maxnreg {cap}", self.text, count=1)

    def assembled(self, cap: int | None) -> dict[str, int]:
        """What the kernel needs with such a cap."""
        with redirect_stdout(io.StringIO()) as log:
            self.assemble(self.capped(cap), dict(self.noted))
        products = _PRODUCT.findall(str(self.text))
        scaled = len(products) if all(".block_scale" in product for product in products) else 0
        return {**usage(log.getvalue()), "shared": self.noted["shared"], "scaled": scaled}


def lowered(source: ASTSource, target: GPUTarget, options: dict[str, int], front: bool = False) -> _Lowered:
    """What Triton makes of a kernel before it is assembled, or in its `front` end alone.

    This is what `triton.compile` does, but nothing is looked up, hashed or written, which takes as long as a tenth of
    the rest.
    """
    triton.knobs.nvidia.dump_ptxas_log = True
    backend = make_backend(target)
    parsed = backend.parse_options({**options, "enable_fp_fusion": bool(options.get("enable_fp_fusion", True))})
    stages: dict[str, Callable[[Any, dict[str, Any]], Any]] = {}
    backend.add_stages(stages, parsed, source.language)
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    functions, modules = backend.get_codegen_implementation(parsed), backend.get_module_map()
    made = source.make_ir(target, parsed, functions, modules, context)
    noted = {"hash": "", "target": target, **parsed.__dict__}
    *before, assemble = stages.values()
    for stage in () if front else before:
        made = stage(made, noted)
    return _Lowered(made, assemble, noted)


def _source(kernel: Any, variant: dict[str, Any]) -> ASTSource:
    names = [name for name, _ in variant["signature"]]
    return (GluonASTSource if kernel.is_gluon() else ASTSource)(
        kernel,
        dict(variant["signature"]),
        {name: _constexpr(value) for name, value in variant["constexprs"]},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in variant["divisible"]},
    )


def _target(chip: dict[str, Any]) -> GPUTarget:
    return GPUTarget("cuda", chip["capability"], WARP)


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
    answer(figures)
