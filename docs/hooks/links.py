"""Pages that others name as files, `docs/tuning.md`, are links in the site."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.structure.files import Files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    up = "../" * page.file.src_uri.count("/")

    def link(found: re.Match[str]) -> str:
        return f"[{found[0]}]({up}{found[1]})" if files.get_file_from_path(found[1]) else found[0]

    return re.sub(r"(?<!\[)`docs/([\w-]+\.md)`", link, markdown)
