"""The devices that are here: which chip each is, and what it can do. The figures are in `chip`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
import triton

from fusec.runtime.select.chip import CHIPS, H200, PDL_SINCE, TMA_SINCE, Chip


@cache
def chip_of(device: torch.device) -> Chip:
    """The chip of a device: what the driver tells of it, beside the figures of its name; an H200 for want of these."""
    if device.type != "cuda":
        return H200
    about = triton.runtime.driver.active.utils.get_device_properties(device.index)
    kind, _ = kind_of(device)
    known = next((chip for chip in CHIPS.values() if chip.name == kind), H200)
    major, minor = torch.cuda.get_device_capability(device)
    capability, sms, smem = 10 * major + minor, about["multiprocessor_count"], about["max_shared_mem"]
    return replace(known, name=kind, capability=capability, sms=sms, smem=smem)


def kind_of(device: torch.device) -> tuple[str, str]:
    """What kind of device this is, and its family."""
    if device.type != "cuda":
        return device.type, device.type
    major, minor = torch.cuda.get_device_capability(device)
    return torch.cuda.get_device_name(device), f"sm_{major}{minor}"


def has_tma(device: torch.device) -> bool:
    """Whether TMA moves tiles on a CUDA device."""
    return _since(device, TMA_SINCE)


def has_pdl(device: torch.device) -> bool:
    """Whether kernels of a CUDA device may begin before the one in front of them has ended."""
    return _since(device, PDL_SINCE)


def _since(device: torch.device, first: int) -> bool:
    # Chips of other vendors count their capabilities as well.
    major, minor = torch.cuda.get_device_capability(device)
    return not torch.version.hip and 10 * major + minor >= first
