"""The process in which `fusec tune` runs calls. What breaks it for good, an access out of bounds say, ends it."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache, partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import torch

from fusec.commands.timing import CACHE_BYTES, Call, capture, device_times
from fusec.diagnostics import Source
from fusec.driver.compile import Compiled, compile_source
from fusec.driver.tuning.race import race
from fusec.driver.tuning.search import from_plain
from fusec.interpreter import exact, interpreting
from fusec.ir.arguments import layout_arguments
from fusec.numerics.envelope import envelope
from fusec.numerics.interval import Interval
from fusec.runtime import Op, Plan, TuningFailedError, frozen_weights
from fusec.runtime.select.call import Tiled
from fusec.runtime.select.run import outline as asked
from fusec.runtime.select.tables import BY_RULE, Choice
from fusec.testing.buffers import poisoned_allocations
from fusec.testing.cases import Argument, Case
from fusec.testing.compare import within
from fusec.testing.sample_arguments import sample_arguments
from fusec.workers import answer

TURN = 2e4
"""Microseconds that the repetitions of one turn may take together."""

REPEATS = 15
"""The most repetitions of a turn, the median of which counts."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A call that is tuned: the op of a built package, what it computes, and its arguments."""

    compiled: Compiled
    function: Callable[..., Any]
    op: Op
    arguments: dict[str, Argument]
    known: dict[int, dict[str, Interval]] = field(default_factory=dict)
    held: list[tuple[Plan, ...]] = field(default_factory=list)

    def bounds(self) -> Iterator[dict[str, Interval]]:
        """The bound of each form of the op, computed when it is first asked for."""
        for place, form in enumerate(self.compiled.program.forms):
            if place not in self.known:
                self.known[place] = envelope(form, self.arguments)
            yield self.known[place]

    def run(self, choice: Choice | None) -> dict[str, torch.Tensor]:
        """Outputs and written tensors by name, after a call that takes this choice."""
        with self.op.forced(choice or BY_RULE), poisoned_allocations():
            returned = self.function(**self.arguments)
            worst = max((plan.spills for plan in self.op.plans), default=0)
        if choice is not None and worst:
            raise MemoryError(f"it spills {worst} bytes of registers")
        results = returned if isinstance(returned, tuple) else (returned,)
        named = {o.name: result for o, result in zip(self.compiled.graph.outputs, results, strict=False)}
        written = {t.name: self.arguments[t.name] for t in self.compiled.graph.tensors if t.mutable}
        return named | {name: tensor for name, tensor in written.items() if isinstance(tensor, torch.Tensor)}

    def replay(self, choice: Choice | None) -> Call:
        """The call as a CUDA graph, which keeps to the choice. Raises `RuntimeError` where it cannot be captured."""
        with self.op.forced(choice or BY_RULE), frozen_weights():
            replay = capture(partial(self.function, **self.arguments))
            # A graph does not keep alive what belongs to the plan that was captured.
            self.held.append(self.op.plans)
        if replay is None:
            raise RuntimeError("it cannot be captured as a CUDA graph")
        return replay


Turn: TypeAlias = Callable[[], float]
"""Times a call once more."""

Clock: TypeAlias = Callable[[Subject, Choice | None], Turn]
"""Makes a call with a choice ready to be timed. Raises `RuntimeError` where it cannot be."""


def do(job: dict[str, Any], _folder: Path) -> dict[str, Any]:
    """The answer to one job, or why there is none: see `outline`, `attempt` and `measure`."""
    with exact():
        try:
            return {"failure": None, **_answer(job)}
        except Exception as error:
            _still_works()
            first = str(error).strip().partition("\n")[0]
            return {"failure": f"{type(error).__name__}: {first}"}
        finally:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _answer(job: Mapping[str, Any]) -> dict[str, Any]:
    subject = subject_of(job)
    match job["do"]:
        case "outline":
            return {"outline": outline(subject)}
        case "try":
            return attempt(subject, from_plain(job["choice"]))
        case "measure":
            choices = [from_plain(choice) for choice in job["choices"]]
            return measure(subject, choices, cold, job["rounds"])
        case other:
            raise ValueError(f"there is no job {other!r}")


