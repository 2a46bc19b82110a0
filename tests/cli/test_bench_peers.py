"""Who does the work of an op besides: PyTorch does, and libraries are called for the same, with stand-ins for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from fusec.commands import peers, peers_cudnn, peers_installed, peers_torch
from fusec.commands.bench_measure import alike, hold, listed
from fusec.commands.find import find_op
from fusec.ir.graph import ChoiceParam, Graph
from fusec.reference.evaluate import evaluate
from fusec.testing.cases import Case, build

SPECS = Path(__file__).resolve().parents[2] / "specs"


def graph_of(op: str) -> Graph:
    return find_op(op, SPECS)[2]


SMALL: dict[str, Case] = {
    **{
        op: Case(op=op, seed=1, extents={"N": 24}, lead=(2, 3), dtypes={"T": "f32", "W": "f32"})
        for op in ("rmsnorm", "rmsnorm_unit_offset", "add_rmsnorm", "layernorm", "softmax", "gated_activation")
    },
    **{
        op: Case(op=op, seed=1, extents={"N": 24}, lead=(5,), dtypes={"T": "f32", "W": "f32"})
        for op in ("rmsnorm_gradient", "layernorm_gradient")
    },
    **{
        op: Case(op=op, seed=1, extents={"K": 32, "N": 16}, lead=(5,), dtypes=dict.fromkeys("TWV", "f32"))
        for op in (
            "linear",
            "linear_activation",
            "linear_residual",
            "rmsnorm_linear",
            "fused_gated_mlp",
            "rmsnorm_gated_mlp",
            "linear_add_rmsnorm",
        )
    },
    "rope_qk": Case(
        op="rope_qk",
        seed=1,
        extents={"B": 2, "S": 3, "P": 3, "Hq": 4, "Hk": 2, "D": 8},
        dtypes={"T": "f32", "C": "f32", "I": "i64"},
        omitted=("position_ids",),
    ),
}
"""A call of every op that PyTorch, or a stand-in for a library, can do on any machine."""


def arguments_of(op: str) -> tuple[dict[str, Any], tuple[torch.Tensor, ...]]:
    """Arguments, and the results in f64."""
    graph = graph_of(op)
    dtypes = {each.name: SMALL[op].dtypes[each.name] for each in graph.variables}
    picks = {each.name: str(each.default) for each in graph.params if isinstance(each, ChoiceParam)}
    case = replace(SMALL[op], dtypes=dtypes, picks=picks)
    arguments = alike(build(graph, case).arguments)
    return arguments, tuple(evaluate(graph, arguments).values())


@pytest.mark.parametrize("op", [op for op in SMALL if op in {**peers_torch.WRITTEN, **peers_torch.OTHERS}])
def test_pytorch_does_the_same(op: str) -> None:
    arguments, exact = arguments_of(op)
    if op in peers_torch.WRITTEN:
        assert hold(listed(peers_torch.WRITTEN[op][1](**arguments)), exact) < 1e-5
    for maker in peers_torch.OTHERS.get(op, {}).values():
        if op != "rmsnorm_gradient":  # PyTorch has that for GPUs alone
            assert hold(listed(maker(arguments)()), exact) < 1e-5


class Liger:
    """What Liger has, with its signatures and its habit of turning q and k in place, in PyTorch."""

    LigerRMSNormFunction = SimpleNamespace(
        apply=lambda x, w, eps, offset, mode, in_place: functional.rms_norm(x, w.shape, w + offset, eps)
    )
    LigerFusedAddRMSNormFunction = SimpleNamespace(
        apply=lambda x, r, w, eps, offset, mode, in_place: (functional.rms_norm(x + r, w.shape, w, eps), x + r)
    )
    LigerLayerNormFunction = SimpleNamespace(apply=lambda x, w, b, eps: functional.layer_norm(x, w.shape, w, b, eps))
    LigerSoftmaxFunction = SimpleNamespace(apply=lambda x: torch.softmax(x, -1))
    LigerSiLUMulFunction = SimpleNamespace(apply=lambda a, b: functional.silu(a) * b)
    LigerRopeFunction = SimpleNamespace(
        apply=lambda q, k, cos, sin: tuple(each.copy_(turned(each, cos, sin)) for each in (q, k))
    )


def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Heads before tokens, as Hugging Face turns them."""
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


class Quack:
    """What quack has: one function for norms, and one whose weights are of f32."""

    @staticmethod
    def rmsnorm(
        x: Any, weight: Any, residual: Any = None, eps: float = 0, prenorm: bool = False, weight_offset: float = 0
    ) -> Any:
        total = x if residual is None else x + residual
        out = functional.rms_norm(total, weight.shape, weight + weight_offset, eps)
        return (out, total) if prenorm else out

    @staticmethod
    def layernorm_fwd(x: Any, weight: Any, bias: Any, eps: float) -> Any:
        assert weight.dtype == bias.dtype == torch.float32
        return functional.layer_norm(x, weight.shape, weight, bias, eps)

    softmax = staticmethod(lambda x: torch.softmax(x, -1))


