"""What `fusec bench --suite` measures: ops at sizes of published models, from one token to thousands of rows.

Sizes are written as `--size` takes them. Optional tensors are left out, but for those that are said to be `given`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fusec.commands import sizes
from fusec.ir.graph import Graph
from fusec.testing.cases import Case

NORMS = ("...=1 N=4096", "...=64 N=8192", "...=2048 N=3584", "...=8192 N=3001", "...=16384 N=4096", "...=16384 N=8192")
TOKENS = (1, 16, 256, 2048, 8192)


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of an op, each as words of `--size`, and its optional tensors that are `given`."""

    sizes: tuple[str, ...]
    given: tuple[str, ...] = ()


def _rows(*others: str) -> Sizes:
    """So many tokens of each of the other extents."""
    return Sizes(tuple(f"...={tokens} {other}" for other in others for tokens in TOKENS))


SUITE: Mapping[str, Sizes] = {
    "rmsnorm": Sizes((*NORMS, "...=16384 N=18944")),
    "add_rmsnorm": Sizes(NORMS),
    "layernorm": Sizes(NORMS, given=("bias",)),
    "softmax": Sizes((*NORMS, "...=16384 N=18944")),
    "gated_activation": Sizes(("...=1 N=18944", "...=64 N=14336", "...=2048 N=18944", "...=16384 N=14336")),
    "rope_qk": Sizes(tuple(f"B=1 S={tokens} P={tokens} Hq=32 Hk=8 D=128" for tokens in (16, 512, 2048, 8192))),
    "fused_rmsnorm_rope": Sizes(("B=1 S=16 H=32 D=128", "B=8 S=2048 H=64 D=64", "B=4 S=4096 H=64 D=128")),
    "rmsnorm_quantize": Sizes(("...=1 N=4096", "...=2048 N=4096", "...=16384 N=8192")),
    "quantize_fp8_rows": Sizes(("...=2048 N=4096", "...=16384 N=8192")),
    "rmsnorm_gradient": Sizes(("...=2048 N=4096", "...=8192 N=1024", "...=16384 N=4096")),
    "layernorm_gradient": Sizes(("...=2048 N=4096", "...=8192 N=1024", "...=16384 N=4096")),
    "linear": _rows("K=4096 N=4096"),
    "rmsnorm_linear": _rows("K=3584 N=3584", "K=3584 N=18944"),
    "linear_add_rmsnorm": _rows("K=3584 N=3584"),
    "fused_gated_mlp": _rows("K=4096 N=11008"),
    "rmsnorm_gated_mlp": _rows("K=3584 N=18944"),
    "scaled_mm": _rows("K=4096 N=4096"),
    "scaled_mm_int8": Sizes(tuple(f"...={rows} K=4096 N=4096" for rows in (256, 2048, 8192))),
    "block_scaled_mm": Sizes(tuple(f"...={rows} G=32 P=32" for rows in (256, 2048, 8192))),
    "fp8_linear_quantized": _rows("K=4096 N=14336"),
}


def suite_of(graph: Graph, dtypes: Mapping[str, str]) -> Iterator[Case]:
    """The calls of an op in the suite."""
    entry = SUITE[graph.name]
    left_out = tuple(param.name for param in graph.tensors if param.optional and param.name not in entry.given)
    for words in entry.sizes:
        yield replace(sizes.choose(graph, words.split(), dtypes), omitted=left_out)
