"""A page of the site for every spec, made from what is there: the spec, its graph, the generated file, raw results."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from diagram import diagram
from figures import table
from mkdocs.structure.files import File, Files
from prose import line, prose

from fusec.codegen.signature import meaning, parameter, returns, tensor_text
from fusec.diagnostics import Source
from fusec.ir.graph import Graph, TensorParam
from fusec.lang import syntax
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate

ROOT = Path(__file__).parents[2]

FAMILIES = {
    "Norms and softmax": ("rmsnorm", "layernorm", "add_rmsnorm", "rmsnorm_add", "softmax", "norm_gradients"),
    "Positions and activations": ("fused_rmsnorm_rope", "qk_norm_rope", "rope", "rope_qk", "gated_activation"),
    "Products": ("linear", "linear_softcap", "bmm"),
    "Products with norms": ("rmsnorm_linear", "add_rmsnorm_linear", "linear_add_rmsnorm"),
    "q, k and v, and their caches": ("qkv_rope", "rope_append_kv_cache"),
    "Gated MLPs": ("fused_gated_mlp", "rmsnorm_gated_mlp"),
}
"""Specs under headings. Those that quantise or multiply few bits are found by their dtypes; the rest stands last."""

FEW_BITS = "Quantising, and products of few bits"
REST = "More"


def on_config(config: Any) -> Any:
    """Name the pages in the navigation."""
    (ops,) = (entry for entry in config.nav if "Ops" in entry)
    ops["Ops"] = ["ops/index.md"]
    for heading, names in families().items():
        ops["Ops"].append({heading: [{name: f"ops/{name}.md"} for name in names]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, and the page that lists them."""
    files.append(File.generated(config, "ops/index.md", content="\n".join(overview())))
    for path in specs():
        files.append(File.generated(config, f"ops/{path.stem}.md", content="\n".join(page(path))))
    return files


def specs() -> list[Path]:
    """The specs with ops; others hold functions that these use."""
    found = sorted((ROOT / "specs").glob("*.fuse"))
    return [path for path in found if re.search(r"^op ", path.read_text(encoding="utf-8"), re.MULTILINE)]


def families() -> dict[str, list[str]]:
    """The specs by family, each in one, those that nobody put anywhere among the rest."""
    placed = {name: heading for heading, names in FAMILIES.items() for name in names}
    found: dict[str, list[str]] = {heading: [] for heading in (*FAMILIES, FEW_BITS, REST)}
    for path in specs():
        few = re.search(r"\b(f8\w+|f4\w+|i4|u4|i8)\b", path.read_text(encoding="utf-8"))
        found[placed.get(path.stem, FEW_BITS if few else REST)].append(path.stem)
    return {heading: names for heading, names in found.items() if names}


def overview() -> Iterator[str]:
    """The gallery: every op in a line."""
    count = sum(len(graphs(name)) for names in families().values() for name in names)
    yield "# The ops that come with fusec\n"
    yield f"`from fusec.ops import rmsnorm`: {count} ops, each with a page that is made of its spec. They run on any"
    yield "strides, on axes of any extent, and are held to the error bound that follows from the spec.\n"
    for heading, names in families().items():
        yield f"\n## {heading}\n\n| op | what it computes |\n|---|---|"
        for name in names:
            for graph in graphs(name):
                yield f"| [`{graph.name}`]({name}.md#{graph.name}) | {line(graph.doc)} |"


def page(path: Path) -> Iterator[str]:
    """The page of a spec."""
    source = path.read_text(encoding="utf-8")
    ops = {op.name.text: op for op in load(Source(path.name, source), path.parent).file.ops}
    plans = contents(path.stem)
    yield f"# {path.stem}\n"
    yield f"{prose(_comment(source))}\n"
    yield f"Spec `specs/{path.name}`, kernels `generated/{path.stem}.py`.\n"
    for graph in graphs(path.stem):
        yield f"## `{graph.name}` {{ #{graph.name} }}\n"
        yield f"{prose(graph.doc)}\n"
        yield f'<div class="picture">{diagram(ops[graph.name])}</div>\n'
        yield f"```fuse\n{_text(ops[graph.name], source)}\n```\n"
        yield f"```python\n{_call(graph)}\n```\n"
        yield from _arguments(graph)
        yield from _plans(graph, plans)
        if measured := table(graph.name):
            yield "\n### Measured\n"
            yield from measured
        yield ""
    yield from _modules(path, source)
    yield from _used(path, source)


