"""Whether a call is made for what it computes, or recorded for replays that the host takes no part in."""

from __future__ import annotations

import torch
from torch import Tensor


def is_recorded(x: Tensor) -> bool:
    """Whether a call with x is traced, or captured as a CUDA graph.

    Tracing is asked for first: the other question would break a traced graph.
    """
    return torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing())
