"""MXFP8, MXFP4 and NVFP4 by the standard library, against their definitions in PyTorch, bit for bit.

OCP Microscaling Formats (MX) Specification 1.0, sections 5 and 6.3. PyTorch casts to e8m0; of e2m1 it has bytes alone.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from compiled import compiled
from quantised_rows import KINDS, draw
from torch import Tensor

E4M3, E5M2, E8M0 = torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu
E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0])
LARGEST = {"f8e4m3": 448.0, "f8e5m2": 57344.0, "f4e2m1": 6.0}
EXPONENT = {"f8e4m3": 8, "f8e5m2": 15, "f4e2m1": 2}

TEXT = """
op scales(x: f32[M, N]) -> (code: f8e8m0[M, N], value: f32[M, N], copy: f8e8m0[M, N]):
    code = cast(x, f8e8m0)
    value = cast(x, f8e8m0)
    copy = x

op powers(code: f8e8m0[M, N]) -> value: f32[M, N]:
    value = code

op quarters(x: f32[M, N]) -> (code: f4e2m1[M, N], value: f32[M, N], copy: f4e2m1[M, N]):
    code = cast(x, f4e2m1)
    value = cast(x, f4e2m1)
    copy = x

op numbers(code: f4e2m1[M, N]) -> (value: f32[M, N], copy: f4e2m1[M, N]):
    value = code
    copy = code

op nvfp4(x: f32[M, G*L], total: f32[] = nvfp4_total(x, over=(M, G, L)))
  -> (q: f4e2m1[M, G*L], scale: f8e4m3[M, G], used: f32[])
where L == 16:
    q, scale = quantize_nvfp4(x, total, over=L)
    used = total

op from_nvfp4(q: f4e2m1[M, G*L], scale: f8e4m3[M, G], total: f32[]) -> y: f32[M, G*L]
where L == 16:
    y = q * (scale * total)
"""
MX = """
op mx_{0}(x: f32[M, G*L]) -> (q: {0}[M, G*L], scale: f8e8m0[M, G])
where L == 16:
    q, scale = quantize_mx(x, {0}, over=L)

op from_mx_{0}(q: {0}[M, G*L], scale: f8e8m0[M, G]) -> y: f32[M, G*L]
where L == 16:
    y = dequantize(q, scale)
