"""Whatever the words of a spec are, they stay words: nothing of them runs, in the file or in the template."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from unittest import mock

import pytest

from fusec.diagnostics import Source, SpecError
from fusec.driver.compile import compile_source
from fusec.passes.graph.elaborate import elaborate

SPEC = '''op scaled(x: T[..., N], factor: f32 = 2.0) -> y: T[..., N]
where T in {{f16, f32}}:
    """{doc}"""
    y = x * factor
'''

PLAIN = compile_source(Source("scaled.fuse", SPEC.format(doc="plain")), None)[0].text


def shape(text: str) -> list[str]:
    """The statements of a generated file at every level, without the text of its strings."""
    return [type(node).__name__ for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt | ast.Call)]


@pytest.mark.parametrize(
    "doc",
    [
        "{{ config.items() }} {% for x in y %} {# gone #}",
        "ends in a backslash \\",
        "\\x41\\N{BULLET}\\u0041\\",
        "quotes ' and '' and ''' and \" and \"\" inside",
        "\u202e right to left \u2028 line separator \u0000 zero".replace("\u0000", ""),
        "import os\n    os.remove('x')\n\nraise SystemExit",
        "%s {0} $x #{y} `ls`",
        "é 漢字 🙂",
        "x'); import os; os.remove('y",
    ],
)
def test_a_docstring_is_data(doc: str) -> None:
    (compiled,) = compile_source(Source("scaled.fuse", SPEC.format(doc=doc)), None)
    assert shape(compiled.text) == shape(PLAIN)
    functions = {node.name: node for node in ast.parse(compiled.text).body if isinstance(node, ast.FunctionDef)}
    documented = ast.get_docstring(functions["scaled"], clean=False)
    assert documented is not None
    for line in doc.split("\n"):
        assert line.strip() in documented


@pytest.mark.parametrize("doc", ['"""; import os', 'ends with "', "back\\slash \\", '{{ x }} {% raw %} """ "'])
def test_a_hostile_docstring_stays_text(doc: str) -> None:
    """Also what no spec can say between its quotes: in the function that callers see, and in the words of the file."""

    def documented(tree: object) -> tuple[object, ...]:
        return tuple(replace(graph, doc=doc) for graph in elaborate(tree))

    with mock.patch("fusec.driver.plan.elaborate", documented):
        (compiled,) = compile_source(Source("scaled.fuse", SPEC.format(doc="plain")), None)
    tree = ast.parse(compiled.text)
    assert shape(compiled.text) == shape(PLAIN)
    (public,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "scaled")
    assert (ast.get_docstring(public, clean=False) or "").startswith(doc)
    assert f"scaled: {doc}" in (ast.get_docstring(tree, clean=False) or "")


@pytest.mark.parametrize(
    "name", ["class", "Ellipsis", "tl", "torch", "triton", "None", "lambda", "__import__", "é", "x y"]
)
@pytest.mark.parametrize("place", ["op {}(", "op f({}: T[N], ", "({}: f32, "])
def test_words_of_the_generated_file_are_no_names(name: str, place: str) -> None:
    head = place.format(name)
    head = head if head.startswith("op") else f"op f{head}"
    text = f"{head}x: T[N]) -> y: T[N]\nwhere T in {{f32}}:\n    y = x\n"
    with pytest.raises(SpecError):
        compile_source(Source("f.fuse", text), None)


@pytest.mark.parametrize("name", ["exec", "eval", "open", "compile", "getattr", "print"])
@pytest.mark.parametrize("word", ["scaled", "x", "factor", "y", "T", "N"])
def test_a_builtin_is_a_name_like_any_other(name: str, word: str) -> None:
    text = re.sub(rf"\b{word}\b", name, SPEC.format(doc="plain"))
    (compiled,) = compile_source(Source("scaled.fuse", text), None)
    assert shape(compiled.text) == shape(PLAIN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00",
        "op " * 10000,
        "op f(x: f32[N]) -> y: f32[N]:\n    y = " + "abs(" * 5000 + "x" + ")" * 5000 + "\n",
        "op f(x: f32[N]) -> y: f32[N]:\n    y = x * 1" + "0" * 5000 + "\n",
        "op f(x: f32[N]) -> y: f32[N]:\n    y = x" + " + x" * 50000 + "\n",
        "op f(x: f32[N]) -> y: f32[N]:\n    y = __import__('os').getcwd()\n",
    ],
)
def test_a_spec_that_asks_too_much_is_a_spec_error(text: str) -> None:
    with pytest.raises(SpecError):
        compile_source(Source("f.fuse", text), None)
