"""Unused: the indices of a tile that nothing reads, as those of an axis along which all goes through tensor maps."""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.kernel import GemmTma
from fusec.ir.statements import Cut, every
from fusec.ir.tile_values import MaskName, Name


def without_unused(gemm: GemmTma) -> GemmTma:
    """The skeleton without indices and masks of the tile that neither its loop nor its epilogue has a use for."""
    used = frozenset(node.text for node in every((gemm.step, gemm.results)) if isinstance(node, Name | MaskName))
    return replace(gemm, m=_as_used(gemm.m, used), n=_as_used(gemm.n, used))


def _as_used(cut: Cut, used: frozenset[str]) -> Cut:
    index = cut.index
    if index is None or (index.mask is not None and index.mask.name.text in used):
        return cut
    return replace(cut, index=replace(index, mask=None) if index.name.text in used else None)
