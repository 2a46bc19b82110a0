"""What PyTorch calls the storage types of the language."""

from __future__ import annotations

from types import MappingProxyType

TORCH_NAMES = MappingProxyType(
    {
        "f64": "torch.float64",
        "f32": "torch.float32",
        "f16": "torch.float16",
        "bf16": "torch.bfloat16",
        "f8e4m3": "torch.float8_e4m3fn",
        "f8e5m2": "torch.float8_e5m2",
        "i64": "torch.int64",
        "i32": "torch.int32",
        "i8": "torch.int8",
        "u8": "torch.uint8",
        "bool": "torch.bool",
    }
)
"""Storage type -> what PyTorch calls it. Packed ones have no name: their tensors are bytes (`graph/unpack.py`)."""
