"""The lexer for Pygments and the grammar for VS Code know every word of the language, and all that stands in a spec."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pygments.token import Error, Name

from fusec.ir.types import DTYPES
from fusec.lang import parse
from fusec.lang.highlight import CONSTANTS as CONSTANTS_SHOWN
from fusec.lang.highlight import DTYPES as DTYPES_SHOWN
from fusec.lang.highlight import FUNCTIONS, PRIMITIVES, FuseLexer
from fusec.lang.load import standard_library
from fusec.passes.graph.elaborate.constants import CONSTANTS
from fusec.passes.graph.elaborate.primitives import PRIMITIVES as KNOWN
from fusec.passes.graph.elaborate.signature import KINDS

ROOT = Path(__file__).parents[2]
EDITOR = ROOT / "editors" / "vscode"
GRAMMAR = Path(parse.__file__).with_name("grammar.lark").read_text(encoding="utf-8")
KEYWORDS = set(re.findall(r'"([a-z]+)"', GRAMMAR))
ARGUMENT_WORDS = {word for known in KNOWN.values() for place in known.places for word in place.words} - {*DTYPES}

LINES = {
    **{word: f"{word} f" for word in ("use", "fn", "op", "module")},
    **dict.fromkeys(("overload", "of"), "overload f of g"),
    **dict.fromkeys(("where", "in"), "where T in {f16}:"),
    **{word: f"    y = a {word} b" for word in ("or", "and", "not")},
    "return": "    return x, y",
    **{kind: f"    {kind} {kind}: T[N]," for kind in KINDS},
    **{word: f"    heads: {word}(H)," for word in ("dim", "dtype")},
    "infer": "    heads: dim(H) = infer,",
    "bounded": "    bounded(0.2)",
    **dict.fromkeys(ARGUMENT_WORDS & {"ieee", "tf32"}, "    y = dot(a, b, over=K, precision=(T, tf32, ieee))"),
    **{word: f"    y = dot(a, b, over=K, accum={word})" for word in ARGUMENT_WORDS - {"ieee", "tf32"}},
    **{name: f"    y = {name}(x)" for name in (*KNOWN, *(fn.name.text for fn in standard_library().fns))},
    **{name: f"    y: {name}[N]" for name in DTYPES},
    **{name: f"    y = x * {name}" for name in CONSTANTS},
}
"""Every word of the language, in a line where it is one. `where` is a function too: its last line is the one here."""


def specs() -> Iterator[str]:
    for path in (*sorted((ROOT / "specs").glob("*.fuse")), Path(parse.__file__).with_name("std.fuse")):
        yield path.read_text(encoding="utf-8")
    yield from re.findall(r"^```fuse\n(.*?)^```", (ROOT / "docs/language.md").read_text("utf-8"), re.DOTALL | re.M)


def test_every_word_of_the_grammar_has_a_line() -> None:
    assert {*KEYWORDS, *KINDS, *ARGUMENT_WORDS} - {*LINES} == set()


def test_the_lists_are_those_of_the_language() -> None:
    shown = (PRIMITIVES, FUNCTIONS, DTYPES_SHOWN, CONSTANTS_SHOWN)
    language = (KNOWN, (fn.name.text for fn in standard_library().fns), DTYPES, CONSTANTS)
    assert [sorted(words) for words in shown] == [sorted(words) for words in language]


def test_no_word_is_a_plain_name() -> None:
    plain = []
    for word, line in (*LINES.items(), ("where", "where T in {f16}:")):
        (token, *_) = (kind for kind, text in FuseLexer().get_tokens(line) if text == word)
        (scope, *_) = (scope for scope, text in scoped(line) if text.strip() == word)
        if token in (Name, Name.Function) or scope in ("variable.other.fuse", "entity.name.function.fuse", ""):
            plain.append((word, token, scope))
    assert plain == []


def test_names_of_a_spec_are_names() -> None:
    line = "    weight weight: T[N], scaled_sum: f32, wherever: f32, proof: f32, index: i32[M]"
    names = {"scaled_sum", "wherever", "proof", "index", "N"}
    assert {text for kind, text in FuseLexer().get_tokens(line) if kind is Name} >= names
    assert {text.strip() for scope, text in scoped(line) if scope == "variable.other.fuse"} >= names


def test_all_of_every_spec_is_known() -> None:
    for text in specs():
        assert [value for kind, value in FuseLexer().get_tokens(text) if kind is Error] == []
        plain = [piece for scope, piece in scoped(text) if not scope and piece.strip() not in ("", "{", "}")]
        assert plain == []


def test_both_are_found_by_the_end_of_a_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pygments.lexers"] == {"fuse": "fusec.lang.highlight:FuseLexer"}
    (language,) = json.loads((EDITOR / "package.json").read_text())["contributes"]["languages"]
    assert [f"*{end}" for end in language["extensions"]] == list(FuseLexer.filenames)
    assert (EDITOR / language["configuration"]).is_file()


def scoped(text: str) -> Iterator[tuple[str, str]]:
    """Pieces of a text with their scopes, as an editor finds them: of the rules that fit first, the first."""
    (grammar,) = json.loads((EDITOR / "package.json").read_text())["contributes"]["grammars"]
    rules = json.loads((EDITOR / grammar["path"]).read_text(encoding="utf-8"))
    terms = rules["repository"]["terms"]["patterns"]
    yield from pieces(text, flat(rules["patterns"], terms), terms)


def flat(rules: list[dict[str, Any]], terms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for rule in rules for each in (terms if "include" in rule else [rule])]


def pieces(text: str, rules: list[dict[str, Any]], terms: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(text):
        for rule in rules:
            if match := re.compile(rule.get("match") or rule["begin"], re.MULTILINE).match(text, place):
                break
        else:
            yield "", text[place]
            place += 1
            continue
        end = match.end()
        if "begin" in rule:
            close = re.compile(rule["end"]).search(text, end)
            assert close, f"`{rule['begin']}` is never closed"
            inner = text[end : close.start()]
            yield from (
                pieces(inner, flat(rule["patterns"], terms), terms) if "patterns" in rule else [(rule["name"], inner)]
            )
            end = close.end()
        elif "name" in rule:
            yield rule["name"], match[0]
        else:
            yield from ((each["name"], match[int(group)]) for group, each in rule["captures"].items())
        assert end > place
        place = end
