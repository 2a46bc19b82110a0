"""The specs of a folder, read and compiled: in parallel, from the store where nothing changed, all mistakes at once."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePath
from typing import TypeAlias

from fusec.codegen.safety import is_identifier
from fusec.diagnostics import Diagnostic, InternalError, Note, Source, Span, SpecError
from fusec.driver.record import FileRecord, from_json, to_json
from fusec.driver.store import Json, Store, compiler_digest, digest
from fusec.lang.read import read_text

Compile: TypeAlias = Callable[[Source, Path | None], FileRecord]
"""Compiles one spec, given the folder of the files it uses; other processes call it by its name."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """What compiles a spec, and the module whose workers compile the kernels of what comes out: the resource gate."""

    file: Compile
    gate: str


SPECS_PER_PROCESS = 4
"""Starting a process costs about as much as compiling so many specs."""


class UnreadableError(Exception):
    """The specs that were asked for are not there, or cannot be read."""


Outcome: TypeAlias = FileRecord | SpecError | InternalError


def read_specs(specs: Path) -> dict[Path, Source]:
    """The `.fuse` files of a folder, sorted by name, or the one file; each under the path the user knows it by.

    Raises `UnreadableError` when there are none or one cannot be read, and `SpecError` for a file that is no text or
    cannot be a module.
    """
    if not specs.exists():
        raise UnreadableError(f"there is no file or folder {shown(specs)}")
    paths = sorted(path for path in specs.glob("*.fuse") if not path.is_dir()) if specs.is_dir() else [specs]
    if not paths:
        raise UnreadableError(f"no .fuse files in {shown(specs)}")
    sources: dict[Path, Source] = {}
    faults: list[Diagnostic] = []
    for path in paths:
        try:
            sources[path] = read_spec(path)
        except SpecError as error:
            faults += error.diagnostics
            continue
        except OSError as error:
            raise UnreadableError(f"cannot read {shown(path)}: {error.strerror}") from error
        if not is_identifier(path.stem) or path.stem.startswith("__"):
            help = "name it with letters, digits and underscores, and like no keyword of Python"
            faults.append(_fault(sources[path], f"a file called {shown(path.name)} cannot become a module", help))
    if faults:
        raise SpecError(tuple(faults))
    return sources


def read_spec(path: Path) -> Source:
    """One spec, under the path the user knows it by. Raises `OSError`, and `SpecError` for what is no text."""
    try:
        source = Source(path.as_posix(), read_text(path))
    except UnicodeDecodeError as error:
        raise SpecError((_not_text(path, error),)) from None
    if shown(path.name) != path.name:
        help = "name it with letters, digits and underscores"
        raise SpecError((_fault(source, f"a file called {shown(path.name)} cannot become a module", help),))
    return source


def shown(path: Path | str) -> str:
    """A path as it can be printed: names of files may be any bytes."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(path))


def compile_all(
    sources: Mapping[Path, Source],
    compile: Compile,
    store: Store,
    jobs: int,
    progress: Callable[[int, int], None],
) -> tuple[FileRecord, ...]:
    """The records of all specs, in the order given. Raises `SpecError` with every mistake, else `InternalError`."""
    keys = {path: spec_key(source, path.parent) for path, source in sources.items()}
    known = {path: kept for path, key in keys.items() if (kept := store.get("spec", key)) is not None}
    records = {path: from_json(kept, sources[path]) for path, kept in known.items()}
    progress(len(records), len(sources))
    faults: dict[Path, SpecError] = {}
    broken: dict[Path, InternalError] = {}
    missing = [path for path in sources if path not in records]
    for path, outcome in _compile_each(missing, sources, compile, jobs):
        match outcome:
            case FileRecord():
                records[path] = outcome
                store.put("spec", keys[path], to_json(outcome))
            case SpecError():
                faults[path] = outcome
            case InternalError():
                broken[path] = outcome
        progress(len(records) + len(faults) + len(broken), len(sources))
    if faults:
        told = {path: record.warnings for path, record in records.items()}
        told |= {path: error.diagnostics for path, error in faults.items()}
        raise SpecError(tuple(diagnostic for path in sources for diagnostic in told.get(path, ())))
    if broken:
        raise next(broken[path] for path in sources if path in broken)
    shared = tuple(clashes([(source, records[path].exports) for path, source in sources.items()]))
    if shared:
        raise SpecError(shared)
    return tuple(records[path] for path in sources)


