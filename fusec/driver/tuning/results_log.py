"""Answers that workers gave, kept in a file as they come, so that a run that was interrupted goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Lock
from typing import Any

from fusec.driver.store import Json, digest


class ResultsLog:
    """Answers by job, a line each in the file `path`; without a file nothing is kept.

    `about` is what all answers depend on beside their jobs: the device and the toolchain, say.
    """

    def __init__(self, path: Path | None, about: Json) -> None:
        self._path = path
        self._about = about
        self._lock = Lock()
        self._known = dict(_lines(path)) if path is not None and path.exists() else {}

    def get(self, job: Any) -> Any:
        """The answer to a job, or None."""
        return self._known.get(digest(self._about, job))

    def keep(self, job: Any, answer: Any) -> None:
        """Write down an answer. Called from several threads."""
        key = digest(self._about, job)
        with self._lock:
            self._known[key] = answer
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, answer]) + "\n")


def _lines(path: Path) -> list[tuple[str, Any]]:
    """What the file holds. A line that was being written when its process ended is left out."""
    found: list[tuple[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            key, answer = json.loads(line)
        except ValueError:
            continue
        found.append((key, answer))
    return found
