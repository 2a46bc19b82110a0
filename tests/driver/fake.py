"""A compiler for tests of what stands around it: a line of a spec is an op.

It is `NAME [BLOCK [REGISTERS]]`, of so many elements and at most so many registers of a thread, or `NAME unknown`.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path, PurePath

from fusec.codegen.package import MARK
from fusec.codegen.variant import Variant
from fusec.diagnostics import Diagnostic, InternalError, Severity, Source, Span, SpecError
from fusec.driver.record import FileRecord, OpRecord, PlanRecord
from fusec.driver.specs import Compiler

FILE = """# {mark} 0 from {name}
import triton
import triton.language as tl

__all__ = [{names}]


@triton.jit
def double(x, y, n, BLOCK: tl.constexpr):
    columns = tl.arange(0, BLOCK)
    values = tl.load(x + columns, mask=columns < n, other=0.0).to(tl.float32)
    tl.store(y + columns, values * tl.sum(values, 0), mask=columns < n)
"""

OP = """

def {op}() -> str:
    return "{op}"
"""


def compile_lines(source: Source, folder: Path | None) -> FileRecord:
    """Fails on a line `wrong`, warns of `doubtful`, breaks on `broken`, ends on `dies`; notes its calls in `calls`."""
    if folder and (folder / "calls").exists():
        with (folder / "calls").open("a") as calls:
            calls.write(f"{PurePath(source.name).stem}\n")
    faults = [Diagnostic("this is wrong", Span(source, at, at + 5)) for at, line in _lines(source) if line == "wrong"]
    if faults:
        raise SpecError(tuple(faults))
    if "broken" in source.text:
        raise InternalError("passes/schedule/fake", "fell over", "the graph it was given")
    if "dies" in source.text:
        os._exit(1)
    warnings = tuple(_doubt(source, at) for at, line in _lines(source) if line == "doubtful")
    ops = tuple(_op(line) for _, line in _lines(source) if line != "doubtful")
    names = ", ".join(f'"{op.name}"' for op in ops)
    text = FILE.format(mark=MARK, name=PurePath(source.name).name, names=names)
    text += "".join(OP.format(op=op.name) for op in ops)
    return FileRecord(PurePath(source.name).stem, text, tuple(op.name for op in ops), ops, warnings)


def _lines(source: Source) -> list[tuple[int, str]]:
    found, offset = [], 0
    for line in source.text.splitlines(keepends=True):
        if line.strip() and not line.startswith("use "):
            found.append((offset, line.strip()))
        offset += len(line)
    return found


def _doubt(source: Source, at: int) -> Diagnostic:
    return Diagnostic("this is doubtful", Span(source, at, at + 8), severity=Severity.WARNING)


def _op(line: str) -> OpRecord:
    plan = PlanRecord("resident", "one program per row", ("double",), "x + y", "x + y", "")
    name, *block = line.split()
    return OpRecord(name, (plan,), [] if block == ["unknown"] else [asdict(_variant(*line.split()))])


def _variant(name: str, block: str = "256", registers: str = "") -> Variant:
    most = (("maxnreg", int(registers)),) if registers else ()
    return Variant(
        f"{name} f32",
        "double",
        (("x", "*fp32"), ("y", "*fp32"), ("n", "i32"), ("BLOCK", "constexpr")),
        (("BLOCK", int(block)),),
        ("x", "y"),
        options=((("num_warps", 1), ("num_stages", 1), *most),),
    )


COMPILER = Compiler(compile_lines, "fake_worker")
