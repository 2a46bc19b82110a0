"""Syntax tree to typed graphs: names become nodes, every axis gets an identity, functions are inlined.

Before: the tree of `op f(x: T[N]) -> y: T[N]` with the body `y = softmax(x, over=N)`.
After: a `Graph` of primitive expressions, each with its element and axes, how to solve the extents, what to check.
All mistakes of a file are collected, then raised together.
"""

from __future__ import annotations

from fusec.passes.graph.elaborate.op import elaborate

__all__ = ["elaborate"]
