"""One kernel for each operation, spelled as generated kernels spell it."""

from __future__ import annotations

import importlib.util
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from fusec.codegen.values import ValuePrinter
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.tile_values import Apply, Name
from fusec.ir.types import Kind

BLOCK = 1024
"""Elements of one program."""

_IMPORTS = """import triton
import triton.language as tl

from fusec.runtime import device
"""
_KERNEL = """

@triton.jit
def {op}_kernel(a_ptr, b_ptr, out_ptr, count, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    a = tl.load(a_ptr + at, mask=at < count)
    b = tl.load(b_ptr + at, mask=at < count)
    tl.store(out_ptr + at, {value}, mask=at < count)
"""


def apply(op: str, args: tuple[Tensor, ...], out: Tensor) -> None:
    """out = op(*args), of one operand or two, computed in their dtype."""
    first, second = args[0], args[-1]
    kind = Kind.REAL if first.is_floating_point() else Kind.INT
    _kernels(kind)[op][(-(-out.numel() // BLOCK),)](first, second, out, out.numel(), BLOCK)


@cache
def _kernels(kind: Kind) -> dict[str, Any]:
    """The kernels of all operations on numbers of one kind."""
    ops = [op for op in ELEMENTWISE.values() if op.arity <= 2 and kind in op.operands]
    printer = ValuePrinter("a.dtype")
    names = [Name(text, ("n",), kind) for text in ("a", "b")]
    text = _IMPORTS
    for op in ops:
        text += _KERNEL.format(op=op.name, value=printer.text(Apply(op.name, tuple(names[: op.arity]), ("n",), kind)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{kind.value}_kernels.py"
        file.write_text(text)
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return {op.name: getattr(module, f"{op.name}_kernel") for op in ops}
