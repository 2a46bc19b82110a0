"""Processes that do jobs for us and may hang or die at it.

A worker is a Python module that is run: it reads one JSON job a line and writes one JSON answer a line, see `answer`.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""Settings of processes that share the cores: threads on small tensors spend most of their time waiting in a loop."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A job without an answer, and why: the worker took too long, or it died."""

    reason: str


def run_jobs(
    module: str,
    jobs: Sequence[Any],
    workers: int,
    limit: float,
    done: Callable[[Any], None],
    environment: Mapping[str, str],
) -> list[Any]:
    """The answers of `module` to all jobs (plain JSON values), in order; a job without an answer gives `Failed`.

    At most `workers` processes run at once, and each job may take `limit` seconds. `done` hears of every answer as it
    comes, from several threads. `environment` is that of the workers.
    """
    with worker_pool(module, workers, environment) as pool:
        return pool.do(jobs, limit, lambda _, answer: done(answer))


class Pool:
    """Workers that wait for their next jobs; see `worker_pool`."""

    def __init__(self, workers: Sequence[_Worker]) -> None:
        self._workers = workers

    def do(
        self, jobs: Sequence[Any], limit: float, done: Callable[[Any, Any], None], at_once: int | None = None
    ) -> list[Any]:
        """The answers to all jobs, as `run_jobs` gives them, by `at_once` of the workers, else by all of them.

        `done` hears of every job and its answer.
        """
        chosen = self._workers[:at_once]
        given_up = threading.Event()
        idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in chosen:
            idle.put(worker)

        def do(job: Any) -> Any:
            worker = idle.get()
            try:
                answer = worker.ask(job, limit)
            finally:
                idle.put(worker)
            if not given_up.is_set():
                done(job, answer)
            return answer

        with ThreadPoolExecutor(len(chosen)) as pool:
            running = [pool.submit(do, job) for job in jobs]
            try:
                return [each.result() for each in running]
            except BaseException:
                # An interrupt: what is said from now on is said by workers that were ended.
                given_up.set()
                pool.shutdown(wait=False, cancel_futures=True)
                while left := [each for each in running if not each.done()]:
                    for worker in chosen:
                        worker.end()
                    wait(left, timeout=0.1)
                raise


@contextmanager
def worker_pool(module: str, workers: int, environment: Mapping[str, str]) -> Iterator[Pool]:
    """Workers that run `module`, at least one, for as long as this is entered; each is started at its first job."""
    with tempfile.TemporaryDirectory(prefix="fusec-pool-", ignore_cleanup_errors=True) as folder:
        pool = [_Worker(module, Path(folder) / str(number), environment) for number in range(max(1, workers))]
        try:
            yield Pool(pool)
        finally:
            for worker in pool:
                worker.stop()


def answer(do: Callable[[Any, Path], Any]) -> None:
    """A worker's main: `do(job, folder)` for every job; the folder is its own, to write into.

    Nothing but answers reaches the real standard output; all that is printed goes to the standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # What was loaded stays: looking for garbage there takes a tenth of the time of jobs.
    gc.freeze()
    gc.enable()
    for line in sys.stdin:
        print(json.dumps(do(json.loads(line), Path.cwd())), file=answers, flush=True)


class _Worker:
    """A process that is started when first asked, and again after it was ended or died."""

    def __init__(self, module: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._module = module
        self._folder = folder
        self._environment = environment
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] | None = None

    def ask(self, job: Any, limit: float) -> Any:
        process = self._process or self._start()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _end(process)

        timer = threading.Timer(limit, expire)
        timer.start()
        try:
            line = _exchange(process, json.dumps(job))
        finally:
            timer.cancel()
        if line.endswith("\n"):
            return json.loads(line)
        reason = f"took more than {limit:.0f} s" if expired.is_set() else self._death(process)
        self.stop()
        return Failed(reason)

    def end(self) -> None:
        """End the process, if there is one, with all that it started; whoever waits for its answer sees that."""
        if self._process:
            _end(self._process)

    def stop(self) -> None:
        """End the process and leave nothing of it behind."""
        with self._lock:
            process, self._process = self._process, None
        if process:
            _end(process)
            process.wait()
            for pipe in (process.stdin, process.stdout, self._errors):
                if pipe:
                    pipe.close()

    def _start(self) -> subprocess.Popen[str]:
        self._folder.mkdir(exist_ok=True)
        self._errors = (self._folder / "errors").open("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=self._folder,
            env={**ONE_THREAD, **self._environment, "PYTHONPATH": _path(self._environment.get("PYTHONPATH"))},
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        return self._process

    def _death(self, process: subprocess.Popen[str]) -> str:
        code = process.wait()
        cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        assert self._errors is not None
        self._errors.seek(0)
        last = [line for line in self._errors.read().splitlines() if line.strip()][-1:]
        return ": ".join([f"died with {cause}", *last])


def _exchange(process: subprocess.Popen[str], job: str) -> str:
    """The line a worker answers with; no whole line when it is gone."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(job + "\n")
        process.stdin.flush()
        return process.stdout.readline()
    except (OSError, ValueError):
        return ""


def _end(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _path(given: str | None) -> str:
    """The search path that finds this very package in the worker too."""
    return os.pathsep.join([str(Path(__file__).resolve().parents[1]), *filter(None, [given])])


if __name__ == "__main__":
    # What a worker loads stays: looking for garbage meanwhile takes a fifth of the time of that.
    gc.disable()
    runpy.run_module(sys.argv[1], run_name="__main__")
