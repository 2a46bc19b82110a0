"""Times a model in every case by every candidate, by turns: wall time of a call, and that of a replay as a CUDA graph.

    python -m benchmarks.models.qwen --out qwen.json [--layers 4] [--cases "decode 1,prefill 512"] [--who fusec,...]

What compiles takes a minute or two for each case of a whole model. `--who "HF eager,fusec,fusec fp8,Liger"` does
without it, a run of fewer `--layers` takes less, and once `--seconds` are over it is left out, and told.

Weights are random, of bf16 and shared by all candidates. Prompts come without a cache and ask for the last token's
logits; tokens come behind 1024 others, whose keys and values lie in a cache that is written in place. Rounds are
interleaved, and the median is told. Errors are of logits behind a prompt, held to the same model in f32.
`--tiny` tries all of it in seconds on any device, for its own sake: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from transformers import AttentionInterface, AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from benchmarks.cold import called, captured
from benchmarks.models.candidates import BASELINE, CANDIDATES, OWN_GRAPHS, SLOW, Forward
from benchmarks.models.cases import CASES, TINY, Case, arguments

SMALL = {
    **{"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "vocab_size": 128},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64},
}


WITHOUT_MASKS = "causal_sdpa"
"""SDPA as Hugging Face calls it, under a name of which it makes no masks: none is needed here, and in a graph one would
be made whether or not, which takes the fast kernels of attention away from everybody."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    layers: int | None
    cases: tuple[Case, ...]
    who: tuple[str, ...]
    rounds: int
    seconds: float
    device: torch.device
    tiny: bool
    out: Path | None


def main(name: str, module: str, config: Callable[..., Any]) -> None:
    """Measure the model whose config is made by `config`, and print a table."""
    asked = _asked(name)
    name = f"{name}, {asked.layers} layers" if asked.layers else name
    began = time.perf_counter()
    model = _model(config, asked)
    results: dict[str, Any] = {}
    report = {"about": _about(module, asked), "models": {name: results}}
    forwards: dict[str, Forward] = {}
    errors = _errors(model, asked, forwards)
    report["errors of logits"] = {name: errors}
    print("error of logits against f32:", *(f"{who} {error:.2e}" for who, error in errors.items()), sep="\n  ")
    for case in asked.cases:
        is_late = time.perf_counter() - began > asked.seconds
        results[case.name] = _measured(case, model, asked, forwards, is_late)
        print(_table(case.name, results[case.name]), flush=True)
        if asked.out:
            asked.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{time.perf_counter() - began:.0f} s")


def _asked(name: str) -> Asked:
    parser = argparse.ArgumentParser(description=f"{name}: {__doc__}", formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--layers", type=int, help="so many of them, where all take too long")
    parser.add_argument("--cases", default="", help="some alone, with commas between")
    parser.add_argument("--who", default="", help="some candidates alone, with commas between")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=400, help="after which nothing is compiled any more")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    every = {case.name: case for case in (TINY if given.tiny else CASES)}
    cases = _chosen(parser, given.cases, every)
    who = _chosen(parser, given.who, {each: each for each in CANDIDATES})
    device = torch.device(given.device)
    return Asked(given.layers, cases, who, given.rounds, given.seconds, device, given.tiny, given.out)


def _chosen(parser: argparse.ArgumentParser, words: str, every: Mapping[str, Any]) -> tuple[Any, ...]:
    names = [word.strip() for word in words.split(",")] if words else [*every]
    if unknown := [each for each in names if each not in every]:
        parser.error(f"there is no {unknown[0]!r}, but {', '.join(every)}")
    return tuple(every[each] for each in names)


def _model(config: Callable[..., Any], asked: Asked) -> Any:
    sizes: dict[str, Any] = dict(SMALL) if asked.tiny else {}
    if asked.layers:
        sizes["num_hidden_layers"] = asked.layers
    torch.manual_seed(0)
    with asked.device:
        made = AutoModelForCausalLM.from_config(config(**sizes), dtype=torch.bfloat16)
    AttentionInterface.register(WITHOUT_MASKS, sdpa_attention_forward)
    made.config._attn_implementation = WITHOUT_MASKS
    return made.to(asked.device).eval()


