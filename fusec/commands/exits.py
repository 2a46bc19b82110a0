"""The exit codes of commands, which are known before anything else is loaded."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    SPEC = 1  # a spec is wrong, or with --check the package is stale
    USAGE = 2  # the command line is wrong: an option, a path, an unknown op
    FAILED = 3  # a kernel failed the resource gate, or an op its verification
    INTERNAL = 4  # a fault of fusec itself
    OUTPUT = 5  # the result could not be written
    INTERRUPTED = 130  # ended with Ctrl-C
