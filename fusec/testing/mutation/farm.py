"""Copies of the repository, each with a process that runs tests in it: faults are planted there alone."""

from __future__ import annotations

import compileall
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from fusec.testing.mutation import reach

COPIED = (
    *("fusec", "tests", "specs", "generated", "examples", "benchmarks", "docs"),
    *("pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
)

LOADING = 120.0
"""Seconds that loading fusec, or a module of tests, may take beside what it took without a fault."""

J = TypeVar("J")
R = TypeVar("R")


class Copy:
    """A copy of the repository, and the process that runs tests in it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    @contextmanager
    def planted(self, path: str, source: str) -> Iterator[None]:
        """Within, the module at `path` reads `source`."""
        file = self.folder / path
        before = file.read_text(encoding="utf-8")
        # Compiled modules are told by the second in which their source was written: this one has none from now on.
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()
        file.write_text(source, encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(before, encoding="utf-8")

    def run(
        self,
        tests: Sequence[str],
        allowed: Callable[[str], float],
        *,
        trace: bool = False,
        part: tuple[int, int] = (0, 1),
    ) -> Iterator[dict[str, Any]]:
        """What is told of each test, see `session`, and `{"hangs": test}` if one, or loading it, took too long.

        Without `trace` no test runs behind one that fails. `allowed` are the seconds of a test, or of a module.
        """
        process = self._started()
        assert process.stdin is not None
        process.stdin.write((json.dumps({"tests": [*tests], "trace": trace, "part": part}) + "\n").encode())
        process.stdin.flush()
        running, now, until = 0, "", time.monotonic() + LOADING
        while True:
            told = self._next(until)
            if told is None:
                self._end(running)
                until = time.monotonic() + LOADING
                yield {"hangs": now}
            elif "process" in told:
                running = told["process"]
            elif "ended" in told:
                yield told
                return
            else:
                now = told.get("begins") or told.get("collects") or now
                until = time.monotonic() + (allowed(now) if "begins" in told or "collects" in told else LOADING)
                yield told

    def stop(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            script = self.folder / "fusec" / "testing" / "mutation" / "worker.py"
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(script)],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if "FUSEC_MUTATION_ERRORS" not in os.environ else None,
            )
        return self._process

    def _next(self, until: float) -> dict[str, Any] | None:
        """What the process tells next; None if it does not until then."""
        assert self._process is not None
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return None
            read = os.read(self._process.stdout.fileno(), 1 << 16)
            if not read:
                raise RuntimeError("the process that runs tests has died")
            self._rest += read
        line, self._rest = self._rest.split(b"\n", 1)
        told: dict[str, Any] = json.loads(line)
        return told

    def _end(self, running: int) -> None:
        for end in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                end(running, signal.SIGKILL)


class Farm:
    """Copies that work at the same time."""

    def __init__(self, copies: Sequence[Copy]) -> None:
        self._copies = copies

    def each(self, jobs: Sequence[J], do: Callable[[Copy, J], R]) -> Iterator[R]:
        """`do(copy, job)` for every job, as they end."""
        idle: SimpleQueue[Copy] = SimpleQueue()
        results: SimpleQueue[tuple[R | None, BaseException | None]] = SimpleQueue()
        for copy in self._copies:
            idle.put(copy)

        def run(job: J) -> None:
            copy = idle.get()
            try:
                results.put((do(copy, job), None))
            except BaseException as error:
                results.put((None, error))
            finally:
                idle.put(copy)

        with ThreadPoolExecutor(len(self._copies)) as pool:
            for job in jobs:
                pool.submit(run, job)
            for _ in jobs:
                result, error = results.get()
                if error is not None:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise error
                yield result  # type: ignore[misc]


@contextmanager
def farm(root: Path, count: int) -> Iterator[Farm]:
    """So many copies of the repository `root`, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="fusec-mutants-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        first = folder / "0"
        _copy(root, first)
        # Tests start processes of their own, whose lines are noted as well.
        hooks = folder / "hooks"
        hooks.mkdir()
        (hooks / "sitecustomize.py").write_text(_HOOK.format(to=reach.TO, reach=str(Path(reach.__file__).resolve())))
        for name in ("fusec", "tests", "generated"):
            compileall.compile_dir(first / name, quiet=2, workers=min(count, 8))
        copies = []
        for number in range(count):
            place = folder / str(number)
            if number:
                shutil.copytree(first, place)
            copies.append(Copy(place, _environment(place, hooks)))
        try:
            yield Farm(copies)
        finally:
            for copy in copies:
                copy.stop()


_HOOK = """import os, runpy

if {to!r} in os.environ:
    runpy.run_path({reach!r})["follow_started"]()
"""


def _copy(root: Path, folder: Path) -> None:
    folder.mkdir()
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, folder / name)


def _environment(place: Path, hooks: Path) -> dict[str, str]:
    own = place.parent / f"{place.name}-own"
    own.mkdir()
    path = os.pathsep.join([str(place), str(hooks), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "PYTHONPATH": path,
        reach.OF: str(place / "fusec"),
        # A fault may leave wrong files behind: what is kept between runs, each copy keeps for itself.
        "XDG_CACHE_HOME": str(own / "cache"),
        "TRITON_CACHE_DIR": str(own / "triton"),
        "TMPDIR": str(own),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TRITON_INTERPRET": "1",
        # Kernels are interpreted, many processes at once, which are forked: no threads, and no driver.
        "CUDA_VISIBLE_DEVICES": "",
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }
