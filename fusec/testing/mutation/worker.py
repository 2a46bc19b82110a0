"""Items run in a copy of the repository: `python -m fusec.testing.mutation.worker [--trace] ITEM...`.

Prints one JSON line per item. With `--trace` all of them run, each with the lines of the compiler that it reached;
without, they run until one fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from fusec.testing.mutation.items import passes
from fusec.testing.mutation.run import MUTATED


def main(arguments: list[str]) -> None:
    """Run the items named in the arguments, in this process, in the working directory."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    tracing = arguments[:1] == ["--trace"]
    for item in arguments[tracing:]:
        print(json.dumps({"begins": item}), file=answers, flush=True)
        lines: dict[str, set[int]] = {}
        started = time.perf_counter()
        with traced(lines) if tracing else contextlib.nullcontext():
            passed = passes(item)
        seconds = round(time.perf_counter() - started, 2)
        told = {path: sorted(found) for path, found in lines.items()}
        print(json.dumps({"item": item, "passes": passed, "seconds": seconds, "lines": told}), file=answers, flush=True)
        if not passed and not tracing:
            break


@contextlib.contextmanager
def traced(lines: dict[str, set[int]]) -> Iterator[None]:
    """Note the lines of the mutated packages that run meanwhile, by path within the working directory."""
    places = tuple(os.path.join(os.getcwd(), each) + os.sep for each in MUTATED)
    kept: dict[str, set[int] | None] = {}

    def within(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            found = kept[frame.f_code.co_filename]
            assert found is not None
            found.add(frame.f_lineno)
        return within

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        path = frame.f_code.co_filename
        if path not in kept:
            ours = path.startswith(places)
            kept[path] = lines.setdefault(os.path.relpath(path), set()) if ours else None
        found = kept[path]
        if found is None:
            return None
        found.add(frame.f_lineno)
        return within

    threading.settrace(enter)
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)


if __name__ == "__main__":
    main(sys.argv[1:])
