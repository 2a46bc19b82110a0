"""What kernels call an axis: its index, the size of its tiles, and the flag that none of them is in part outside.

The host calls it by a key, of which these names can be made again.
"""

from __future__ import annotations

from fusec.ir.host import names
from fusec.ir.types import Axis, Fixed, Named, Quotient, Twin, product_text


def axis_key(axis: Axis) -> str:
    """The key of an axis, if no other size has it. Of it follows the name of the axis' tile size in kernels."""
    match axis:
        case Named(name):
            return name
        case Fixed(value):
            return str(value)
        case Quotient(of, by):
            return f"{of}/{by}"
        case _:
            text = product_text((axis,)).replace(" ", "")
            return text if names.block_name(text) == block_name(axis) else index_name(axis).replace("_", "+")


def block_name(axis: Axis) -> str:
    """`BLOCK_N`, the compile-time tile size of an axis."""
    match axis:
        case Quotient(of, by):
            return f"BLOCK_{of.name}_{by}".upper()
        case Named(name):
            return f"BLOCK_{name}".upper()
        case Fixed(value):
            return f"BLOCK_{value}"
        case _:
            return f"BLOCK_{index_name(axis)}".upper()


def even_name(axis: Axis) -> str:
    """`EVEN_N`, the compile-time flag that no lane of a tile is outside of an axis."""
    return block_name(axis).replace("BLOCK_", "EVEN_", 1)


def index_name(axis: Axis) -> str:
    """`n` for axis `N`: what the index along an axis is called."""
    match axis:
        case Quotient(of, _):
            return of.name.lower()
        case Named(name):
            return {"lead1": "i1", "lead0": "i0"}.get(name, name.lower())
        case Fixed(value):
            return f"i{value}"
        case Twin(of):
            return f"other_{index_name(of)}"
        case _:
            # A part of a single position has no axis, and the sum another extent than its rest.
            parts = ["_".join(map(index_name, part)) or "1" for part in getattr(axis, "parts", ())]
            return "_".join(("i", *parts) if parts[:1] == ["1"] else parts) or "i"
