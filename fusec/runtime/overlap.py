"""Overlap: kernels of one call that begin before the one in front of them has ended.

A launch costs a few microseconds in which little runs: one kernel drains, the next one fills. Hopper can start the
programs of a kernel as soon as all those of the one before it have begun (programmatic dependent launch); they wait
inside for what they need. Every kernel of a chain waits for the one before it, at its first line or its last, so
that none ends before all earlier ones have: whoever comes behind a call waits for its last kernel alone.

The number `OVERLAP` of a kernel says how: 0, not at all; `AFTER`, it reads what the kernel before it writes; `BESIDE`,
it needs nothing of that one, only what that one has waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from fusec.runtime.launch import Launch
from fusec.runtime.product import Product

OVERLAP = "OVERLAP"
"""The argument of a kernel that says how it overlaps."""

AFTER, BESIDE = 1, 2

_FIRST_CAPABILITY = (9, 0)


def overlaps(device: torch.device) -> int:
    """The `OVERLAP` of kernels on a device: `AFTER` where launches may overlap, which they do not when interpreted."""
    if device.type != "cuda":
        return AFTER if device.type == "meta" else 0
    return AFTER if not torch.version.hip and torch.cuda.get_device_capability(device) >= _FIRST_CAPABILITY else 0


def in_turn(launches: Iterable[Launch | Product]) -> Iterator[Launch | Product]:
    """The launches of a call that are not idle, each told how it overlaps the one before it."""
    before: Launch | Product | None = None
    first = True
    for launch in launches:
        if launch.idle:
            before = None
            continue
        if isinstance(launch, Launch) and not first and launch.arguments.get(OVERLAP):
            launch = _overlapping(launch, before)
        yield launch
        before, first = launch, False


def _overlapping(launch: Launch, before: Launch | Product | None) -> Launch:
    """The launch behind another one. It is beside it only if that one lets it start after its own wait."""
    waited = isinstance(before, Launch) and before.arguments.get(OVERLAP)
    turn = BESIDE if launch.beside and waited else AFTER
    options = [{**way, "launch_pdl": True} for way in launch.options]
    return replace(launch, arguments={**launch.arguments, OVERLAP: turn}, options=options)
