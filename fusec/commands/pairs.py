"""Options of the form NAME=VALUE."""

from __future__ import annotations

from collections.abc import Sequence

from fusec.commands.outcome import UsageError

DTYPES = "VARIABLE=DTYPE, for instance T=bf16"
"""The form of `--dtype`."""


def pairs(option: str, texts: Sequence[str], form: str) -> dict[str, str]:
    """The values by name. Raises `UsageError`, which shows the `form`, for a text of another one."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{option} {text}: write {form}")
        found[name] = value
    return found
