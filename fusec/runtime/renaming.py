"""One kernel for tensors of other names: what several plans launch on different arguments is written once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusec.ir.host.names import argument_name


def renamed(kernel: Any, /, **names: str) -> Renamed:
    """The kernel `kernel`, whose parameters are called as `names` says: `renamed(_rope_q, q="k", Hq="Hk")`."""
    return Renamed(kernel, names)


class Renamed:
    """A kernel under other names of its parameters; in all else it is that kernel, compiled once for both.

    `names` has for each parameter what it stands for here.
    """

    def __init__(self, kernel: Any, names: Mapping[str, str]) -> None:
        self._kernel = kernel
        self.names = {name: argument_name(name, names) for name in kernel.arg_names}
        self.arg_names = list(self.names.values())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def __getitem__(self, grid: Any) -> Any:
        return self._kernel[grid]