class FlashInfer:
    """What FlashInfer has: adds in place, reads gate and up side by side, and positions with half tables."""

    rmsnorm = staticmethod(lambda x, w, eps: functional.rms_norm(x, w.shape, w, eps))
    gemma_rmsnorm = staticmethod(lambda x, w, eps: functional.rms_norm(x, w.shape, w + 1, eps))
    layernorm = staticmethod(lambda x, w, b, eps: functional.layer_norm(x, w.shape, w, b, eps))
    gelu_and_mul = gelu_tanh_and_mul = None

    @staticmethod
    def silu_and_mul(packed: torch.Tensor) -> torch.Tensor:
        gate, up = packed.chunk(2, -1)
        return functional.silu(gate) * up

    @staticmethod
    def fused_add_rmsnorm(x: torch.Tensor, residual: torch.Tensor, w: torch.Tensor, eps: float) -> None:
        residual += x
        x.copy_(functional.rms_norm(residual, w.shape, w, eps))

    @staticmethod
    def apply_rope_with_cos_sin_cache(positions: Any, q: Any, k: Any, width: int, table: Any) -> Any:
        cos, sin = (torch.cat((half, half), -1)[positions][:, None] for half in table.chunk(2, -1))
        return tuple(turned(each.view(len(each), -1, width), cos, sin).reshape(each.shape) for each in (q, k))


@pytest.mark.parametrize(("library", "calls"), [
    (Liger, peers_installed.LIGER), (Quack, peers_installed.QUACK), (FlashInfer, peers_installed.FLASHINFER),
])  # fmt: skip
def test_libraries_are_called_for_the_same(library: Any, calls: Mapping[str, peers_installed.Maker]) -> None:
    for op, (_, maker) in calls.items():
        arguments, exact = arguments_of(op)
        before = {name: value.clone() for name, value in arguments.items() if isinstance(value, torch.Tensor)}
        call = maker(library, arguments)
        assert hold(listed(call()), exact) < 1e-5, op
        call()
        assert all(torch.equal(arguments[name], value) for name, value in before.items()), op


def test_what_a_library_has_no_kernel_for_is_told() -> None:
    gated, _ = arguments_of("gated_activation")
    with pytest.raises(peers_installed.UnfitError, match="for silu alone"):
        peers_installed.LIGER["gated_activation"][1](Liger, gated | {"activation": "relu"})()
    rope, _ = arguments_of("rope_qk")
    with pytest.raises(peers_installed.UnfitError, match="positions"):
        peers_installed.LIGER["rope_qk"][1](Liger, rope | {"position_ids": torch.zeros(2, 3)})


class Described:
    """A tensor of a graph."""

    def set_output(self, yes: bool) -> Described:
        return self

    def set_data_type(self, dtype: torch.dtype) -> Described:
        return self


class Graphed:
    """A graph of one norm as NVIDIA's frontend has it: tensors are described first, and given when it is executed."""

    def __init__(self, handle: int, intermediate_data_type: str, compute_data_type: str) -> None:
        self.norm: Callable[..., torch.Tensor] = functional.rms_norm
        self.described: dict[str, Any] = {}
        self.y = Described()

    def tensor_like(self, tensor: torch.Tensor) -> Described:
        assert tensor.dim() == 4
        return Described()

    def rmsnorm(self, name: str, norm_forward_phase: str, **described: Described) -> list[Described]:
        self.described = described
        return [self.y]

    def layernorm(self, name: str, norm_forward_phase: str, **described: Described) -> list[Described]:
        self.norm, self.described = functional.layer_norm, described
        return [self.y]

    def build(self, modes: list[int]) -> None:
        pass

    def get_workspace_size(self) -> int:
        return 0

    def execute(self, tensors: Mapping[Described, torch.Tensor], workspace: torch.Tensor, handle: int) -> None:
        given = {name: tensors[each].flatten() for name, each in self.described.items() if name != "input"}
        x = tensors[self.described["input"]]
        parts = [given[name] for name in ("scale", "bias") if name in given]
        out = self.norm(x.flatten(1), x.shape[1:2], *parts, eps=float(given["epsilon"]))
        tensors[self.y].copy_(out.view(x.shape))


CUDNN = SimpleNamespace(
    data_type=SimpleNamespace(FLOAT="f32"),
    norm_forward_phase=SimpleNamespace(INFERENCE="inference"),
    heur_mode=SimpleNamespace(A=0, FALLBACK=1),
    create_handle=lambda: 7,
    set_stream=lambda handle, stream: None,
    pygraph=Graphed,
)


@pytest.mark.parametrize("op", peers_cudnn.NORMS)
def test_graphs_of_cudnn_do_the_same(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
    arguments, exact = arguments_of(op)
    call = peers_cudnn.NORMS[op][1](CUDNN, arguments)
    assert hold(listed(call()), exact) < 1e-5
    assert call().shape == exact[0].shape


def test_whoever_is_installed_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"softmax": ("json", lambda module, arguments: module)}
    found = {"installed": ("json", "a package", calls), "missing": ("no_such_module", "another", calls)}
    monkeypatch.setattr(peers, "LIBRARIES", found)
    asked = dict(peers.makers("softmax", print, "off"))
    assert "missing" not in asked
    assert asked["installed"]({}) is json
    assert "installed" not in dict(peers.makers("rmsnorm", print, "off"))
    assert peers.versions() == {"a package": "?"}
