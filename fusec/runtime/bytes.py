"""Numbers of 8 bits that come as tensors of bytes: a `uint8` tensor stands for one of the 8-bit floats declared.

Where both are, it stands for the one of other tensors that are declared alike, else for e4m3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from fusec.runtime.errors import UnsupportedDtypeError

T = TypeVar("T")

Tensors = tuple[torch.Tensor | None, ...]

OF_8_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)


def has_bytes(tensors: Tensors) -> bool:
    """Whether some tensor is one of bytes."""
    return any(tensor is not None and tensor.dtype == torch.uint8 for tensor in tensors)


def of_bytes(result: Callable[[Tensors], T], tensors: Tensors, names: Sequence[str]) -> T:
    """The result of tensors, called by `names`, of which those that are refused as bytes are views of another type."""
    try:
        return result(tensors)
    except UnsupportedDtypeError as error:
        place, options = _refused(error, tensors, names)
        for dtype in options:
            try:
                return of_bytes(result, _viewed(tensors, place, dtype), names)
            except UnsupportedDtypeError:
                continue
        raise


def typed(tensors: Tensors, views: Tensors) -> dict[int, torch.dtype]:
    """The places of tensors of bytes of which there are views, and the types of these."""
    return {
        place: view.dtype
        for place, (tensor, view) in enumerate(zip(tensors, views, strict=True))
        if tensor is not None and view is not None and tensor.dtype != view.dtype
    }


def _refused(error: UnsupportedDtypeError, tensors: Tensors, names: Sequence[str]) -> tuple[int, list[torch.dtype]]:
    """The tensor of bytes that an error is about, and the types that it may stand for."""
    expected: Any = error.expected
    if error.actual != torch.uint8 or not isinstance(expected, tuple) or error.argument not in names:
        return 0, []
    return names.index(error.argument), [dtype for dtype in OF_8_BITS if dtype in expected]


def _viewed(tensors: Tensors, place: int, dtype: torch.dtype) -> Tensors:
    return tuple(
        tensor.view(dtype) if tensor is not None and number == place else tensor
        for number, tensor in enumerate(tensors)
    )
