"""A file, the files it uses and the standard library, put together into a `Program`."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path, PurePath

from fusec.diagnostics import Diagnostic, Note, Source
from fusec.lang import syntax
from fusec.lang.parse import parse
from fusec.lang.read import read_text

MAX_CHAIN = 20
"""Files that may stand between a spec and the last one it uses."""


def load(source: Source, folder: Path | None) -> syntax.Program:
    """The program of one spec. `folder` is where `use NAME` looks for `NAME.fuse`; None admits no `use`.

    Nothing is raised: what is wrong stands in `faults` of the program.
    """
    file = parse(source)
    standard = standard_library()
    reader = _Reader(source, folder)
    reader.follow(file, (PurePath(source.name).stem,))
    faults = [*file.faults, *reader.faults]
    visible = {standard.source: {fn.name.text: fn for fn in standard.fns}}
    for member in (*reader.files.values(), file):
        own, doubled = _functions(member, reader.files)
        visible[member.source] = visible[standard.source] | own
        faults.extend(doubled)
    broken = file.broken.union(*(used.broken for used in reader.files.values()))
    return syntax.Program(file, visible, standard.source, broken, reader.incomplete, tuple(faults))


@cache
def standard_library() -> syntax.File:
    """The functions that ship with the compiler."""
    path = Path(__file__).with_name("std.fuse")
    return parse(Source(f"fusec/lang/{path.name}", path.read_text(encoding="utf-8")))


class _Reader:
    """Follows `use` from file to file; every file is read once."""

    def __init__(self, source: Source, folder: Path | None) -> None:
        self.files: dict[str, syntax.File] = {}
        self.faults: list[Diagnostic] = []
        self.incomplete = False
        self._source = source
        self._folder = folder

    def follow(self, file: syntax.File, chain: tuple[str, ...]) -> None:
        for use in file.uses:
            name = use.name.text
            if name in chain or len(chain) > MAX_CHAIN:
                circle = " -> ".join((*chain[chain.index(name) if name in chain else 0 :], name))
                self._fail(use, f"files use one another in a circle: {circle}", "move what they share to a third file")
            elif name not in self.files:
                self._read(use, chain)

    def _read(self, use: syntax.Use, chain: tuple[str, ...]) -> None:
        name = use.name.text
        if self._folder is None:
            self._fail(use, "a spec that is no file cannot use another file", "copy the functions into the spec")
            return
        path = self._folder / f"{name}.fuse"
        if not path.exists():
            self._fail(use, f"there is no file `{path.name}` beside this spec", _near(name, self._folder))
            return
        try:
            text = read_text(path)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            self._fail(use, f"`{path.name}` cannot be read: {reason}", None)
            return
        file = parse(Source(str(PurePath(self._source.name).with_name(path.name)), text))
        self.files[name] = file
        self.faults.extend(file.faults)
        self.follow(file, (*chain, name))

    def _fail(self, use: syntax.Use, message: str, help: str | None) -> None:
        self.incomplete = True
        self.faults.append(Diagnostic(message, use.name.span, help=help))


def _near(name: str, folder: Path) -> str | None:
    near = get_close_matches(name, sorted(path.stem for path in folder.glob("*.fuse")), n=1)
    return f"did you mean `use {near[0]}`?" if near else None


def _functions(file: syntax.File, files: dict[str, syntax.File]) -> tuple[dict[str, syntax.Fn], list[Diagnostic]]:
    """The functions that a file defines and uses, and a diagnostic for every name with two meanings."""
    found: dict[str, syntax.Fn] = {}
    faults: list[Diagnostic] = []
    sources = [(fn, fn.name.span) for fn in file.fns]
    for use in file.uses:
        if use.name.text in files:
            sources.extend((fn, use.name.span) for fn in files[use.name.text].fns)
    for fn, span in sources:
        first = found.setdefault(fn.name.text, fn)
        if first is not fn:
            message = f"function `{fn.name.text}` is defined twice"
            notes = [Note("it is defined here", first.name.span)]
            if span is not fn.name.span:
                notes.append(Note("and here", fn.name.span))
            faults.append(Diagnostic(message, span, tuple(notes), help="rename one of them"))
    return found, faults
