"""What Markdown on GitHub means and MkDocs does not: pages named as files are links, and bars in cells are bars."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from mkdocs.structure.files import Files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    up = "../" * page.file.src_uri.count("/")

    def link(found: re.Match[str]) -> str:
        return f"[{found[0]}]({up}{found[1]})" if files.get_file_from_path(found[1]) else found[0]

    markdown = re.sub(r"^\|.*\|$", lambda row: BARRED.sub(_bars, row[0]), markdown, flags=re.MULTILINE)
    return re.sub(r"(?<!\[)`docs/([\w-]+\.md)`", link, markdown)


BARRED = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")
"""Code in a cell of a table with a bar, which GitHub wants to have a backslash, and MkDocs shows with it."""


def _bars(found: re.Match[str]) -> str:
    text = escape(found[1].replace("\\|", "|"))
    return f"<code>{text.replace('|', '&#124;')}</code>"
