"""Plain text, as docstrings and specs have it, to Markdown: `names` and indented blocks are all that is marked up."""

from __future__ import annotations

import re

MARKS = re.compile(r"[\\\[\]<>*_#|&]")


def prose(text: str) -> str:
    """Paragraphs of a text. Lines that are indented are shown as they are."""
    return "\n\n".join(map(_paragraph, re.split(r"\n[ \t]*\n", text.strip("\n"))))


def line(text: str) -> str:
    """A text as one line of Markdown, which may stand in a cell of a table."""
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    """Text whose marks mean nothing outside of backquotes. A bar would end a cell of a table anywhere."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece.replace("|", "\\|") if number % 2 else MARKS.sub(_reference, piece) for number, piece in enumerate(pieces)
    )


def _reference(mark: re.Match[str]) -> str:
    return f"&#{ord(mark[0])};"


def _paragraph(text: str) -> str:
    lines = text.split("\n")
    if all(line.startswith("    ") for line in lines):
        return "```text\n" + "\n".join(line[4:] for line in lines) + "\n```"
    return escaped(text)
