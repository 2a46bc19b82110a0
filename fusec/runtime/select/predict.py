"""Predictions: the time of every launch of a planned call, by the time model, beside what it moves and multiplies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch

from fusec.runtime.eight_bits import copies
from fusec.runtime.launch import Launch
from fusec.runtime.overlap import OVERLAP
from fusec.runtime.product import Product
from fusec.runtime.select.call import Call, Tiled
from fusec.runtime.select.chip import Chip
from fusec.runtime.select.run import Decision, Taken
from fusec.runtime.select.tiles import Contraction, GemmTile, Wave
from fusec.runtime.select.time_model import Time, gemm_time, least_us, product_time, rows_time, wave_time
from fusec.runtime.traffic.count import Traffic, traffic

SKINNY = "skinny_tile"
"""The rule of swap-AB: dots share the columns of its tiles."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One launch: its microseconds, by the model and at `least`, and why.

    `hbm_bytes` are those of memory, each once, `sm_bytes` those that programs load and store; `flops` are of products.
    `waves` are the programs for each that runs at once. The `bound` is memory, cache, tensor core or latency.
    """

    us: float
    least_us: float
    hbm_bytes: int
    sm_bytes: int
    flops: int
    waves: float
    bound: str


def predict(decision: Decision) -> tuple[tuple[Prediction, ...], ...]:
    """For each step of a planned call the prediction for each of its launches."""
    dtypes, sizes = decision.dtypes, _sizes(decision.call)
    found: list[tuple[Prediction, ...]] = []
    before: Launch | Product | None = None
    for step in decision.steps:
        each = []
        for launch in step.launches:
            each.append(_predict(launch, before, step, decision.call, dtypes, sizes))
            before = launch
        found.append(tuple(each))
    return tuple(found)


def _sizes(call: Call) -> dict[str, int]:
    """The bytes of every buffer; what is repeated along an axis is there once."""
    found = {name: _bytes(tensor) for name, tensor in call.tensors.items() if tensor is not None}
    return found | {name: buffer.bytes for name, buffer in {**call.outputs, **call.workspaces}.items()}


def _bytes(tensor: torch.Tensor) -> int:
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return prod(size for size, stride in steps if stride) * tensor.element_size()


def _predict(
    launch: Launch | Product,
    before: Launch | Product | None,
    step: Taken,
    call: Call,
    dtypes: Mapping[str, torch.dtype],
    sizes: Mapping[str, int],
) -> Prediction:
    chip, moved = call.chip, traffic(launch, dtypes)
    if launch.idle:
        return Prediction(0.0, 0.0, 0, 0, 0, 0.0, "latency")
    touched = (*moved.read.items(), *moved.written.items())
    unique = sum(min(count, sizes.get(name, count)) for name, count in touched)
    time = _time(launch, step, moved, unique, chip)
    least = least_us(unique, moved.flops, *_operands(launch, step, dtypes), chip)
    waves = 0.0
    if isinstance(launch, Launch):
        waves = prod(launch.grid) / (chip.sms * max(chip.warps // launch.options[0].get("num_warps", 4), 1))
    us = _launch_us(launch, before, chip) + time.us
    return Prediction(us, least, unique, moved.bytes, moved.flops, waves, time.bound)


def _launch_us(launch: Launch | Product, before: Launch | Product | None, chip: Chip) -> float:
    """What passes until a launch runs: less where it begins before the one in front of it has ended."""
    if isinstance(launch, Product) and copies(launch):
        return 2 * chip.launch_us
    if not isinstance(launch, Launch) or not isinstance(before, Launch):
        return chip.launch_us
    again = launch.kernel is before.kernel
    return chip.overlapped_us if launch.arguments.get(OVERLAP) and not again else chip.launch_us


def _time(launch: Launch | Product, step: Taken, moved: Traffic, unique: int, chip: Chip) -> Time:
    if isinstance(launch, Product):
        return product_time(launch.work, unique, chip, bool(launch.in_8_bits))
    warps, programs = launch.options[0].get("num_warps", 4), prod(launch.grid)
    if moved.flops and step.tiled:
        found = _tiled(launch, step.tiled[0], unique, chip)
        if found is not None:
            return found
    time = rows_time(programs, warps, moved.bytes, unique, chip)
    return Time(chip.ramp_us + time.us, time.bound) if step.plan.startswith("gemv") else time


def _tiled(launch: Launch, tiled: Tiled, unique: int, chip: Chip) -> Time | None:
    """A launch whose tiles a rule made."""
    contraction, tile = Contraction(**tiled.facts), tiled.tile
    assert isinstance(tile, GemmTile)
    if launch.maps:
        return wave_time(contraction, _wave(launch, tile), unique, chip)
    time = gemm_time(contraction, tile, chip, tiled.rule == SKINNY)
    memory = chip.ramp_us + unique / chip.copy_bytes_per_us
    return Time(memory, "memory") if time is not None and memory > time.us else time


def _wave(launch: Launch, tile: GemmTile) -> Wave:
    """The wave that a launch makes: its tiles may be those of the rule, or these cut in four; in roles they are not."""
    told = {name: value for name, value in launch.arguments.items() if value is not None}
    down, across = int(told.get("DOWN", 1)), int(told.get("ACROSS", 1))
    size = tile.block_m // down, tile.block_n // across, tile.block_k
    begin, end, group = int(told["begin"]), int(told["end"]), int(told["GROUP"])
    options = tile.options if launch.twin else tuple(map(dict, launch.options))
    return Wave(*size, begin, end, prod(launch.grid), options, group, down, across)


def _operands(launch: Launch | Product, step: Taken, dtypes: Mapping[str, torch.dtype]) -> tuple[int, bool]:
    """The bytes of the widest operand of a product, and whether it is rounded to tf32."""
    if isinstance(launch, Product):
        return max(dtypes[launch.a.name].itemsize, dtypes[launch.b.name].itemsize), launch.tf32
    facts = step.tiled[0].facts if step.tiled else {}
    return int(facts.get("itemsize", 2)), bool(facts.get("tf32"))


def total_us(decision: Decision) -> float:
    """Microseconds of a planned call."""
    return sum(each.us for step in predict(decision) for each in step)
