"""Functions that stand above the reference in its text where it needs them: what torch has no one word for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

PRELUDE: Mapping[str, str] = MappingProxyType(
    {
        "_round_to": '''
def _round_to(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`x` in `dtype`, rounded to nearest even; 8-bit floats and integers saturate."""
    if dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        x = x.clamp(-torch.finfo(dtype).max, torch.finfo(dtype).max)
    elif not dtype.is_floating_point:
        x = x.round().clamp(torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    return x.to(dtype)
''',
        "_exponent": '''
def _exponent(x: torch.Tensor) -> torch.Tensor:
    """floor(log2|x|), exactly; -inf for 0, inf for infinities, NaN for NaN."""
    whole = torch.frexp(x).exponent.to(x.dtype) - 1
    return torch.where(x == 0, -torch.inf, torch.where(x.isfinite(), whole, x.abs()))
''',
        "_sign": '''
def _sign(x: torch.Tensor) -> torch.Tensor:
    """-1, 0 or 1; NaN for NaN, for which torch has 0."""
    return torch.where(x == x, torch.sign(x), x)
''',
        "_inside": '''
def _inside(table: torch.Tensor, *index: torch.Tensor) -> torch.Tensor:
    """Where `index` names an element of `table`; negative numbers do not."""
    each = [(i >= 0) & (i < size) for i, size in zip(index, table.shape, strict=False)]
    return torch.stack(torch.broadcast_tensors(*each)).all(0)
''',
        "_amax": '''
def _amax(x: torch.Tensor, dim: int | tuple[int, ...] = (), keepdim: bool = False) -> torch.Tensor:
    """`x.amax(dim, keepdim)`, and of no elements the least number, which torch refuses."""
    if x.numel():
        return x.amax(dim, keepdim)
    least = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    return x.new_full(x.sum(dim, keepdim).shape, least)
''',
        "_amin": '''
def _amin(x: torch.Tensor, dim: int | tuple[int, ...] = (), keepdim: bool = False) -> torch.Tensor:
    """`x.amin(dim, keepdim)`, and of no elements the largest number, which torch refuses."""
    if x.numel():
        return x.amin(dim, keepdim)
    largest = torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).max
    return x.new_full(x.sum(dim, keepdim).shape, largest)
''',
        "_look_up": '''
def _look_up(table: torch.Tensor, *index: torch.Tensor) -> torch.Tensor:
    """`table[index]`, with NaN (0 in a table of integers) where the index is out of range."""
    valid = _inside(table, *index)
    missing = torch.nan if table.is_floating_point() else 0
    if 0 in table.shape[: len(index)]:
        return table.new_full((*valid.shape, *table.shape[len(index) :]), missing)
    found = table[tuple(torch.where(valid, i, 0) for i in index)]
    return torch.where(valid[(...,) + (None,) * (found.dim() - valid.dim())], found, missing)
''',
        "_write": '''
def _write(table: torch.Tensor, index: tuple[torch.Tensor, ...], values: torch.Tensor) -> None:
    """`table[index] = values` in place, except where the index is out of range."""
    valid = _inside(table, *index)
    table[tuple(i.expand(valid.shape)[valid] for i in index)] = values[valid]
''',
        "_added": '''
def _added(table: torch.Tensor, index: tuple[torch.Tensor, ...], values: torch.Tensor) -> torch.Tensor:
    """`table` with all `values` added at `index`, except where it is out of range, in the type of the values."""
    valid = _inside(table, *index)
    at = tuple(i.expand(valid.shape)[valid] for i in index)
    return table.to(values.dtype).index_put(at, values[valid], accumulate=True)
''',
    }
)

BUILTINS = ("ValueError", "abs", "max", "min", "round")
"""What references take from Python. Where a parameter has such a name, it stands above as `_max = max`."""


def with_callees(names: set[str]) -> set[str]:
    """`names` and the functions that those call."""
    return names | ({"_inside"} if names & {"_look_up", "_write", "_added"} else set())


def prelude(names: set[str], spelled: Mapping[str, str]) -> str:
    """The text of the functions called `names`, under the names they have in `spelled`."""
    hidden = [f"{spelled[name]} = {name}\n" for name in BUILTINS if name in names and spelled[name] != name]
    text = "".join(f"{text.lstrip()}\n\n" for name, text in PRELUDE.items() if name in names)
    text = re.sub(r"\b_\w+", lambda found: spelled.get(found[0], found[0]), text)
    return f"{''.join(hidden)}\n\n{text}" if hidden else text