def _errors(model: Any, asked: Asked, forwards: dict[str, Forward]) -> dict[str, float]:
    """How far logits of the candidates that do not compile are from those of f32."""
    given = {**arguments(asked.cases[-1] if asked.tiny else Case("prefill", 128), model), "logits_to_keep": 0}
    with torch.no_grad():
        truth = _in_f32(model, given)
        found = {}
        for who in asked.who:
            if who not in SLOW:
                with _told(f"{who} on a prompt"):
                    forwards[who] = CANDIDATES[who](model)
                    found[who] = float((forwards[who](**given).logits.float() - truth).norm() / truth.norm())
    return found


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Within, somebody's failure is told, and no reason to lose the others."""
    try:
        yield
    except Exception as error:
        print(f"{what} FAILED: {type(error).__name__}: {str(error)[:300]}", flush=True)


def _in_f32(model: Any, given: Mapping[str, Any]) -> torch.Tensor:
    """Logits by a copy of the weights in f32, which is gone afterwards."""
    logits: torch.Tensor = copy.deepcopy(model).float()(**given).logits
    return logits


def _measured(
    case: Case, model: Any, asked: Asked, forwards: Mapping[str, Forward], is_late: bool
) -> dict[str, dict[str, float]]:
    """Milliseconds of a call, and of a replay, by who computes."""
    given = arguments(case, model)
    calls: dict[str, Callable[[], Any]] = {}
    for who in asked.who:
        if who in SLOW and is_late:
            print(f"{case.name}: {who} is left out, time is up")
            continue
        with _told(f"{case.name}: {who}"):
            call = _call(forwards.get(who) or CANDIDATES[who](model), given)
            for _ in range(3):
                call()
            calls[who] = call
    found = {"wall ms": _interleaved({who: _wall(call, asked.device) for who, call in calls.items()}, asked.rounds)}
    if asked.device.type == "cuda":
        replays: dict[str, Callable[[], Any]] = {}
        for who, call in calls.items():
            with _told(f"{case.name}: {who} as a graph"):
                replays[who] = call if who in OWN_GRAPHS else captured(call).replay
        found["graph ms"] = _interleaved({who: _on_device(replay) for who, replay in replays.items()}, asked.rounds)
    return found


def _call(forward: Forward, given: Mapping[str, Any]) -> Callable[[], Any]:
    def call() -> Any:
        with torch.no_grad():
            return forward(**given).logits

    return call


def _wall(call: Callable[[], Any], device: torch.device) -> Callable[[], float]:
    def timed() -> float:
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        return (time.perf_counter() - start) * 1e3

    return timed


def _on_device(call: Callable[[], Any]) -> Callable[[], float]:
    def timed() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))

    return timed


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _interleaved(timers: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each; in every round all are called once, in an order of its own."""
    samples: dict[str, list[float]] = {who: [] for who in timers}
    order = random.Random(0)
    for _ in range(rounds):
        for who in order.sample([*timers], len(timers)):
            samples[who].append(timers[who]())
    return {who: round(statistics.median(values), 4) for who, values in samples.items()}


def _table(case: str, found: Mapping[str, Mapping[str, float]]) -> str:
    lines = [case]
    for who in found["wall ms"]:
        cells = []
        for kind, times in found.items():
            base = times.get(BASELINE)
            if who in times:
                cells.append(f"{times[who]:9.3f} {kind}" + (f" ({base / times[who]:.2f}x)" if base else ""))
        lines.append(f"  {who:32} {'  '.join(cells)}")
    return "\n".join(lines)


def _about(module: str, asked: Asked) -> dict[str, object]:
    device = torch.cuda.get_device_name() if asked.device.type == "cuda" else asked.device.type
    packages = ("torch", "triton", "transformers", "liger_kernel")
    return {
        "command": called(module),
        "device": device,
        **{package: _version(package) for package in packages},
        "python": platform.python_version(),
        "rounds": asked.rounds,
        "layers": asked.layers or "all",
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