def outline(subject: Subject) -> dict[str, Any]:
    """The plans that are possible for a call, and the tiles that each asks for; nothing is run."""
    arguments = [subject.arguments[name] for name in layout_arguments(subject.compiled.graph)]
    rules = subject.op.decide(*arguments, plan=BY_RULE)
    about = asked(rules.call)
    plans = {
        name: [
            _tile(tile)
            for step in subject.op.decide(*arguments, plan=name).steps
            if step.plan == name
            for tile in step.tiled
        ]
        for name in about.possible
    }
    return {"rows": about.rows, "case": about.case, "by_rule": rules.tuned, "plans": plans}


def attempt(subject: Subject, choice: Choice | None) -> dict[str, Any]:
    """One call that takes this choice, and the end of it: whatever it does to this process it does now."""
    subject.run(choice)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return {}


def measure(subject: Subject, choices: Sequence[Choice | None], clock: Clock, rounds: int) -> dict[str, Any]:
    """The competition of the choices whose results lie within the bound.

    Raises `TuningFailedError` where the first of them, which is that of the rules, is not among those.
    """
    turns: dict[int, Turn] = {}
    refused: dict[int, str] = {}
    for at, choice in enumerate(choices):
        try:
            within(subject.run(choice), subject.bounds())
            turns[at] = clock(subject, choice)
        except (AssertionError, MemoryError, RuntimeError) as error:  # Wrong, it spills, or it does not run.
            _still_works()
            refused[at] = str(error)
    if 0 in refused:
        raise TuningFailedError(f"{subject.op.name}, as the rules have it: {refused[0]}")
    result = race(list(turns), lambda at: turns[at](), rounds)
    return {"winner": result.winner, "times": result.times, "noise": result.noise, "refused": refused}


def cold(subject: Subject, choice: Choice | None) -> Turn:
    """Turns of a replay with nothing of its own in the cache: microseconds, the median of a few times."""
    replay = subject.replay(choice)

    def turn() -> float:
        (once,) = device_times(replay, _flush().zero_, 1)
        return median(device_times(replay, _flush().zero_, max(1, min(REPEATS, int(TURN / max(once, 1.0))))))

    return turn


def subject_of(job: Mapping[str, Any]) -> Subject:
    """The call that a job is about. The last one is kept: jobs about the same call come in a row."""
    return _subject(job["package"], job["module"], job["spec"], job["op"], json.dumps(job["case"]))


@lru_cache(maxsize=1)
def _subject(package: str, module: str, spec: str, name: str, plain: str) -> Subject:
    compiled = next(one for one in _compiled(spec) if one.graph.name == name)
    loaded = _module(Path(package), module)
    op = next(value for value in vars(loaded).values() if isinstance(value, Op) and value.name == name)
    device = torch.device("cpu" if interpreting() else "cuda")
    arguments = sample_arguments(compiled.graph, Case(**json.loads(plain)), device)
    return Subject(compiled, getattr(loaded, name), op, arguments)


def _tile(shaped: Tiled) -> dict[str, Any]:
    sizes = {each.name: getattr(shaped.tile, each.name) for each in fields(shaped.tile)}
    options = sizes.pop("options", ({},))
    return {"rule": shaped.rule, "facts": shaped.facts, "sizes": sizes, "options": options[0]}


def _still_works() -> None:
    """Raises what broke the device for this process, if anything did."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@cache
def _flush() -> torch.Tensor:
    return torch.empty(CACHE_BYTES, dtype=torch.uint8, device="cuda")


@cache
def _compiled(spec: str) -> tuple[Compiled, ...]:
    path = Path(spec)
    return compile_source(Source(path.name, path.read_text(encoding="utf-8")), path.parent)


def _module(package: Path, name: str) -> Any:
    if str(package.parent) not in sys.path:
        sys.path.insert(0, str(package.parent))
    return import_module(f"{package.name}.{name}")


if __name__ == "__main__":
    answer(do)
