"""Text to syntax tree, one definition at a time, so that one wrong definition does not hide the mistakes of others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lark import Lark, Token, Tree, UnexpectedInput
from lark.lark import PostLex

from fusec.diagnostics import Diagnostic, Source, Span
from fusec.lang import syntax
from fusec.lang.build_tree import TreeBuilder
from fusec.lang.read import MAX_LENGTH
from fusec.lang.unexpected import explain

MAX_DEPTH = 80
"""Levels of nesting an expression may have; keeps every recursion over it far from Python's limit."""
_STATEMENT = 2
"""Levels between a definition and its statements or parameters."""


class UnevenIndentation(Exception):
    """A line that closes a block but aligns with none."""

    def __init__(self, token: Token) -> None:
        super().__init__()
        self.token = token


class Layout(PostLex):
    """Turns line starts into `_NEWLINE`, `_INDENT` and `_DEDENT`.

    Inside brackets lines do not count; in the header neither does one that begins with `->` or `where`, or follows a
    comma.
    """

    always_accept = ("_NEWLINE", "_CONTINUED")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        open_brackets = 0
        in_header = True
        levels = [0]
        token = last = Token("$START", "")
        for token in stream:
            if token.type not in self.always_accept:
                open_brackets += (token in ("(", "[", "{")) - (token in (")", "]", "}"))
                last = token
                yield token
            elif open_brackets <= 0 and not (in_header and (token.type == "_CONTINUED" or last == ",")):
                in_header = False
                yield Token.new_borrow_pos("_NEWLINE", token.value, token)
                yield from _level(token, levels)
        for _ in levels[1:]:
            yield Token.new_borrow_pos("_DEDENT", "", token)


def parse(source: Source) -> syntax.File:
    """The syntax tree of a file. What cannot be read is left out and told in `faults`; nothing is raised."""
    if len(source.text) > MAX_LENGTH:
        fault = Diagnostic(f"the spec is longer than {MAX_LENGTH} characters", Span(source, 0, 1))
        return syntax.File(source, (), (), (), faults=(fault,))
    if stray := _STRAY.search(source.text):
        number = ord(stray[0])
        what = "half of a character" if 0xD800 <= number < 0xE000 else "a control character"
        fault = Diagnostic(f"{what}, U+{number:04X}, cannot stand in a spec", Span(source, *stray.span()))
        return syntax.File(source, (), (), (), faults=(replace(fault, help="drop it, in comments too"),))
    found: list[syntax.Definition] = []
    broken: set[str] = set()
    starts, faults = _starts(source)
    ends = [*(start.start() for start in starts), len(source.text)][1:]
    for match, end in zip(starts, ends, strict=True):
        definition = _definition(source, match.start(), end)
        if isinstance(definition, tuple):
            faults.extend(definition)
            broken.add(match["name"] or "")
        else:
            found.append(definition)
    return syntax.File(
        source,
        uses=tuple(d for d in found if isinstance(d, syntax.Use)),
        ops=tuple(d for d in found if isinstance(d, syntax.Op)),
        fns=tuple(d for d in found if isinstance(d, syntax.Fn)),
        modules=tuple(d for d in found if isinstance(d, syntax.Module)),
        overloads=tuple(d for d in found if isinstance(d, syntax.Overload)),
        broken=frozenset(broken),
        faults=tuple(faults),
    )


_LARK = Lark(
    Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8"),
    parser="lalr",
    start="definition",
    postlex=Layout(),
    propagate_positions=True,
    maybe_placeholders=True,
)

_STRAY = re.compile("[\\x00-\\x08\\x0b\\x0e-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
"""Control characters, those of blanks and line ends aside, and halves of pairs, which no text file holds."""

_PIECE = re.compile(
    r'#[^\n]*|"""[\s\S]*?(?:"""|(?P<open>\Z))'
    r"|^\ufeff?(?P<start>op|fn|module|overload|use)[ \t]+(?P<name>[A-Za-z_][A-Za-z0-9_]*)?",
    re.MULTILINE,
)


def _starts(source: Source) -> tuple[list[re.Match[str]], list[Diagnostic]]:
    """Where definitions begin: at their first word in the first column, outside comments and docstrings."""
    pieces = list(_PIECE.finditer(source.text))
    starts = [piece for piece in pieces if piece["start"]]
    faults = [
        Diagnostic(
            "this docstring is not closed", Span(source, piece.start(), piece.start() + 3), help='end it with `"""`'
        )
        for piece in pieces
        if piece["open"] is not None
    ]
    if faults:
        return [], faults
    before = source.text[: starts[0].start() if starts else None]
    stray = re.search(r"^[ \t]*(?P<line>[^\s#][^\r\n]*)", before, re.MULTILINE)
    if stray:
        span = Span(source, stray.start("line"), stray.end("line"))
        faults.append(
            Diagnostic("a spec is made of `op`, `fn`, `module`, `overload` and `use`; this is none of them", span)
        )
    elif not starts:
        faults.append(Diagnostic("the spec is empty", Span(source, 0, 0), help="write an `op`"))
    return starts, faults


def _definition(source: Source, start: int, end: int) -> syntax.Definition | tuple[Diagnostic, ...]:
    try:
        tree = _LARK.parse(source.text[start:end] + "\n")
    except UnevenIndentation as error:
        end_of_line = start + (error.token.end_pos or 0)
        return (
            Diagnostic(
                "this line is indented like no block around it",
                Span(source, end_of_line, end_of_line + 1),
                help="align it with the lines of its block",
            ),
        )
    except UnexpectedInput as error:
        return (explain(error, source, start, end),)
    deep = _too_deep(tree)
    if deep is not None:
        span = Span(source, start + deep.meta.start_pos, start + deep.meta.end_pos)
        return (Diagnostic("this is nested too deeply", span, help="give parts of it names of their own"),)
    grow = TreeBuilder(source, start)
    definition = grow.transform(tree)
    return tuple(grow.faults) or definition


def _level(token: Token, levels: list[int]) -> Iterator[Token]:
    width = len(token.value.rsplit("\n", 1)[1].expandtabs(8))
    if width > levels[-1]:
        levels.append(width)
        yield Token.new_borrow_pos("_INDENT", "", token)
    while width < levels[-1]:
        levels.pop()
        yield Token.new_borrow_pos("_DEDENT", "", token)
    if width != levels[-1]:
        raise UnevenIndentation(token)


def _too_deep(tree: Tree[Token]) -> Tree[Token] | None:
    """The statement or type with an expression nested deeper than `MAX_DEPTH`."""
    stack = [(tree, tree, 0)]
    while stack:
        node, around, depth = stack.pop()
        if depth > MAX_DEPTH:
            return around
        for child in node.children:
            if isinstance(child, Tree):
                stack.append((child, child if depth < _STATEMENT else around, depth + 1))
    return None
