"""The process in which Triton's IR is made without a GPU: reads a spec, writes the additions of its tiled kernels."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

from ptx_worker import compiled

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.driver.variants import variants

ONE_STEP = {"FULL_STEPS": 0, "HAS_TAIL": True}
"""Compile-time arguments of a kernel whose operands are multiplied in one step, in no loop."""


def additions(spec: str, folder: Path) -> dict[str, int]:
    """By kernel and dtype, how many tiles are added in f32 where products are of one step."""
    found: dict[str, int] = {}
    for op in compile_source(Source("added.fuse", spec), None):
        for variant in variants(op.program, "added", op.text):
            if not ONE_STEP.keys() <= dict(variant.constexprs).keys() or "BLOCK_M" not in dict(variant.constexprs):
                continue
            ir = compiled(op.text, variant, 90, folder, ONE_STEP).asm["ttir"]
            dtype = dict(variant.signature)["x_ptr"]
            way = "swapped" if dict(variant.constexprs)["SWAP_AB"] else "plain"
            found[f"{variant.kernel} {way} {dtype}"] = len(re.findall(r"arith\.addf .*tensor<.*f32>", ir))
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as written:
        print(json.dumps(additions(sys.stdin.read(), Path(written))))
