"""Chips: which devices have what came with Hopper, the copy engine and kernels that overlap."""

from __future__ import annotations

import torch

_HOPPER = (9, 0)


def since_hopper(device: torch.device) -> bool:
    """Whether a CUDA device is a chip of NVIDIA from Hopper on. Those of others count their capabilities as well."""
    return not torch.version.hip and torch.cuda.get_device_capability(device) >= _HOPPER
