"""A page of the site for every stage of the compiler: what its modules say of themselves, and one op behind it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

from mkdocs.structure.files import File, Files
from prose import line, prose

from fusec.commands.explain import call_of, chosen
from fusec.commands.explain_steps import show
from fusec.diagnostics import Source
from fusec.driver.compile import Compiled, compile_source
from fusec.lang.load import standard_library

ROOT = Path(__file__).parents[2]
EXAMPLE = "rmsnorm_quantize"
CONTRACTION = "rmsnorm_linear"


@dataclass(frozen=True, slots=True)
class Stage:
    """One page: the folders whose docstrings it shows, and what it shows of the example, in which colours."""

    slug: str
    title: str
    folders: tuple[str, ...]
    intro: str
    shown: Callable[[], str]
    language: str = "text"
    of: str = EXAMPLE


def on_config(config: Any) -> Any:
    """Name the pages in the navigation, behind the page that leads through them."""
    (section,) = (entry["How it works"] for entry in config.nav if "How it works" in entry)
    section[1:1] = [{f"{number}. {stage.title}": uri(stage)} for number, stage in enumerate(STAGES, 1)]
    return config


def on_files(files: Files, config: Any) -> Files:
    for number, stage in enumerate(STAGES, 1):
        files.append(File.generated(config, uri(stage), content="\n".join(page(number, stage))))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """`{{ kernel OP PLAN }}` in a page stands for a kernel as it is generated, `{{ stages }}` for their list."""
    listed = (f"{number}. **[{stage.title}]({uri(stage)})**<br>{stage.intro}" for number, stage in enumerate(STAGES, 1))
    markdown = markdown.replace("{{ stages }}", "\n".join(listed))
    return re.sub(r"\{\{ kernel (\w+) (\w+) \}\}", lambda found: _body(found[1], found[2]), markdown)


def _body(op: str, plan: str) -> str:
    text = re.search(rf"^def _{op}_{plan}\(.*?\):\n(.*?)(?=\n\n\n)", compiled(op).text, re.M | re.DOTALL)
    assert text, plan
    return f"```python\n{dedent(text[1])}\n```"


def uri(stage: Stage) -> str:
    return f"stages/{stage.slug}.md"


def page(number: int, stage: Stage) -> Iterator[str]:
    """The page of a stage."""
    yield f"# {number}. {stage.title}\n"
    yield f"{stage.intro}\n"
    yield f"Code: {', '.join(f'`fusec/{folder}/`' for folder in stage.folders)}.\n"
    yield f"## `{stage.of}` here\n"
    yield f"```{stage.language}\n{stage.shown().rstrip()}\n```\n"
    yield "## What its modules are\n"
    for folder in stage.folders:
        for path in sorted((ROOT / "fusec" / folder).glob("*.py")):
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            if text:
                first, _, rest = text.partition("\n\n")
                yield f"**`{folder}/{path.name}`** {line(first)}\n"
                yield f"{prose(rest)}\n" if rest else ""


@cache
def compiled(name: str) -> Compiled:
    path = ROOT / "specs" / f"{name}.fuse"
    ops = compile_source(Source(path.name, path.read_text(encoding="utf-8")), path.parent)
    return next(op for op in ops if op.graph.name == name)


def step(wanted: str, name: str = EXAMPLE) -> str:
    """The op behind one step of the pipeline, as `fusec explain --ir` shows it."""
    (report,) = chosen(compiled(name).graph, wanted)
    return show(report.result)


def spec() -> str:
    """The op, and the functions of the standard library that it calls."""
    path = ROOT / "specs" / f"{EXAMPLE}.fuse"
    text = path.read_text(encoding="utf-8").split("\n\n")
    called = ("rmsnorm", "quantize", "quantize_by")
    functions = [fn for fn in standard_library().fns if fn.name.text in called]
    first = next(part for part in text if part.startswith("op ") or "\nop " in part)
    return "\n\n".join([first, *(fn.span.text.strip() for fn in functions)])


def kernels() -> str:
    """The first kernel, before it has its place in a file."""
    return step("build_kernels").split("\n\n")[0]


def function(start: str) -> str:
    """A function of the generated file, whose name begins so, with its decorator."""
    found = re.search(rf"^(@triton.jit\S*\n)?def {start}.*?(?=\n\n\n)", compiled(EXAMPLE).text, re.M | re.DOTALL)
    assert found, start
    return found[0]


def call(rows: str, columns: str) -> str:
    """What a call of the example does, as its `plan` tells it."""
    path = ROOT / "specs" / f"{EXAMPLE}.fuse"
    wanted = {"sizes": [f"M={rows}", f"N={columns}"], "device": "h200"}
    source = Source(path.name, path.read_text(encoding="utf-8"))
    return call_of(source, path.parent, compiled(EXAMPLE).graph, wanted)[0]


STAGES = (
    Stage(
        *("syntax", "Text to syntax tree", ("lang",)),
        "A spec is parsed definition by definition, so that a mistake in one op hides none in the next. Functions "
        "of the standard library are written in the language too, and are inlined where they are called.",
        *(spec, "fuse"),
    ),
    Stage(
        *("graph", "Syntax tree to typed graph", ("passes/graph/elaborate",)),
        "Names, axes and types are decided here, and every error of a user is told here: behind it nothing can be "
        "wrong with a spec. The graph is in static single assignment; every value has a type and axes with names.",
        lambda: step("elaborate"),
    ),
    Stage(
        *("rewrites", "Algebra on the graph", ("passes/graph",)),
        "Rewrites that keep what the op means. `commute` lets a positive factor leave a maximum, so that the "
        "reductions of the example become one sweep; `regroup` and `defer` let scales of groups, and factors, leave a "
        "product, so that it multiplies what is stored and a norm can stand behind it; `reciprocate` divides once "
        "instead of often.",
        lambda: step("reciprocate"),
    ),
    Stage(
        *("flow", "Views to addresses", ("passes/graph/views",)),
        "Halves, pairs, splits, joins and gathers compute nothing: they become addresses of loads and stores. "
        "What is left is a flow of loads, values and stores.",
        lambda: step("resolve_views"),
    ),
    Stage(
        *("partitions", "Where an op is cut", ("passes/partition",)),
        "The graph of an op with contractions is cut into steps, in several ways: all in one kernel, the norm "
        "before the product, the product left to the vendor's library. Each way is a partition, and calls choose "
        "among them.",
        lambda: step("partition", CONTRACTION).split("\n\npartition ")[0],
        of=CONTRACTION,
    ),
    Stage(
        *("schedules", "Which axis is a row, a tile or a loop", ("passes/schedule",)),
        "A schedule says how programs, registers and loops share the axes of a step. It knows what is read again, "
        "and about how many registers it takes.",
        lambda: step("schedule"),
    ),
    Stage(
        *("kernels", "Schedules to kernels", ("passes/kernel",)),
        "A kernel is a skeleton and the statements in its slots, with every pointer, index and mask. Nothing here "
        "knows Triton.",
        kernels,
    ),
    Stage(
        *("host", "What a launch depends on", ("ir/host", "passes/host")),
        "Beside its kernels a generated file has a table: for each plan the grid, the arguments and the "
        "conditions of its launches. It is data, which the runtime reads.",
        lambda: step("host_table"),
    ),
    Stage(
        *("codegen", "Kernels to text", ("codegen",)),
        "Templates, one for a family of kernels, become Triton. The text is checked for what it must not do, and "
        "compiled for chips that need not be here; a kernel that spills registers is told.",
        lambda: function(r"_rmsnorm_quantize_resident\("),
        "python",
    ),
    Stage(
        *("verification", "The second opinion", ("reference", "numerics", "testing")),
        "What an op means is computed a second time, from the graph before any rewrite: as PyTorch to read, in "
        "f64 to compare, and as a bound on how far a right kernel may be off. It shares no rewriting with the "
        "kernels.",
        lambda: function(r"reference_rmsnorm_quantize\("),
        "python",
    ),
    Stage(
        *("runtime", "A call", ("runtime", "runtime/select")),
        "A call that was seen before is launched at once. Another one is checked, finds its plan by rules, "
        "figures of the chip and tuned tables, and is remembered.",
        lambda: call("16384", "4096"),
    ),
    Stage(
        *("interpreter", "Without a GPU", ("interpreter",)),
        "Triton's interpreter, made to round, saturate and multiply as the hardware does, runs the same kernels "
        "on the CPU. `TRITON_INTERPRET=1` turns it on.",
        lambda: "TRITON_INTERPRET=1 python examples/load_a_spec.py",
        "shell",
    ),
)
