"""Results of earlier runs, found again by a hash of everything they depend on.

The store is an optimisation: an entry that cannot be read is compiled again, a folder that cannot be written is not
used. Entries are JSON, so reading one runs nothing.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

import platformdirs

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_PACKAGE = Path(__file__).resolve().parents[1]


def default_folder() -> Path:
    """Where this user's results are kept."""
    return Path(platformdirs.user_cache_dir("fusec", appauthor=False))


@dataclass(frozen=True, slots=True)
class Store:
    """Entries `kind/key.json` under `folder`; without a folder nothing is found and nothing kept."""

    folder: Path | None

    def get(self, kind: str, key: str) -> Json:
        """The value kept under the key, or None."""
        if self.folder is None:
            return None
        try:
            value: Json = json.loads((self.folder / kind / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return value

    def put(self, kind: str, key: str, value: Json) -> None:
        """Keep a value; a reader at the same time sees all of it or nothing."""
        if self.folder is None:
            return
        try:
            write_whole(self.folder / kind / f"{key}.json", json.dumps(value))
        except OSError:
            return


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file that other processes see complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with open(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def digest(*parts: Json) -> str:
    """A hash of plain values; equal parts, equal digest."""
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def compiler_digest() -> str:
    """A hash of what a generated file follows from: this compiler and the libraries it computes with."""
    return digest(_sources_digest(_PACKAGE), *map(library_version, ("jinja2", "lark", "sympy", "torch")))


@cache
def toolchain_digest() -> str:
    """A hash of what a compiled kernel follows from, beside its generated file."""
    return digest(
        _sources_digest(_PACKAGE / "runtime"), _sources_digest(_PACKAGE / "codegen"), library_version("triton")
    )


def _sources_digest(folder: Path) -> str:
    contents = sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        contents.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return contents.hexdigest()


def library_version(package: str) -> str:
    """The version of a package that results follow from."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
