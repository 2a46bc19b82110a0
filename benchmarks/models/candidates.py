"""Who computes a model: Hugging Face as it is, fusec, torch.compile, Liger. All of them share one set of weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias

import torch

import fusec

Forward: TypeAlias = Callable[..., Any]

BASELINE = "HF eager"


def eager(model: Any) -> Forward:
    """The model as it is."""
    return twin(model)


def patched(model: Any) -> Forward:
    """By `fusec.patch`."""
    made = twin(model)
    print(fusec.patch(made), flush=True)
    return made


def patched_fp8(model: Any) -> Forward:
    """By `fusec.patch` in FP8."""
    made = twin(model)
    report = fusec.patch(made, precision="fp8")
    print("\n".join(str(report).splitlines()[:12]), flush=True)
    return made


def compiled(mode: str | None) -> Callable[[Any], Forward]:
    """By `torch.compile` of the whole model, for the sizes of a case alone: a minute or two for 28 layers."""

    def make(model: Any) -> Forward:
        # All of these models, modes and cases are compilations of one forward.
        torch._dynamo.config.recompile_limit = 64
        return torch.compile(twin(model), dynamic=False, mode=mode)

    return make


def liger(model: Any) -> Forward:
    """By Liger's kernels."""
    made = twin(model)
    import_module("liger_kernel.transformers")._apply_liger_kernel_to_instance(made)
    return made


def twin(model: Any) -> Any:
    """A model of its own modules, and the same weights."""
    return copy.deepcopy(model, {id(param): param for param in model.parameters()})


CANDIDATES: Mapping[str, Callable[[Any], Forward]] = {
    BASELINE: eager,
    "fusec": patched,
    "fusec fp8": patched_fp8,
    **({"Liger": liger} if find_spec("liger_kernel") else {}),
    "torch.compile": compiled(None),
    "torch.compile max-autotune": compiled("max-autotune-no-cudagraphs"),
    "torch.compile reduce-overhead": compiled("reduce-overhead"),
}
"""Those that compile come last: they may be left out when time is up."""

SLOW = frozenset(name for name in CANDIDATES if name.startswith("torch.compile"))
OWN_GRAPHS = frozenset({"torch.compile reduce-overhead"})
"""Those that replay a graph of their own, of which no other can be captured."""