"""


@cache
def ops() -> dict[str, Any]:
    text = TEXT + "".join(map(MX.format, LARGEST))
    return {op.program.graph.name: op.call for op in compiled(text, Path(mkdtemp()))}


def run(name: str, device: torch.device, *arguments: Tensor) -> tuple[Tensor, ...]:
    found = ops()[name](*(argument.to(device) for argument in arguments))
    return tuple(each.cpu() for each in (found if isinstance(found, tuple) else (found,)))


def codes(byte: Tensor) -> Tensor:
    """The first number is in the low digits, as in `torch.float4_e2m1fn_x2`."""
    return torch.stack((byte & 15, byte >> 4), -1).flatten(-2).long()


def nearest(x: Tensor) -> Tensor:
    """Codes of the nearest numbers of e2m1, of two the even one; NaN is 0, and so is -0."""
    size = x.double().abs()[..., None]
    away = (size.clamp(max=6.0) - E2M1[:8].double()).abs()
    code = (2 * (away != away.amin(-1, keepdim=True)) + torch.arange(8) % 2).argmin(-1)
    found = torch.where(x < 0, code + 8, code)
    return torch.where(x.isnan(), 0, found)


def bits(x: Tensor) -> Tensor:
    return x.view(torch.int32)


def same(found: Tensor, wanted: Tensor) -> None:
    """Bit for bit, but that a NaN is a NaN."""
    assert torch.equal(torch.where(found.isnan(), 0, bits(found)), torch.where(wanted.isnan(), 0, bits(wanted)))
    assert torch.equal(found.isnan(), wanted.isnan())


def awkward() -> Tensor:
    """Numbers of every magnitude, those around steps and halves of steps among them."""
    exponents = torch.arange(-149, 128).double()
    fractions = torch.tensor([1, 1.25, 1.5, 1.5 - 2.0**-23, 1.5 + 2.0**-23, 1.75, 2 - 2.0**-23], dtype=torch.float64)
    wide = (torch.exp2(exponents)[:, None] * fractions).float().flatten()
    steps = torch.arange(0, 8.25, 0.125)
    around = torch.cat((steps, torch.nextafter(steps, torch.tensor(9.0)), torch.nextafter(steps, torch.tensor(0.0))))
    special = torch.tensor([0.0, torch.inf, torch.nan])
    values = torch.cat((wide, -wide, around, -around, special, -special))
    return torch.cat((values, values.new_ones(-len(values) % 16))).reshape(-1, 16)


def test_e8m0(device: torch.device) -> None:
    x = awkward()
    code, value, copy = run("scales", device, x)
    wanted = x.to(E8M0)
    assert torch.equal(code, wanted.view(torch.uint8))
    assert torch.equal(copy, code)
    normal = code > 0  # 2^-127 is no normal number of f32
    same(value[normal], wanted.float()[normal])
    every = torch.arange(256, dtype=torch.uint8).reshape(4, 64)
    same(run("powers", device, every)[0], every.view(E8M0).float())


def test_e2m1(device: torch.device) -> None:
    x = awkward()
    x = torch.where(x == 0, 0.0, x)
    code, value, copy = run("quarters", device, x)
    assert torch.equal(codes(code), nearest(x))
    assert torch.equal(copy, code)
    same(value, E2M1[nearest(x)])
    every = torch.arange(256, dtype=torch.uint8).reshape(4, 64)
    value, copy = run("numbers", device, every)
    same(value, E2M1[codes(every)])
    there = codes(every) != 8
    assert torch.equal(codes(copy)[there], codes(every)[there])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("element", LARGEST)
def test_mx(element: str, kind: str, device: torch.device) -> None:
    x = draw(kind).reshape(-1, 2, 16)
    q, scale = run(f"mx_{element}", device, x.flatten(1))
    top = x.abs().amax(2, keepdim=True).double()
    power = (top.log2().floor() - EXPONENT[element]).clamp(min=-127)
    wanted = torch.exp2(power)
    assert torch.equal(scale, wanted.squeeze(2).to(E8M0).view(torch.uint8))
    quotient = (x.double() / wanted).float()
    if element == "f4e2m1":
        assert torch.equal(codes(q).reshape(x.shape), nearest(torch.where(quotient == 0, 0.0, quotient)))
        values = E2M1[codes(q)]
    else:
        dtype = E4M3 if element == "f8e4m3" else E5M2
        most = LARGEST[element]
        same(q.float(), quotient.clamp(-most, most).to(dtype).float().flatten(1))
        values = q.float()
    (back,) = run(f"from_mx_{element}", device, q, scale)
    exact = (values.reshape(x.shape) * wanted.to(E8M0).float()).flatten(1)
    normal = (scale > 0)[..., None].expand(x.shape).flatten(1)
    same(back[normal], exact[normal])


@pytest.mark.parametrize("kind", KINDS)
def test_nvfp4(kind: str, device: torch.device) -> None:
    """The scale of the tensor and those of groups as PyTorch makes them; values as near as a quotient is."""
    x = draw(kind).reshape(-1, 2, 16)
    q, scale, used = run("nvfp4", device, x.flatten(1))
    total = x.abs().amax().clamp(min=2.0**-96) / (6.0 * 448.0)
    inner = (x.abs().amax(2) / 6.0 / total).clamp(0.015625, 448.0).to(E4M3)
    if device.type == "cpu":
        same(used, total)
        same(scale.float(), inner.float())
    divisor = (scale.float() * used)[..., None]
    ends = [nearest((x.double() / divisor * (1 + side * 2.0**-21)).float()) for side in (-1, 1)]
    found = codes(q).reshape(x.shape)
    assert bool(((found % 8 >= torch.minimum(*ends) % 8) & (found % 8 <= torch.maximum(*ends) % 8)).all())
    (back,) = run("from_nvfp4", device, q, scale, used)
    same(back, (E2M1[found] * divisor).flatten(1))
    if kind in ("normal", "positive", "negative", "heavy_tailed", "outlier"):
        room = divisor * torch.where(E2M1[found].abs() < 2, 0.26, torch.where(E2M1[found].abs() < 4, 0.52, 1.04))
        assert bool(((back.reshape(x.shape) - x).abs() <= room).all())
