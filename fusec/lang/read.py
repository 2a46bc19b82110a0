"""The text of a file, read without waiting for one that never ends or never comes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_LENGTH = 65536
"""Characters a spec may have."""
_MAX_BYTES = 4 * MAX_LENGTH + 4


def read_text(path: Path) -> str:
    """The text of a regular file, no more of it than tells that it is too long for a spec.

    Raises `OSError`, also for a pipe or a device, and `UnicodeDecodeError`.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file of text", str(path))
        data = b""
        while len(data) <= _MAX_BYTES and (more := os.read(descriptor, _MAX_BYTES)):
            data += more
    finally:
        os.close(descriptor)
    if len(data) > _MAX_BYTES:
        return data.decode("utf-8", errors="replace")
    return data.decode("utf-8")
