"""A package of chosen ops that stands by itself: their generated files, and the runtime that these import.

All imports within are relative, so that it may be loaded under any name, beside fusec of any version. Its operators
have a namespace of their own in PyTorch, by its name and contents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from fusec import __version__
from fusec.codegen.index import index

VENDORED = "_fusec"
"""The folder of what fusec itself has in such a package."""

NEEDED = ("runtime", "ir/host", "interpreter")
"""What generated files import of fusec, and what that does; the interpreter, where Triton is asked to interpret."""

_PACKAGE = Path(__file__).resolve().parents[1]
_IMPORT = re.compile(r"^(\s*from )fusec(?:\.([\w.]+))?( import )", re.MULTILINE)
_NAMESPACE = re.compile(r'^NAMESPACE = "fusec"$', re.MULTILINE)


class VendoringError(Exception):
    """The package cannot be made; the message says what is missing."""


def vendored(name: str, ops: Sequence[str], source: Path, homes: Mapping[str, str]) -> dict[str, str]:
    """The files of a package `name` by their places in it: of the built package `source`, the modules that hold `ops`.

    `homes` says which module each op of `source` is in. Raises `VendoringError` for an op that is none of them.
    """
    unknown = [op for op in ops if op not in homes]
    if unknown:
        raise VendoringError(f"no op {', '.join(unknown)} in {source}; there are {', '.join(sorted(homes))}")
    modules = {module: tuple(op for op in ops if homes[op] == module) for module in sorted({homes[op] for op in ops})}
    contents = {f"{module}.py": (source / f"{module}.py").read_text(encoding="utf-8") for module in modules}
    contents["__init__.py"] = index(modules, __version__)
    for path in sorted((source / "tuned").glob("*.toml")):
        contents[f"tuned/{path.name}"] = path.read_text(encoding="utf-8")
    for part in NEEDED:
        for path in sorted((_PACKAGE / part).rglob("*.py")):
            place = path.relative_to(_PACKAGE).as_posix()
            contents[f"{VENDORED}/{place}"] = path.read_text(encoding="utf-8")
    contents[f"{VENDORED}/__init__.py"] = f'"""The runtime of fusec {__version__}, see LICENSE."""\n'
    contents[f"{VENDORED}/LICENSE"] = _license()
    contents["py.typed"] = ""
    own = sha256("".join(f"{place}\0{text}\0" for place, text in sorted(contents.items())).encode()).hexdigest()
    return {place: _relative(place, text, f"{name}_{own[:8]}") for place, text in contents.items()}


def _relative(place: str, text: str, namespace: str) -> str:
    """A file with its imports of fusec turned into those of its own package."""
    if not place.endswith(".py"):
        return text
    folders = place.split("/")[:-1]
    within = folders[1:] if folders[:1] == [VENDORED] else None

    def moved(found: re.Match[str]) -> str:
        wanted = found[2] or ""
        if within is None:
            return f"{found[1]}.{VENDORED}{'.' if wanted else ''}{wanted}{found[3]}"
        return f"{found[1]}{'.' * (len(within) + 1)}{wanted}{found[3]}"

    return _NAMESPACE.sub(f'NAMESPACE = "{namespace}"', _IMPORT.sub(moved, text))


def _license() -> str:
    """The licence of fusec, from the checkout or from what was installed."""
    path = _PACKAGE.parent / "LICENSE"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    try:
        installed = [each for each in files("fusec") or () if each.name == "LICENSE"]
    except PackageNotFoundError:
        installed = []
    if not installed:
        raise VendoringError("the licence of fusec is not installed with it, and has to go with its code")
    return installed[0].read_text(encoding="utf-8")
