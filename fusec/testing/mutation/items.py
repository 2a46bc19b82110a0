"""What tells a faulty compiler from the right one: specs that are compiled and run, files of tests, files of its texts.

An item is one line: `random 17`, `shipped rmsnorm rows`, `tests tests/runtime/test_layout.py` or `texts ...`, and the
paths are those of the repository, in whose root an item runs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fusec.runtime.interpreter import exact, interpreting
from fusec.testing.limits import LIMITS
from fusec.testing.random_run import hold, hold_text

RANDOM = 48
"""Random specs among the items."""

_SHAPES = (("rows", "streamed"), ("split", "library"), ("resident", "boxed"), ("rows", "few"))
"""The shapes of plan that shipped specs are run under, two each, in turn."""

BEHAVIOUR = (
    "tests/runtime",
    "tests/numerics",
    "tests/tuning",
    "tests/ops",
    "tests/passes/test_meaning_is_kept.py",
    "tests/driver",
    "tests/lang",
    # What a user is told about a mistake is what the compiler does.
    "tests/cases/test_errors.py",
    "tests/cases/test_warnings.py",
)
"""Tests of what is computed, and of what is told."""

TEXTS = ("tests/passes", "tests/cases", "tests/structure/test_generated.py", "tests/reference/test_emit.py")
"""Tests that hold what is written against what was committed."""

_LEFT_OUT = (
    # The generated files are committed: their tests see nothing of a fault in what would write them anew.
    "tests/ops/test_properties.py",
    "tests/ops/test_planted_faults.py",
    # Random specs are items of their own.
    "tests/ops/test_compiled_random_specs.py",
    # These compile for chips, build packages, or start processes: minutes each.
    "tests/ops/test_spills.py",
    "tests/ops/test_names.py",
    "tests/driver/test_build.py",
    "tests/driver/test_gate.py",
)


def items(root: Path) -> Iterator[str]:
    """Every item of a repository, those that run specs first."""
    for number in range(RANDOM):
        yield f"random {number}"
    for place, path in enumerate(sorted((root / "specs").glob("*.fuse"))):
        yield from (f"shipped {path.stem} {shape}" for shape in _SHAPES[place % len(_SHAPES)])
    behaviour = list(_files(root, BEHAVIOUR))
    yield from (f"tests {path}" for path in behaviour)
    yield from (f"texts {path}" for path in _files(root, TEXTS) if path not in behaviour)


def _files(root: Path, places: tuple[str, ...]) -> Iterator[str]:
    for place in places:
        found = [root / place] if place.endswith(".py") else sorted((root / place).glob("test_*.py"))
        names = (str(path.relative_to(root)) for path in found if path.exists())
        yield from (name for name in names if name not in _LEFT_OUT)


def passes(item: str) -> bool:
    """Whether an item holds, in the repository that is the working directory."""
    kind, *words = item.split()
    if kind in ("tests", "texts"):
        options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "-W", "ignore"]
        return pytest.main([*options, words[0]]) == pytest.ExitCode.OK
    run = _random if kind == "random" else _shipped
    try:
        with exact():
            run(*words)
    except Exception as error:
        print(f"{item}: {type(error).__name__}: {error}"[:500], file=sys.stderr)
        return False
    return True


def _device() -> torch.device:
    return torch.device("cpu" if interpreting() else "cuda")


def _random(number: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        hold(int(number), Path(folder), _device(), calls=2)


def _shipped(name: str, shape: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spec = Path("specs", f"{name}.fuse").read_text()
        hold_text(spec, list(LIMITS).index(shape), Path(folder), _device(), calls=2, shape=shape)
