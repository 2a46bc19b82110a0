"""The calls that `fusec bench` times, each with its op, reference and graph.

An op is that of the shipped package where its spec is the same, with its table of tuned choices; else it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from fusec.codegen.package import spec_hash
from fusec.commands import sizes
from fusec.commands.bench_cases import SUITE, suite_of
from fusec.commands.find import find_op
from fusec.diagnostics import Source
from fusec.driver.compile import compile_file
from fusec.driver.load import load_module
from fusec.driver.shipped import shipped_ops
from fusec.driver.store import default_folder
from fusec.ir.graph import Graph
from fusec.testing.cases import Case


class Ready(NamedTuple):
    """An op, its reference, its graph and a call."""

    function: Callable[..., object]
    reference: Callable[..., object]
    graph: Graph
    case: Case


def op_calls(op: str, specs: Path, size: list[str], dtypes: Mapping[str, str]) -> Iterator[Ready]:
    """One op at one size."""
    path, source, graph = find_op(op, specs)
    case = sizes.choose(graph, size, dtypes)
    yield _ready(module_of(path, source), graph, case)


def swept_calls(op: str, specs: Path, dtypes: Mapping[str, str]) -> Iterator[Ready]:
    """One op at its sizes of the suite, or from one row up if it has none there."""
    if op in SUITE:
        yield from suite_calls([op], specs, dtypes)
        return
    path, source, graph = find_op(op, specs)
    module = module_of(path, source)
    for case in sizes.sweep(graph, dtypes):
        yield _ready(module, graph, case)


def suite_calls(asked: Sequence[str], specs: Path, dtypes: Mapping[str, str]) -> Iterator[Ready]:
    """Some ops of the suite at all their sizes."""
    for op in asked:
        path, source, graph = find_op(op, specs)
        known = {variable.name for variable in graph.variables}
        module = module_of(path, source)
        for case in suite_of(graph, {name: dtype for name, dtype in dtypes.items() if name in known}):
            yield _ready(module, graph, case)


def _ready(module: ModuleType, graph: Graph, case: Case) -> Ready:
    return Ready(getattr(module, graph.name), getattr(module, f"reference_{graph.name}"), graph, case)


def module_of(path: Path, source: Source) -> ModuleType:
    """The module of a spec: the shipped one if it was made of the same text, else one that is built now."""
    shipped = shipped_ops() / f"{path.stem}.py"
    if shipped.is_file() and spec_hash(shipped.read_text(encoding="utf-8")) == sha256(source.text.encode()).hexdigest():
        # In a checkout `fusec.ops` is another name of the package that lies there.
        return import_module(f"{import_module('fusec.ops').__name__}.{path.stem}")
    return load_module(source, path.parent, compile_file, default_folder())
