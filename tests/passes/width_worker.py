"""The process in which PTX is made without a GPU: reads specs as JSON, writes how wide accesses of kernels are."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from ptx_worker import compiled

from fusec.codegen.gate_worker import load
from fusec.codegen.launched import variants
from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.driver.telling import telling_calls

ACCESS = re.compile(r"\b(?:ld|st)\.global\S*?(?:\.v(\d))?\.[a-z](\d+)\b")


def widths(text: str, folder: Path) -> dict[str, dict[str, float]]:
    """Of every kernel: the share of bytes that go 16 at once, where all is aligned, and where VEC alone says so.

    Also where all extents and strides are multiples of 16, which those of a call here need not be.
    """
    (op,) = compile_source(Source("wide.fuse", text), None)
    found: dict[str, dict[str, float]] = {}
    for variant in variants(load("wide", op.text, folder), op.graph.name, telling_calls(op.program)):
        sizes = dict(variant.constexprs)
        if sizes.get("VEC") != 1 or "SWAP_AB" in sizes or variant.kernel in found:
            continue
        pointers = tuple(name for name, kind in variant.signature if kind.startswith("*"))
        if not {*pointers} <= {*variant.divisible}:
            continue
        apart = replace(variant, divisible=pointers)
        whole = replace(variant, divisible=tuple(name for name, kind in variant.signature if kind != "constexpr"))
        uneven = {name: False for name in sizes if name.startswith("EVEN_")}
        found[variant.kernel] = {
            "aligned": share(compiled(op.text, variant, 90, folder).asm["ptx"]),
            "whole": share(compiled(op.text, whole, 90, folder).asm["ptx"]),
            "by VEC": share(compiled(op.text, apart, 90, folder, {"VEC": 8, **uneven}).asm["ptx"]),
        }
    return found


def share(ptx: str) -> float:
    moved = [int(lanes or 1) * int(bits) // 8 for lanes, bits in ACCESS.findall(ptx)]
    return round(sum(size for size in moved if size == 16) / sum(moved), 3)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as written:
        print(json.dumps([widths(text, Path(written)) for text in json.load(sys.stdin)]))
