"""A process of its own, where kernels are not interpreted: prints the types of pointers of every variant of an op.

Then, for chips, whether a cap on registers changes nothing of a kernel's text but the line that says it.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from fusec.codegen.gate_worker import _source, _target, load, lowered
from fusec.codegen.launched import variants
from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.driver.telling import telling_calls

SPEC = """op chosen(x: f32[M, N], out_dtype: dtype(T) = bf16, act: {silu, relu} = silu) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = act(x)
"""

if __name__ == "__main__":
    (op,) = compile_source(Source("chosen.fuse", SPEC), None)
    with tempfile.TemporaryDirectory() as folder:
        chosen = load("chosen", op.text, Path(folder))
        for variant in variants(chosen, "chosen", telling_calls(op.program)):
            print(*(kind for name, kind in variant.signature if name == "y_ptr"))
        kernel, plain = getattr(chosen, variant.kernel), asdict(variant)
        for capability in (80, 90):
            free, capped = (
                lowered(_source(kernel, plain), _target({"capability": capability}), {"num_warps": 4, **cap})
                for cap in ({}, {"maxnreg": 64})
            )
            print(f"sm_{capability}", free.text != capped.text == free.capped(64))
