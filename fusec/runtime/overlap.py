"""Overlap: kernels of one call that begin before the one in front of them has ended.

A launch costs about a microsecond in which little runs: one kernel drains, the next one fills. Hopper can start the
programs of a kernel as soon as all those of the one before it have begun (programmatic dependent launch). They wait at
their first line until that one has ended and what it wrote can be read; so each kernel of a call ends after all earlier
ones, and whoever comes behind the call waits for its last kernel alone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

import torch

from fusec.runtime.launch import Launch
from fusec.runtime.product import Product
from fusec.runtime.select.present import has_pdl

OVERLAP = "OVERLAP"
"""The argument of a kernel that says whether it waits, and lets the next one start."""

_FIRST_DRIVER = 12030
"""The first version of the driver that captures such launches in graphs: 1000 times the major one, and 10 the minor."""


def overlaps(device: torch.device) -> bool:
    """Whether kernels on a device may overlap; those that are planned for none, on `meta`, are taken to."""
    if device.type != "cuda":
        return device.type == "meta"
    return has_pdl(device) and _driver() >= _FIRST_DRIVER


@cache
def _driver() -> int:
    """The version of CUDA that the driver is for; 0 where it cannot be asked."""
    version = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return version.value


def in_turn(launches: Iterable[Launch | Product]) -> Iterator[Launch | Product]:
    """The launches of a call that are not idle; one that waits for those before it may begin early.

    The second launch of one kernel does not: it makes the tiles that the first one left, with all of the chip.
    """
    before: Launch | Product | None = None
    for launch in launches:
        if launch.idle:
            continue
        yield _early(launch, before) if before is not None and isinstance(launch, Launch) else launch
        before = launch


def _early(launch: Launch, before: Launch | Product) -> Launch:
    again = isinstance(before, Launch) and launch.kernel is before.kernel
    if again or not launch.arguments.get(OVERLAP):
        return launch
    return replace(launch, options=[{**each, "launch_pdl": True} for each in launch.options])
