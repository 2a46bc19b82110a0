"""How exactly the vendor's library adds up a product: as the language says, whatever the process has set for itself.

To cuBLASLt, called directly, the precision is an argument (`cublas_lt.py`). PyTorch keeps it as settings of the whole
process. They are put right around each product that PyTorch makes and put back after it, one thread at a time;
meanwhile products of others are computed more exactly than they asked for, never less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import RLock
from typing import Any, TypeAlias, TypeVar

import torch

R = TypeVar("R")

_lock = RLock()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of PyTorch: how to read and write it, and what it has to be."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    wanted: Any


Settings: TypeAlias = tuple[Setting, ...]


def settings(dtype: torch.dtype, tf32: bool) -> Settings:
    """What makes products of `dtype` add up in f32, and round operands in f32 to `tf32` only if asked to."""
    if dtype == torch.float32:
        return (_TF32 if tf32 else _IEEE,)
    return _HALVES.get(dtype, ())


def under(settings: Settings, call: Callable[..., R], *given: Any, **named: Any) -> R:
    """What a call returns that multiplies, made with PyTorch set so."""
    if not settings:
        return call(*given, **named)
    with _lock:
        others = [(setting, value) for setting in settings if (value := setting.read()) != setting.wanted]
        for setting, _ in others:
            setting.write(setting.wanted)
        try:
            return call(*given, **named)
        finally:
            for setting, value in others:
                setting.write(value)


def _set_reduction(write: Callable[..., None]) -> Callable[[tuple[bool, bool]], None]:
    return lambda value: write(*value)


def _set_single(value: str) -> None:
    # The getter resolves what is inherited from the settings above; that must not become a setting of its own.
    inherited = value == torch._C._get_fp32_precision_getter("cuda", "all")
    torch._C._set_fp32_precision_setter("cuda", "matmul", "none" if inherited else value)


_single = partial(torch._C._get_fp32_precision_getter, "cuda", "matmul")
_IEEE = Setting(lambda: "tf32" if _single() == "tf32" else "ieee", _set_single, "ieee")
_TF32 = Setting(_single, _set_single, "tf32")

# Parts of a sum that several programs share are added in f32; that the sum is shared at all is fine.
_IN_SINGLE = (False, True)
_HALVES: dict[torch.dtype, Settings] = {
    torch.bfloat16: (
        Setting(
            torch._C._get_cublas_allow_bf16_reduced_precision_reduction,
            _set_reduction(torch._C._set_cublas_allow_bf16_reduced_precision_reduction),
            _IN_SINGLE,
        ),
    ),
    torch.float16: (
        Setting(
            torch._C._get_cublas_allow_fp16_reduced_precision_reduction,
            _set_reduction(torch._C._set_cublas_allow_fp16_reduced_precision_reduction),
            _IN_SINGLE,
        ),
        Setting(torch._C._get_cublas_allow_fp16_accumulation, torch._C._set_cublas_allow_fp16_accumulation, False),
    ),
}
