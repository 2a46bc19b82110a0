"""The process in which Triton's IR is made without a GPU: reads jobs as JSON, writes what is looked for in each."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from ptx_worker import compiled

from fusec.codegen import values
from fusec.codegen.gate_worker import load
from fusec.codegen.launched import variants
from fusec.codegen.variant import Variant
from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.driver.telling import telling_calls

ONE_STEP = {"FULL_STEPS": 0, "TAIL_STEPS": 1}
"""Compile-time arguments of a kernel whose operands are multiplied in one step, in no loop."""

LEAST = 16
"""The least tile that Triton multiplies by a tensor core."""


def additions(spec: str, folder: Path) -> dict[str, int]:
    """By kernel and dtype, how many tiles are added in f32 where products are of one step."""
    found: dict[str, int] = {}
    for op in compile_source(Source("added.fuse", spec), None):
        for variant in variants(load("added", op.text, folder), op.graph.name, telling_calls(op.program)):
            if not ONE_STEP.keys() <= dict(variant.constexprs).keys() or "BLOCK_M" not in dict(variant.constexprs):
                continue
            if dict(variant.constexprs)["SPLIT_K"] != 1:
                continue
            ir = compiled(op.text, variant, 90, folder, ONE_STEP).asm["ttir"]
            dtype = dict(variant.signature)["x_ptr"]
            way = "swapped" if dict(variant.constexprs)["SWAP_AB"] else "plain"
            found[f"{variant.kernel} {way} {dtype}"] = len(re.findall(r"arith\.addf .*tensor<.*f32>", ir))
    return found


def dots(spec: str, folder: Path) -> dict[str, int]:
    """By kernel without `tl.dot`, how many dots Triton makes of it where every tile is full, and as small as may be."""
    found: dict[str, int] = {}
    for op in compile_source(Source("dots.fuse", spec), None):
        for variant in variants(load("dots", op.text, folder), op.graph.name, telling_calls(op.program)):
            if variant.kernel not in found and "tl.dot" not in _body(op.text, variant):
                ir = compiled(op.text, variant, 90, folder, _full(variant)).asm["ttir"]
                found[variant.kernel] = ir.count("tt.dot")
    return found


def _body(text: str, variant: Variant) -> str:
    return text.partition(f"def {variant.kernel}(")[2].partition("\n\n\n")[0]


def _full(variant: Variant) -> dict[str, int | bool]:
    sizes = [name for name, _ in variant.constexprs]
    blocks = {name: LEAST for name in sizes if name.startswith("BLOCK_") or name == "ROWS"}
    return blocks | {name: True for name in sizes if name.startswith("EVEN_")}


def answer(job: dict[str, Any], folder: Path) -> dict[str, int]:
    if job["look"] == "additions":
        return additions(job["spec"], folder)
    with mock.patch.object(
        values, "_looks_like_a_dot", values._looks_like_a_dot if job["kept"] else lambda value: False
    ):
        return dots(job["spec"], folder)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as written:
        print(json.dumps([answer(job, Path(written)) for job in json.load(sys.stdin)]))
