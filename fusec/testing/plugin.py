"""Pytest plugin: kernels run on the GPU where there is one, else in the interpreter made exact.

To be named in `pytest_plugins`. `TRITON_INTERPRET` must be set before anything imports triton, so this module sets it
when it is imported itself, as it does the number of threads; explicit settings are left alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

import pytest

from fusec.workers import ONE_THREAD

os.environ.update({**ONE_THREAD, **os.environ})

import torch

if not torch.cuda.is_available() and "TRITON_INTERPRET" not in os.environ:
    if "triton" in sys.modules:
        raise RuntimeError("triton was imported before fusec.testing.plugin: set TRITON_INTERPRET=1 yourself")
    os.environ["TRITON_INTERPRET"] = "1"

from fusec.interpreter import exact, interpreting
from fusec.testing import interpreter_selftest
from fusec.testing.drawing import from_strategies_alone

RANDOM_SPECS = 150
"""How many random specs a run takes that names none. `python -m fusec.testing.sweep` takes as many as one likes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--spec-seed N` or `--spec-seed A:B`, any number of times: run tests of random specs on these specs only."""
    help = "run tests of random specs on this one, or from the first of two up to the second"
    parser.addoption("--spec-seed", type=_seeds, action="extend", metavar="N|A:B", help=help)


def _seeds(text: str) -> Sequence[int]:
    first, _, end = text.partition(":")
    return range(int(first), int(end or int(first) + 1))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with an argument `spec_seed` runs once per random spec."""
    if "spec_seed" in metafunc.fixturenames:
        seeds = metafunc.config.getoption("--spec-seed") or range(RANDOM_SPECS)
        metafunc.parametrize("spec_seed", seeds)


@pytest.fixture(scope="session", autouse=True)
def exact_interpreter() -> Iterator[None]:
    """Every kernel of the session computes what the hardware computes, on calls that the text of no module changes."""
    with exact(), from_strategies_alone():
        if interpreting():
            interpreter_selftest.check()
        yield


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Where kernels run: the CPU when they are interpreted."""
    return torch.device("cpu" if interpreting() else "cuda:0")
