"""A process of its own, where kernels are not interpreted: prints the types of pointers of every variant of an op."""

from __future__ import annotations

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.driver.variants import variants

SPEC = """op chosen(x: f32[M, N], out_dtype: dtype(T) = bf16, act: {silu, relu} = silu) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = act(x)
"""

if __name__ == "__main__":
    (op,) = compile_source(Source("chosen.fuse", SPEC), None)
    for variant in variants(op.program, "chosen", op.text):
        print(*(kind for name, kind in variant.signature if name == "y_ptr"))
