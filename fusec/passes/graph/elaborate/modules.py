"""Modules: the weights that a class owns, and whether its constructor tells enough, and no more, to make them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import sympy

from fusec.diagnostics import Note
from fusec.ir.graph import DimParam, Graph, Param, TensorParam
from fusec.ir.module import Module, Owned, Setting, Spread, Start
from fusec.ir.types import Dim, Lead, product_text, symbol
from fusec.lang import syntax
from fusec.passes.graph.elaborate.report import Report, did_you_mean
from fusec.passes.graph.elaborate.settings import check_attribute, read_settings
from fusec.passes.graph.elaborate.sizes import Sizes
from fusec.passes.graph.solve_extents import exact_extent, solve_extents
from fusec.passes.graph.start_weights import start_of


def read_modules(
    program: syntax.Program, graphs: Mapping[str, Graph | None], report: Report
) -> dict[str, list[Module]]:
    """The modules of every op by its name; `graphs` has None for an op that is wrong. Every mistake is reported."""
    found: dict[str, list[Module]] = {}
    for module in program.file.modules:
        name = module.op.text
        if name not in graphs:
            if name not in program.broken:
                help = did_you_mean(name, graphs) or "a module is of an op in the same file"
                report.add(f"there is no op `{name}` here", module.op.span, help=help)
        elif graph := graphs[name]:
            count = len(report)
            settings = read_settings(module, graph, report)
            if len(report) == count:
                found.setdefault(name, []).append(_Reader(module, graph, settings, report).module())
    return found


class _Reader:
    def __init__(self, module: syntax.Module, graph: Graph, settings: tuple[Setting, ...], report: Report) -> None:
        self._written = module
        self._graph = graph
        self._settings = settings
        self._report = report
        self._sizes = Sizes(settings, graph)
        asked = {setting.name for setting in settings}
        self._weights = [t for t in graph.tensors if t.static and (not t.optional or t.name in asked)]

    def module(self) -> Module:
        """The module; every mistake in it is reported."""
        self._check_names()
        weights = tuple(self._owned(weight) for weight in self._weights)
        dims = [param for param in self._graph.params if isinstance(param, DimParam)]
        told = [(param, size) for param in dims if (size := self._sizes.of((param.axis,))) is not None]
        for param, _ in told:
            assert param.span
            check_attribute("parameter", param.name, param.span, self._written, self._report)
        self._check_sizes([param for param, _ in told])
        return Module(
            self._written.name.text,
            self._settings,
            weights,
            tuple((param.name, size) for param, size in told),
            self._sizes.rules(self._graph),
        )

    def _check_names(self) -> None:
        name, op = self._written.op, self._graph.name
        if not self._weights:
            help = "a module is for an op with a `weight`; call the op itself"
            self._report.add(f"`{op}` has no weights for a module to own", name.span, help=help)
        for weight in self._weights:
            assert weight.span
            check_attribute("weight", weight.name, weight.span, self._written, self._report)
        for param in self._graph.params:
            if param.name == op and param.span:
                message = f"`{op}` is the name of an op and of its parameter, which a module cannot tell apart"
                self._report.add(message, param.span, Note("the module is here", self._written.name.span))

    def _check_sizes(self, passed: Iterable[DimParam]) -> None:
        """No size follows from others, and each is held against the tensors of every call: by a weight or a `dim`."""
        held = [weight for weight in self._weights if not weight.optional]
        given: list[Param] = [*held, *(replace(param, inferred=False) for param in passed)]
        known = {symbol(solve.name) for solve in solve_extents(given, self._graph.constraints, ())}
        whole = {dim for weight in held for dim in weight.dims}
        for setting in self._settings:
            if setting.dim is None:
                continue
            assert setting.span
            if not self._sizes.is_free(setting):
                self._report.add(f"`{setting.name}` follows from other arguments", setting.span, help="drop it")
            elif setting.dim not in whole and (loose := exact_extent(setting.dim).free_symbols - known):
                axis = min(axis.name for axis in loose)
                message = f"calls are not held to `{setting.name}`: no weight tells `{axis}`"
                help = f"add a parameter such as `n: dim({axis}) = infer` to the op, or drop the argument"
                self._report.add(message, setting.span, help=help)

    def _owned(self, weight: TensorParam) -> Owned:
        start = start_of(self._graph, weight)
        drawn: Start = start if isinstance(start, float) else Spread(self._size(start, weight))
        return Owned(weight.name, tuple(self._size(dim, weight) for dim in weight.dims), drawn)

    def _size(self, dim: Dim, weight: TensorParam) -> sympy.Expr:
        size = self._sizes.of(dim)
        if size is None:
            assert weight.span
            text = product_text(dim)
            message = f"no argument of `{self._written.name.text}` tells the size `{text}` of weight `{weight.name}`"
            help = f"add one, as in `size: {text}`" if dim != (Lead(),) else "`...` differs from call to call"
            self._report.add(message, self._written.name.span, Note("the weight is here", weight.span), help=help)
        return sympy.S.One if size is None else size
