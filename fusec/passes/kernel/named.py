"""What the statements of a kernel name beside what they read and write: types, and sizes that divide addresses."""

from __future__ import annotations

from fusec.ir.statements import StoreTile
from fusec.ir.tile_values import Along, ElementOf, Exactly, InRange, Largest, Rounded


def types(nodes: tuple[object, ...]) -> set[str]:
    """The tensors whose element is the kernel's name for a type, that of a cast, a largest number or a rounding store.

    They are arguments of the kernel even if it reads and writes none of their elements.
    """
    found: set[str] = set()
    for node in nodes:
        match node:
            case Rounded(dtype=ElementOf(tensor)) | Exactly(dtype=ElementOf(tensor)) | Largest(dtype=ElementOf(tensor)):
                found.add(tensor)
            case StoreTile(dtype=ElementOf(tensor, saturates=True)):
                found.add(tensor)
    return found


def aligned_sizes(nodes: tuple[object, ...]) -> set[str]:
    """The extents and strides of which parts of statements say that neighbours divide them."""
    found: set[str] = set()
    for node in nodes:
        match node:
            case Along(stride=size, aligned=True) | InRange(size=size, aligned=True):
                found.add(str(size))
    return found
