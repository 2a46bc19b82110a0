"""Runs tests in a copy of the repository, each job in a process of its own that has torch and Triton loaded already.

It is run by its path, with the copy as working directory: what it imports before a job knows nothing of fusec, whose
modules every job loads anew, with the fault that lies in one of them. A job is a line of JSON (`tests`, `trace`,
`part`), and so are the answers; `ended` is the last of them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import signal
import sys
from typing import Any

LOADED = (
    "numpy",
    "torch",
    "triton",
    "triton.language",
    "sympy",
    "lark",
    "jinja2",
    "hypothesis",
    "pytest",
    "rich",
    "typer",
)
"""What takes long to load and is the same for every mutant."""


def main() -> None:
    """Answer jobs until there are no more."""
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for name in LOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        process = os.fork()
        if process == 0:
            _do(job, answers)
        _tell(answers, {"process": process})
        _, status = os.waitpid(process, 0)
        # What the tests have started and left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        _tell(answers, {"ended": os.waitstatus_to_exitcode(status)})


def _do(job: dict[str, Any], answers: int) -> None:
    """Do a job in this process, and end it."""
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        lines = None
        if job["trace"]:
            reach = runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "reach.py"))
            lines = reach["Lines"](os.environ[reach["OF"]])
            lines.follow()
        session = importlib.import_module("fusec.testing.mutation.session")
        code = session.held(job["tests"], lambda told: _tell(answers, told), lines, tuple(job["part"]))
    finally:
        os._exit(code)


def _tell(answers: int, told: dict[str, Any]) -> None:
    text = (json.dumps(told) + "\n").encode()
    while text:
        text = text[os.write(answers, text) :]


if __name__ == "__main__":
    main()