@cache
def graphs(name: str) -> tuple[Graph, ...]:
    path = ROOT / "specs" / f"{name}.fuse"
    return tuple(elaborate(load(Source(path.name, path.read_text(encoding="utf-8")), path.parent)))


def contents(name: str) -> dict[str, str]:
    """The tables of contents at the top of a generated file, by op; none of a spec that was not built yet."""
    generated = ROOT / "generated" / f"{name}.py"
    if not generated.is_file():
        return {}
    text = ast.get_docstring(ast.parse(generated.read_text(encoding="utf-8"))) or ""
    parts = (part.partition(":") for part in text.split("\n\n"))
    found = {op: rest for op, _, rest in parts}
    alone = [graph.name for graph in graphs(name)]
    return found if alone[0] in found else dict.fromkeys(alone[:1], text)


def _comment(source: str) -> str:
    """What a spec says of itself before its first definition."""
    lines = source.split("\n")
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.lstrip("# ") for line in lines[:first])


def _text(op: syntax.Op, source: str) -> str:
    """The definition as it is written."""
    start = source.rindex("\nop ", 0, op.name.span.start) + 1 if "\nop " in source[: op.name.span.start] else 0
    end = re.compile(r"\n(?=\S)(?!where\b|\)|->)").search(source, start)
    return source[start : end.start() if end else len(source)].strip()


def _call(graph: Graph) -> str:
    """How it is called from Python."""
    given = ", ".join(parameter(param) for param in graph.params)
    line = f"from fusec.ops import {graph.name}\n\n{graph.name}({given}) -> {returns(graph)}"
    if len(line.splitlines()[-1]) <= 100:
        return line
    given = "".join(f"    {parameter(param)},\n" for param in graph.params)
    return f"from fusec.ops import {graph.name}\n\n{graph.name}(\n{given}) -> {returns(graph)}"


def _arguments(graph: Graph) -> Iterator[str]:
    yield "| name | layout and type | |\n|---|---|---|"
    for param in graph.params:
        if isinstance(param, TensorParam):
            yield f"| `{param.name}` | `{tensor_text(param)}` | {line(', '.join(_words(param)))} |"
        else:
            yield f"| `{param.name}` | {line(meaning(param))} | |"
    for output in graph.outputs:
        yield f"| `{output.name}` | `{tensor_text(output)}` | result |"
    rules = [f"{variable}: {', '.join(option.name for option in variable.options)}" for variable in graph.variables]
    rules += [constraint.text for constraint in graph.constraints]
    if rules:
        yield "\nwhere " + "; ".join(f"`{rule}`" for rule in rules) + ".\n"


def _words(param: TensorParam) -> Iterator[str]:
    if param.static:
        yield "a weight"
    if param.optional:
        yield f"`{param.default_text}` when None" if param.default_text else "may be None"
    if param.mutable:
        yield "written in place"
    if param.distinct:
        yield "positions that differ from each other"


def _plans(graph: Graph, plans: dict[str, str]) -> Iterator[str]:
    lines = plans.get(graph.name, "").splitlines()
    heads = [number for number, line in enumerate(lines) if re.match(r"  plan\s+taken when", line)]
    if heads:
        tensors = [each.name for each in graph.params if isinstance(each, TensorParam)]
        least = " + ".join([*tensors, *(output.name for output in graph.outputs)])
        yield f"\nPlans, of which a call takes the first that fits; `least` is {least}, each once:\n"
        yield "```text\n" + "\n".join(line[2:] for line in lines[heads[0] :]) + "\n```\n"
    elif other := re.search(r"^  as `(\w+)`", "\n".join(lines), re.MULTILINE):
        yield f"\nPlans as those of [`{other[1]}`](#{other[1]}).\n"


def _used(path: Path, source: str) -> Iterator[str]:
    names = re.findall(r"^use (\w+)", source, re.MULTILINE)
    if names:
        yield "## Functions\n\nBeside those of the [standard library](../language.md#functions) it uses these:\n"
    for name in names:
        yield "```fuse\n" + path.with_name(f"{name}.fuse").read_text(encoding="utf-8").strip() + "\n```\n"


def _modules(path: Path, source: str) -> Iterator[str]:
    written = re.findall(r"^module .*?of \w+$", source, re.MULTILINE | re.DOTALL)
    if written:
        yield "## Modules\n\nClasses that own the weights, as the [language](../language.md#modules) has them:\n"
        yield "```fuse\n" + "\n".join(written) + "\n```\n"
