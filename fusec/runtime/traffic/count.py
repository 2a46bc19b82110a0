"""What one launch moves: the text of its kernel is run once, for all programs and all steps of its loops together."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from textwrap import dedent
from types import CodeType
from typing import Any

import torch
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

from fusec.runtime import device
from fusec.runtime.launch import Launch
from fusec.runtime.product import Product
from fusec.runtime.traffic.language import Descriptor, Language, lanewise
from fusec.runtime.traffic.points import Points
from fusec.runtime.traffic.tiles import Pointer, Tile


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that are read and written by buffer, once for each access, and operations of its products.

    A load counts every lane that its mask lets through. It is not `exact` where a mask depends on what lies in memory:
    then all that it may let through counts; nor for the library, of which every operand counts once.
    """

    read: Mapping[str, int]
    written: Mapping[str, int]
    flops: int
    is_exact: bool = True

    def called(self, aliases: Mapping[str, str]) -> Traffic:
        """The same by the names of buffers themselves, where a copy that is left out has one of its own."""
        read, written = (Counter[str](), Counter[str]())
        for found, moved in ((read, self.read), (written, self.written)):
            for name, count in moved.items():
                found[aliases.get(name, name)] += count
        return replace(self, read=dict(read), written=dict(written))

    @property
    def bytes(self) -> int:
        """All bytes."""
        return sum(self.read.values()) + sum(self.written.values())


def traffic(launch: Launch | Product, dtypes: Mapping[str, torch.dtype]) -> Traffic:
    """What a launch moves, with the dtype of each buffer that it is given; others are None."""
    if isinstance(launch, Product):
        return _of_library(launch, dtypes)
    launch = launch.plain
    programs = prod(launch.grid)
    points = Points(programs)
    if programs:
        run = _bound(launch.kernel, Language(points, programs))
        run(*(_argument(name, launch, dtypes, points) for name in launch.kernel.arg_names))
    return Traffic(dict(points.read), dict(points.written), points.flops, points.is_exact)


def _of_library(product: Product, dtypes: Mapping[str, torch.dtype]) -> Traffic:
    if product.idle:
        return Traffic({}, {}, 0)
    *read, out = (
        prod(size for size, stride in zip(matrix.shape, matrix.strides, strict=True) if stride or size == 1)
        * dtypes[matrix.name].itemsize
        for matrix in (*product.read, product.out)
    )
    names = (matrix.name for matrix in product.read)
    return Traffic(dict(zip(names, read, strict=True)), {product.out.name: out}, 2 * product.work, is_exact=False)


def _argument(name: str, launch: Launch, dtypes: Mapping[str, torch.dtype], points: Points) -> Any:
    if name in launch.maps:
        return Descriptor(points, launch.maps[name])
    if name in launch.arguments:
        return launch.arguments[name]
    if not name.endswith("_ptr"):
        return Tile()
    dtype = dtypes.get(name.removesuffix("_ptr"))
    buffer = name.removesuffix("_ptr")
    return None if dtype is None else Pointer(buffer, dtype.itemsize, at=launch.starts.get(buffer, 0))


def _bound(kernel: Any, language: Language) -> Any:
    """A Triton function as one that runs on symbolic tiles."""
    function = kernel.fn
    names: dict[str, Any] = {"range": language.range, "_when": language.when, "_unless": language.unless}
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if value is device:
            names[name] = _Functions(language)
        elif isinstance(value, JITFunction | InterpretedFunction):
            names[name] = getattr(_Functions(language), name) if _is_of_device(value) else _bound(value, language)
        elif getattr(value, "__name__", "") == "triton.language":
            names[name] = language
        elif value is not None:
            names[name] = value
    exec(_code(function), names)
    found = names[function.__name__]
    found.__defaults__ = function.__defaults__
    return found


def _is_of_device(function: Any) -> bool:
    return bool(function.fn.__module__ == device.__name__)


class _Functions:
    """Stands for `fusec.runtime.device`: functions that get a pointer run, all others work lane by lane."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def lanes(self, size: int, _together: int) -> Tile:
        return self._language.arange(0, size)

    def tile_order(self, *values: Any) -> Any:
        return _bound(device.tile_order, self._language)(*values)

    def dot_in_parts(self, a: Tile, b: Tile, total: Tile) -> Tile:
        return self._language.dot(a, b, total)

    def by_turns(self, *values: Any) -> Any:
        return _bound(device.by_turns, self._language)(*values)

    def inside(self, *values: Any) -> Any:
        return _bound(device.inside, self._language)(*values)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            if any(isinstance(value, Pointer) for value in (*values, *named.values())):
                return _bound(getattr(device, name), self._language)(*values, **named)
            return lanewise(*values)

        return call


@cache
def _code(function: Any) -> CodeType:
    """The text of a function, with branches as loops over those who take them."""
    (tree,) = ast.parse(dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    tree.decorator_list = []
    for argument in (*tree.args.args, *tree.args.kwonlyargs):
        argument.annotation = None
    # The function has its defaults, which may be names.
    tree.args.defaults = [ast.Constant(None) for _ in tree.args.defaults]
    module = ast.Module([_Branches().visit(tree)], [])
    return compile(ast.fix_missing_locations(module), f"<traffic of {function.__name__}>", "exec")


class _Branches(ast.NodeTransformer):
    """`if test: a else: b` becomes `for _ in _when(test): a`, `for _ in _unless(test): b`."""

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        test = ast.Name(f"_test{node.lineno}_{node.col_offset}", ast.Store())
        read = ast.Name(test.id, ast.Load())
        kept: list[ast.stmt] = [ast.Assign([test], node.test)]
        for chooser, body in (("_when", node.body), ("_unless", node.orelse)):
            if body:
                taken = ast.Call(ast.Name(chooser, ast.Load()), [read], [])
                kept.append(ast.For(ast.Name("_", ast.Store()), taken, body, []))
        return kept
