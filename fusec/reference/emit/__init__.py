"""Emits the meaning of an op as readable PyTorch."""

from __future__ import annotations

from fusec.reference.emit.op import Function, emit, emit_all

__all__ = ["Function", "emit", "emit_all"]
