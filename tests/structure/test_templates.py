"""A template of a kernel uses the names it is given, all of them, and has the variables that its family says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import meta, nodes

import fusec
from fusec.codegen import skeletons
from fusec.ir import kernel, statements

PACKAGE = Path(fusec.__file__).parent
FOLDER = PACKAGE / "codegen" / "templates" / "triton"
ENVIRONMENT = skeletons.environment("tl.float32")
FAMILY = {family.template: family for family in kernel.FAMILIES}

PLACED = (
    kernel.RowIndex,
    kernel.Rows,
    kernel.Results,
    kernel.Step,
    kernel.Walk,
    kernel.Sweep,
    kernel.Total,
    kernel.Buffered,
)
"""What templates take apart. An index and a cut are taken apart by filters as well."""


def source(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def fields_of(family: type[Any]) -> set[str]:
    return {field.name for field in fields(family)}


def parsed(name: str) -> nodes.Template:
    return ENVIRONMENT.parse(source(name))


def assigned(text: str) -> Iterator[str]:
    """The variables that the lines of a template give a value, those whose names are not from a slot."""
    for line in re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL).splitlines():
        found = re.match(r"\s*(?:for )?([A-Za-z_]\w*(?:, [a-z_]\w*)*) (?:=|in) ", line)
        if found:
            yield from found[1].split(", ")


def called(name: str) -> set[str]:
    """The macros that a template calls, and those that these call."""
    macros = {node.name: node for node in parsed("macros.j2").find_all(nodes.Macro)}
    found: set[str] = set()
    calls = {node.attr for node in parsed(name).find_all(nodes.Getattr)} & set(macros)
    while calls - found:
        one = min(calls - found)
        found.add(one)
        names = {node.name for node in macros[one].find_all(nodes.Name)}
        calls |= names & set(macros)
    return found


def macro_text(macro: str) -> str:
    found = re.search(rf"{{% macro {macro}\(.*?{{% endmacro %}}", source("macros.j2"), flags=re.DOTALL)
    assert found
    return found[0]


def test_every_family_has_a_template_and_every_template_a_family() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {"macros.j2", *(f"{name}.py.j2" for name in FAMILY)}


@pytest.mark.parametrize("family", FAMILY)
def test_a_template_uses_what_it_is_given(family: str) -> None:
    own = skeletons.OF_ROLES if family == "gemm_roles" else ()
    given = fields_of(FAMILY[family]) | set(skeletons.CONTEXT) | set(own)
    assert meta.find_undeclared_variables(parsed(f"{family}.py.j2")) == given


def test_macros_know_what_they_are_given_alone() -> None:
    assert meta.find_undeclared_variables(parsed("macros.j2")) == set()


def test_templates_take_apart_all_of_what_slots_hold() -> None:
    used = {node.attr for path in FOLDER.iterdir() for node in parsed(path.name).find_all(nodes.Getattr)}
    printed = (PACKAGE / "codegen" / "skeletons.py", PACKAGE / "codegen" / "statements.py")
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in printed]
    used |= {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    known = [*PLACED, statements.AxisIndex, statements.Cut]
    assert {field for known_type in known for field in fields_of(known_type)} - used == set()


@pytest.mark.parametrize("family", FAMILY)
def test_a_family_knows_the_variables_of_its_template(family: str) -> None:
    texts = [source(f"{family}.py.j2"), *map(macro_text, called(f"{family}.py.j2"))]
    found = {name for text in texts for name in assigned(text)}
    # A mask of rows is a statement in a slot, under the name that is kept for it.
    assert found | {"row_mask"} == FAMILY[family].variables


@pytest.mark.parametrize("family", FAMILY)
def test_a_template_reads_as_the_kernel_it_makes(family: str) -> None:
    """The store is in it, the loop where there is one, and it is no longer than a page."""
    text = source(f"{family}.py.j2")
    assert "results" in text
    assert 20 <= len(text.splitlines()) <= 80
    assert "tl.program_id(0)" in text
    loops = {"row_loop", "split_rows", "column_sums", "gemm", "gemm_tma", "gemm_scaled"}
    assert ("for start in" in text) == (family in loops)


def test_what_is_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        ENVIRONMENT.from_string("{{ nothing }}").render()
    with pytest.raises(jinja2.UndefinedError):
        ENVIRONMENT.from_string("{{ rows.nothing }}").render(rows=kernel.Rows(None, ()))


def test_passes_and_their_representations_have_no_words_of_triton() -> None:
    found = []
    for path in sorted([*(PACKAGE / "passes").rglob("*.py"), *(PACKAGE / "ir").glob("*.py")]):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documentation = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
            if text and re.search(r"\btl\.|device\.|\.to\(", str(node.value)):
                found.append(f"{path.name}:{node.lineno}: {node.value}")
    assert found == []
