"""Unused: the indices of a tile that nothing reads, as those of an axis along which all goes through tensor maps."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from fusec.ir.kernel import GemmRoles, GemmTma
from fusec.ir.statements import Cut, every
from fusec.ir.tile_values import MaskName, Name

G = TypeVar("G", GemmTma, GemmRoles)


def without_unused(gemm: G) -> G:
    """The skeleton without indices and masks of the tile that neither its loop nor its epilogue has a use for."""
    step = gemm.step if isinstance(gemm, GemmTma) else gemm.scaled
    used = frozenset(node.text for node in every((step, gemm.results)) if isinstance(node, Name | MaskName))
    return replace(gemm, m=_as_used(gemm.m, used), n=_as_used(gemm.n, used))


def _as_used(cut: Cut, used: frozenset[str]) -> Cut:
    index = cut.index
    if index is None or (index.mask is not None and index.mask.name.text in used):
        return cut
    return replace(cut, index=replace(index, mask=None) if index.name.text in used else None)
