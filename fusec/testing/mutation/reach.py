"""Which lines of a folder of modules run: noted in this process, and in every process that it starts.

Needs nothing but Python: it is loaded before the modules that it looks at. Lines of functions alone are noted; what
runs as a module is imported runs for every test, or for the one that happens to come first.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

TO = "FUSEC_LINES_TO"
"""The variable that names the file to which processes that a test starts add their lines."""

OF = "FUSEC_LINES_OF"
"""The variable that names the folder whose lines they are."""

_OPTIMIZED = 0x1  # inspect.CO_OPTIMIZED: a function, not a module or the body of a class


class Lines:
    """Notes the lines of modules below `folder` while it follows; `note` hears of each as it first runs."""

    def __init__(self, folder: str, note: Callable[[str, int], None] | None = None) -> None:
        self._folder = folder.rstrip(os.sep) + os.sep
        self._own = os.path.join(self._folder, "testing", "mutation")
        self._note = note
        self._found: dict[str, set[int]] = {}
        self._paths: dict[int, str] = {}
        # By the identity of code, which is kept so that no other code gets the same.
        self._left: dict[int, set[int]] = {}
        self._kept: list[CodeType] = []

    def take(self) -> dict[str, set[int]]:
        """The lines since the last time, by path below the folder."""
        found, self._found = self._found, {}
        for each in [*self._paths]:
            self._left.pop(each, None)
        if sys.version_info >= (3, 12):
            sys.monitoring.restart_events()
        return found

    def follow(self) -> None:
        """Begin to note lines, in all threads."""
        if sys.version_info >= (3, 12):
            tool, events = sys.monitoring.COVERAGE_ID, sys.monitoring.events
            sys.monitoring.use_tool_id(tool, "fusec.testing.mutation")
            sys.monitoring.register_callback(tool, events.LINE, self._line)
            sys.monitoring.set_events(tool, events.LINE)
        else:
            threading.settrace(self._enter)
            sys.settrace(self._enter)

    def _line(self, code: CodeType, line: int) -> Any:
        if line in self._lines(code):
            self._add(code, line)
        return sys.monitoring.DISABLE  # type: ignore[attr-defined, unused-ignore]

    def _enter(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._within if self._lines(frame.f_code) else None

    def _within(self, frame: FrameType, event: str, _: Any) -> Any:
        left = self._lines(frame.f_code)
        if event == "line" and frame.f_lineno in left:
            left.discard(frame.f_lineno)
            self._add(frame.f_code, frame.f_lineno)
        return self._within if left else None

    def _lines(self, code: CodeType) -> set[int]:
        """The lines of a function that have not run yet; none of one that lies elsewhere."""
        left = self._left.get(id(code))
        if left is None:
            path = code.co_filename
            ours = code.co_flags & _OPTIMIZED and path.startswith(self._folder) and not path.startswith(self._own)
            left = {line for *_, line in code.co_lines() if line} if ours else set()
            self._left[id(code)] = left
            self._kept.append(code)
            if ours:
                self._paths[id(code)] = path.removeprefix(self._folder)
        return left

    def _add(self, code: CodeType, line: int) -> None:
        path = self._paths[id(code)]
        self._found.setdefault(path, set()).add(line)
        if self._note:
            self._note(path, line)


def follow_started() -> None:
    """Follow a process that a test has started; it may be killed, so that each line is written as it first runs."""
    file = os.open(os.environ[TO], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    Lines(os.environ[OF], lambda path, line: _write(file, f"{path}:{line}\n")).follow()


def _write(file: int, text: str) -> None:
    try:
        os.write(file, text.encode())
    except OSError:
        return  # The process has closed what it knows nothing of.


def started(file: str) -> dict[str, set[int]]:
    """The lines that processes have written to `file`, which is gone afterwards."""
    found: dict[str, set[int]] = {}
    if os.path.exists(file):
        with open(file, encoding="utf-8") as written:
            for text in written:
                path, _, line = text.rstrip("\n").rpartition(":")
                found.setdefault(path, set()).add(int(line))
        os.unlink(file)
    return found
