"""A folder of specs to a package: compiled, gated, verified, and written when nothing is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TypeAlias

from fusec import __version__
from fusec.codegen import package
from fusec.codegen.gate import Verdict
from fusec.codegen.index import index
from fusec.driver.figures import measure
from fusec.driver.record import FileRecord
from fusec.driver.specs import Compiler, compile_all, read_specs
from fusec.driver.store import Store
from fusec.runtime.select.chip import Target


class Phase(Enum):
    """What a build is doing."""

    COMPILE = "compiling specs"
    GATE = "measuring kernels"
    VERIFY = "verifying ops"


Progress: TypeAlias = Callable[[Phase, int, int], None]
"""Hears how many of how many are done."""


@dataclass(frozen=True, slots=True)
class Verification:
    """An op run against its reference: on what, the worst error as a part of its bound, or what went wrong.

    `errors` has the same for every kernel that ran, by name, or None where a result it had a part in was wrong;
    `not_run` are the others. `bounded` is the share of elements of results that had a bound, with ordinary arguments.
    """

    op: str
    where: str
    worst: float | None
    failure: str | None = None
    errors: Mapping[str, float | None] = field(default_factory=dict)
    not_run: tuple[str, ...] = ()
    bounded: float | None = None


Verify: TypeAlias = Callable[
    [Path, Sequence[tuple[Path, FileRecord]], int, Callable[[int, int], None], Store], tuple[Verification, ...]
]
"""Runs the ops of the package in a folder against their specs, which come with their files, in so many processes.

What is known of them may be in the store.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """How to build: for which chips, with how many processes, from which store; `check` only compares.

    When `strict`, a kernel that spills is not built.
    """

    targets: tuple[Target, ...] = ()
    jobs: int = 1
    check: bool = False
    strict: bool = False
    store: Store = field(default_factory=lambda: Store(None))


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a build, maybe a `strict` one. `changes` says what was written, or with `check` what would be."""

    files: tuple[FileRecord, ...]
    verdicts: Mapping[str, tuple[Verdict, ...]]
    verifications: tuple[Verification, ...]
    changes: package.Changes
    strict: bool = False
    gated: bool = False
    """Whether kernels were compiled."""

    @property
    def failures(self) -> tuple[str, ...]:
        """Every reason not to write the package, a line each."""
        gated = self._told(lambda verdict: self.strict or not verdict.only_spills)
        wrong = (f"{check.op} on {check.where}: {check.failure}" for check in self.verifications if check.failure)
        return (*gated, *wrong, *(self._unseen() if self.strict else ()))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Kernels that are right and slower than they should be, and those not compiled or not run, a line each."""
        return () if self.strict else (*self._told(lambda verdict: verdict.only_spills), *self._unseen())

    @property
    def not_compiled(self) -> dict[str, tuple[str, ...]]:
        """By op, the kernels that the gate should have compiled, and found no call for."""
        found: dict[str, tuple[str, ...]] = {}
        for op in (op for record in self.files for op in record.ops):
            known = {verdict.kernel for verdict in self.verdicts.get(op.name, ())}
            kernels = dict.fromkeys(kernel for plan in op.plans for kernel in plan.kernels)
            found[op.name] = tuple(kernel for kernel in kernels if kernel not in known) if self.gated else ()
        return found

    def _unseen(self) -> tuple[str, ...]:
        checks = (check for check in self.verifications if check.not_run and not check.failure)
        return (
            *(f"{op}: not compiled: {', '.join(kernels)}" for op, kernels in self.not_compiled.items() if kernels),
            *(f"{check.op} on {check.where}: not run: {', '.join(check.not_run)}" for check in checks),
        )

    def _told(self, wanted: Callable[[Verdict], bool]) -> tuple[str, ...]:
        return tuple(
            f"{op}: {verdict.label} on {verdict.target}: {verdict.failure}"
            for op, verdicts in self.verdicts.items()
            for verdict in verdicts
            if verdict.failure and wanted(verdict)
        )


def silent(_phase: Phase, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def build_folder(
    specs: Path,
    out: Path,
    compiler: Compiler,
    options: Options,
    verify: Verify | None = None,
    progress: Progress = silent,
    waiting: Callable[[str], None] = lambda _: None,
) -> Report:
    """Build every spec of the folder `specs`, or the one file it names, into the package folder `out`.

    Nothing is written when a spec is wrong, a kernel fails the gate or an op its verification (`Report.failures`).
    Raises `SpecError` with the mistakes of all specs, `InternalError`, `package.PackageError` and `OSError`.
    """
    sources = read_specs(specs)
    if not options.check:
        package.require_place(out)
    files = compile_all(sources, compiler.file, options.store, options.jobs, partial(progress, Phase.COMPILE))
    contents = package_files(files)
    changes = package.compare(out, contents)
    verdicts = measure(files, compiler, options.targets, options.store, options.jobs, partial(progress, Phase.GATE))
    verifications: tuple[Verification, ...] = ()
    if verify:
        with tempfile.TemporaryDirectory(prefix="fusec-verify-") as folder:
            staged = Path(folder) / out.resolve().name
            package.write(staged, contents)
            pairs = tuple(zip(sources, files, strict=True))
            verifications = verify(staged, pairs, options.jobs, partial(progress, Phase.VERIFY), options.store)
    report = Report(files, verdicts, verifications, changes, options.strict, bool(options.targets))
    if not options.check and not report.failures:
        package.write(out, contents, waiting)
    return report


def package_files(files: Sequence[FileRecord]) -> dict[str, str]:
    """The package as file names and their texts."""
    filled = [record for record in files if record.ops]
    modules = {f"{record.module}.py": record.text for record in filled}
    names = {record.module: record.exports for record in filled}
    others = {**modules, "py.typed": ""}
    return {**others, package.INDEX: index(names, __version__) + package.listing(others)}