def compile_one(source: Source, folder: Path | None, compile: Compile, store: Store) -> FileRecord:
    """The record of one spec, from the store where it is known."""
    key = spec_key(source, folder)
    kept = store.get("spec", key)
    if kept is not None:
        return from_json(kept, source)
    record = compile(source, folder)
    store.put("spec", key, to_json(record))
    return record


def attempt(compile: Compile, source: Source, folder: Path | None) -> Outcome:
    """What compiling one spec leads to. Errors are values, so that the mistakes of one spec do not hide another's."""
    try:
        return compile(source, folder)
    except (SpecError, InternalError) as error:
        return error


def _compile_each(
    paths: Sequence[Path], sources: Mapping[Path, Source], compile: Compile, jobs: int
) -> Iterator[tuple[Path, Outcome]]:
    processes = min(jobs, len(paths) // SPECS_PER_PROCESS)
    if processes <= 1:
        yield from ((path, attempt(compile, sources[path], path.parent)) for path in paths)
        return
    # Spawned, not forked: torch and the progress bar have threads, and a fork may freeze one of them mid-step.
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        running = {pool.submit(attempt, compile, sources[path], path.parent): path for path in paths}
        for future in as_completed(running):
            yield running[future], future.result()
    except BrokenProcessPool as error:
        raise InternalError("driver", "a process that compiled specs died; --jobs 1 shows which spec") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def spec_key(source: Source, folder: Path | None) -> str:
    """Everything that a generated file follows from. Any file of the folder may be one that `use` names."""
    used: dict[str, Json] = {}
    if folder and any(line.split()[:1] == ["use"] for line in source.text.splitlines()):
        used = {other.name: _file_digest(other) for other in sorted(folder.glob("*.fuse"))}
    return digest(compiler_digest(), PurePath(source.name).name, source.text, used)


def _file_digest(path: Path) -> str | None:
    """A hash of a file that `use` may name; None for one that cannot be read, which is told where it is named."""
    try:
        return sha256(read_text(path).encode()).hexdigest()
    except (OSError, UnicodeDecodeError):
        return None


def clashes(files: Sequence[tuple[Source, Sequence[str]]]) -> Iterator[Diagnostic]:
    """The mistakes of specs that are right one by one: names of a package that two of its files would bring."""
    first: dict[str, Span] = {}
    homes = {PurePath(source.name).stem: source for source, _ in files}
    for source, names in files:
        for name in names:
            span = _definition(source, name)
            if name in first:
                note = Note(f"`{name}` is first defined here", first[name])
                yield Diagnostic(f"`{name}` is defined in two files", span, (note,), "rename one of them")
            elif homes.get(name, source) is not source:
                note = Note("this is the file", Span(homes[name], 0, 0))
                yield Diagnostic(f"`{name}` is also the name of another file", span, (note,), "rename one of them")
            first.setdefault(name, span)


def _definition(source: Source, name: str) -> Span:
    found = re.search(rf"^(?:(?:op|module)\s+)?({re.escape(name)})\b", source.text, re.MULTILINE)
    return Span(source, *found.span(1)) if found else Span(source, 0, 0)


def _not_text(path: Path, error: UnicodeDecodeError) -> Diagnostic:
    """The mistake at its line; the text before it is text."""
    start = len(error.object[: error.start].decode("utf-8"))
    source = Source(path.as_posix(), error.object.decode("utf-8", errors="replace"))
    return Diagnostic("this is not UTF-8", Span(source, start, start + 1), help="save the file as UTF-8")


def _fault(source: Source, message: str, help: str) -> Diagnostic:
    return Diagnostic(message, Span(source, 0, 0), help=help)
