"""The extra `fusec[build]`: what the compiler needs beside torch and triton, and the error where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

PACKAGES = frozenset({"filelock", "hypothesis", "jinja2", "lark", "platformdirs", "rich", "sympy", "typer"})


class MissingCompilerError(ImportError):
    """fusec was installed for its ops alone, and something asked for the compiler."""


@contextmanager
def compiler_needed() -> Iterator[None]:
    """Say how to get the compiler where one of its packages is missing; what else is missing stays as it is."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        raise MissingCompilerError(
            f"fusec is installed without its compiler ({error.name} is missing): pip install 'fusec[build]'"
        ) from None
