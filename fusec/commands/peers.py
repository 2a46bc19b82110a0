"""What else does the work of an op: PyTorch, the vendor's libraries, and kernels of others where they are installed.

Only the benchmark knows ops by name, and only to find an opponent; an op without an entry is measured all the same,
beside its reference. Who cannot do a call says so by an exception: that is told, and the others are timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch

from fusec.commands import peers_cudnn, peers_installed, peers_torch
from fusec.commands.peers_torch import Arguments, Call

LIBRARIES = {
    "Liger": ("liger_kernel", "liger-kernel", peers_installed.LIGER),
    "quack": ("quack", "quack-kernels", peers_installed.QUACK),
    "FlashInfer": ("flashinfer", "flashinfer-python", peers_installed.FLASHINFER),
    "cuDNN": ("cudnn", "nvidia-cudnn-frontend", peers_cudnn.NORMS),
}
"""By who it is: the module to import, the package that brings it, and a maker of the call for each op."""

MODES = ("off", "default", "max-autotune-no-cudagraphs")
"""How `torch.compile` is asked; `off` leaves it out."""


def makers(
    op: str, reference: Callable[..., Any], compile: str = "default"
) -> Iterator[tuple[str, Callable[[Arguments], Call]]]:
    """Who could do the work of an op, each with what makes its call for some arguments."""
    who, function = peers_torch.WRITTEN.get(op, ("eager", reference))
    yield who, lambda arguments: partial(function, **arguments)
    if compile != "off":
        compiled = torch.compile(function, dynamic=False, mode=None if compile == "default" else compile)
        yield "torch.compile", lambda arguments: partial(compiled, **arguments)
    yield from peers_torch.OTHERS.get(op, {}).items()
    for name, (module, _, calls) in LIBRARIES.items():
        if op in calls and find_spec(module):
            yield name, partial(_imported, calls[op])


def _imported(made: tuple[str, Callable[[Any, Arguments], Call]], arguments: Arguments) -> Call:
    module, maker = made
    return maker(import_module(module), arguments)


def versions() -> Mapping[str, str]:
    """The versions of the libraries that are installed."""
    found = {}
    for module, package, _ in LIBRARIES.values():
        if find_spec(module):
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "?"
    return found
