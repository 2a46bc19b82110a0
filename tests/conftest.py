"""Kernels run on the GPU where there is one, else in the Triton interpreter made exact."""

from __future__ import annotations

import gc
import os

pytest_plugins = ["fusec.testing.plugin", "fusec.testing.golden"]

# Processes that tests start read the compiled modules of each other: to compile the compiler takes longer than a test.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Tests make many objects that live to the end and few that are freed by a collection of garbage alone.
gc.set_threshold(20_000, 20, 20)


def pytest_collection_finish() -> None:
    """What was made for all tests is looked at by no later collection of garbage."""
    gc.freeze()
