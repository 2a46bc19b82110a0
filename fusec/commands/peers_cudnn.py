"""cuDNN's norms, through NVIDIA's frontend: a graph of one operation, built before it is timed.

It has no op of its own for anything else that ours do; attention, which it is known for, we have none of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fusec.commands.peers_torch import Arguments, Call


def _norm(kind: str) -> Callable[[Any, Arguments], Call]:
    def maker(cudnn: Any, arguments: Arguments) -> Call:
        x = arguments["x"]
        rows = x.reshape(-1, x.shape[-1], 1, 1)
        parts = {"scale": arguments["weight"], "bias": arguments.get("bias")}
        dtype = torch.float32 if kind == "layernorm" else x.dtype  # as NVIDIA's own functions have them
        flat = {name: part.to(dtype).view(1, -1, 1, 1) for name, part in parts.items() if part is not None}
        return _built(cudnn, kind, rows, flat, arguments["eps"], x.shape)

    return maker


def _built(
    cudnn: Any, kind: str, x: torch.Tensor, parts: dict[str, torch.Tensor], eps: float, shape: torch.Size
) -> Call:
    """The call of a graph that normalises rows; what a call needs beside the tensors is allocated before."""
    handle = cudnn.create_handle()
    single = cudnn.data_type.FLOAT
    graph = cudnn.pygraph(handle=handle, intermediate_data_type=single, compute_data_type=single)
    given, small = graph.tensor_like(x), torch.full((1, 1, 1, 1), eps, dtype=torch.float32)
    inputs = {name: graph.tensor_like(part) for name, part in parts.items()}
    epsilon = graph.tensor_like(small)
    phase = cudnn.norm_forward_phase.INFERENCE
    y = getattr(graph, kind)(name=kind, norm_forward_phase=phase, input=given, epsilon=epsilon, **inputs)[0]
    y.set_output(True).set_data_type(x.dtype)
    graph.build([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    workspace = torch.empty(graph.get_workspace_size(), dtype=torch.uint8, device=x.device)

    def call() -> torch.Tensor:
        out = torch.empty_like(x)
        cudnn.set_stream(handle=handle, stream=torch.cuda.current_stream().cuda_stream)
        tensors = {given: x, epsilon: small, y: out, **{inputs[name]: part for name, part in parts.items()}}
        graph.execute(tensors, workspace, handle=handle)
        return out.view(shape)

    return call


NORMS: dict[str, tuple[str, Callable[[Any, Arguments], Call]]] = {
    "rmsnorm": ("cudnn", _norm("rmsnorm")),
    "layernorm": ("cudnn", _norm("layernorm")),
}
"""A maker of the call for each op that it has a norm for."""
