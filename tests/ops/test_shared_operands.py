"""What an inner axis shares is read once for all of it: bytes are counted of calls on tensors without memory."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from compiled import compiled

from fusec.runtime import Launch
from fusec.runtime import Op as RuntimeOp
from fusec.runtime.traffic.count import traffic

SIZES = {"M": 300, "H": 8, "K": 4, "D": 128}

FORMS = {
    "by heads": ("x: f32[M, H, D], t: f32[M, D]", "y: f32[M, H, D]", "t"),
    "by heads and groups": ("x: f32[M, H, K, D], t: f32[M, D]", "y: f32[M, H, K, D]", "t"),
    "by groups": ("x: f32[M, H, K, D], t: f32[M, H, D]", "y: f32[M, H, K, D]", "t"),
    "by nothing": ("x: f32[M, H, D], t: f32[M, H, D]", "y: f32[M, H, D]", "t"),
    "by rows": ("x: f32[M, H, D], t: f32[M, H]", "y: f32[M, H, D]", "t"),
}


def empty(declared: str) -> torch.Tensor:
    axes = declared.partition("[")[2].rstrip("]").split(", ")
    return torch.empty([SIZES[axis] for axis in axes], device="meta")


@pytest.mark.parametrize("form", FORMS)
def test_what_inner_axes_share_is_read_once(form: str, tmp_path: Path) -> None:
    given, made, shared = FORMS[form]
    (op,) = compiled(f"op f({given}) -> {made}:\n    y = x * t + 1\n", tmp_path)
    own: Any = next(each for each in vars(op.module).values() if isinstance(each, RuntimeOp))
    tensors = {each.partition(":")[0]: empty(each) for each in given.replace("], ", "]; ").split("; ")}
    decision = own.decide(*tensors.values())
    read: dict[str, int] = {}
    for launch in decision.launches:
        assert isinstance(launch, Launch)
        for name, count in traffic(launch, decision.dtypes).read.items():
            read[name] = read.get(name, 0) + count
    assert read["x"] == 4 * prod(tensors["x"].shape)
    assert read[shared] == 4 * prod(tensors[shared].shape), decision.steps
