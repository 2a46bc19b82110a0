"""Ops in plain torch that are right or wrong in one way, to see what the checks of results say."""

from __future__ import annotations

import torch


def right(x, bias=None):
    """`softened` of the specimens, computed in f64."""
    wide = x.double() if bias is None else x.double() + bias.double()
    q = (wide * 16).float().clamp(-448, 448).to(torch.float8_e4m3fn)
    return torch.softmax(wide, 1).to(x.dtype), q


def changes_its_input(x, bias=None):
    results = right(x, bias)
    x.zero_()
    return results


def writes_beside_its_input(x, bias=None):
    x.as_strided((1,), (1,), x.storage_offset() - 1).zero_()
    return right(x, bias)


def off_by_a_little(x, bias=None):
    p, q = right(x, bias)
    return (p.double() * 1.01).to(p.dtype), q


def wrong_dtype(x, bias=None):
    p, q = right(x, bias)
    return p.double(), q


def wrong_count(x, bias=None):
    return right(x, bias)[0]


def loses_nan(x, bias=None):
    p, q = right(x, bias)
    return p.nan_to_num(), q


def knows_its_row(x, bias=None):
    """Adds a hair in the first row: within the bound, but rows are no longer alike."""
    p, q = right(x, bias)
    p[:1] = torch.nextafter(p[:1].float(), torch.tensor(torch.inf, device=x.device)).to(p.dtype)
    return p, q


class Fickle:
    """Gives other bits every time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x, bias=None):
        self.calls += 1
        p, q = right(x, bias)
        return p + self.calls * 1e-8, q
