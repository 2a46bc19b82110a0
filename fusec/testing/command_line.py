"""The command that makes a committed result again, without the paths of the machine it was made on."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any


def command_line(module: str, options: Namespace) -> str:
    """`python -m module` with these options, those by default among them; paths are for whoever runs it to choose."""
    words = ["python", "-m", module]
    for name, value in vars(options).items():
        if value is None or value is False or value == "" or value == [] or isinstance(value, Path):
            continue
        words += [f"--{name}", *([] if value is True else map(_told, value if isinstance(value, list) else [value]))]
    return shlex.join(words)


def _told(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
