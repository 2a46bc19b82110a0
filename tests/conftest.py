"""Kernels run on the GPU where there is one, else in the Triton interpreter made exact."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest

from fusec.codegen import gate
from fusec.workers import Pool, worker_pool

pytest_plugins = ["fusec.testing.plugin", "fusec.testing.golden"]

# Processes that tests start read the compiled modules of each other: to compile the compiler takes longer than a test.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

LONGEST = ("test_spills", "test_variants", "test_generated", "test_tune_worker", "test_low_precision_specs")
"""Files with tests of many seconds. They come first: at the end one would be left to a single process."""

# What is compiled and what Triton keeps lives to the end, and few objects are freed by a collection of garbage alone.
gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _one_compiler_for_all_tests() -> Iterator[None]:
    """The gate compiles in the same process for all tests: to start one takes longer than most of these compile."""
    with ExitStack() as stack:
        pools: dict[str, Pool] = {}

        @contextmanager
        def shared(module: str, _: int, environment: Mapping[str, str]) -> Iterator[Pool]:
            if module not in pools:
                pools[module] = stack.enter_context(worker_pool(module, 2, environment))
            yield pools[module]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gate, "worker_pool", shared)
            yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_collection_finish() -> None:
    """What was made for all tests is looked at by no later collection of garbage."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Neither is what the tests of a file left behind. What was compiled ends with its test.

    TorchDynamo compiles a function eight times and no more, whoever asks. All models of Hugging Face share a wrapper,
    and where there is a GPU, to generate with a static cache compiles it.
    """
    yield
    if dynamo := sys.modules.get("torch._dynamo"):
        dynamo.reset()
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
