"""Patched models in all that is done with models: caches, padding, tracing, inference mode, copies, files."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

transformers = pytest.importorskip("transformers")

from small_models import PROMPT, generated, logits, model_of  # noqa: E402

import fusec  # noqa: E402


def padded(model: Any) -> Tensor:
    """Tokens behind prompts of which the second is shorter: it has padding to its left, and positions of its own."""
    mask, prompt = torch.ones_like(PROMPT), PROMPT.clone()
    mask[1, :3] = prompt[1, :3] = 0
    given = {"attention_mask": mask.to(model.device), "output_logits": True, "return_dict_in_generate": True}
    with torch.no_grad():
        found = model.generate(prompt.to(model.device), max_new_tokens=3, do_sample=False, **given)
    return torch.stack(found.logits)


def inferred(model: Any) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model(PROMPT.to(model.device)).logits
        return found.clone()


def made_in_inference_mode(model: Any) -> Tensor:
    with torch.inference_mode():
        for name, param in [*model.named_parameters()]:
            owner, _, own = name.rpartition(".")
            setattr(model.get_submodule(owner), own, torch.nn.Parameter(param.clone(), requires_grad=False))
        found: Tensor = model(PROMPT.to(model.device)).logits
        return found.clone()


def saved_and_loaded(model: Any) -> Tensor:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return logits(torch.load(file, weights_only=False))


RUNS: dict[str, Callable[[Any], Tensor]] = {
    "padding": padded,
    "inference mode": inferred,
    "weights of inference mode": made_in_inference_mode,
    "static cache": lambda model: generated(model, cache_implementation="static").float(),
    "no cache": lambda model: logits(model, use_cache=False),
    "beams": lambda model: generated(model, num_beams=2).float(),
    "deep copy": lambda model: logits(copy.deepcopy(model)),
    "pickle": lambda model: logits(pickle.loads(pickle.dumps(model))),
    "file": saved_and_loaded,
}


@pytest.mark.parametrize("run", RUNS)
def test_a_layer_with_biases(run: str, device: torch.device) -> None:
    model = model_of("Qwen2", torch.float32, device)
    before = RUNS[run](copy.deepcopy(model))
    assert fusec.patch(model).patched
    torch.testing.assert_close(RUNS[run](model), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_windows_and_soft_caps(cache: str, device: torch.device) -> None:
    """Every second layer sees few tokens, and logits are capped; the prompt is longer than the window."""
    model = model_of("Gemma2", torch.float32, device, sliding_window=4)
    given = {} if cache == "dynamic" else {"cache_implementation": cache}
    before = generated(model, **given), padded(model)
    fusec.patch(model)
    assert torch.equal(generated(model, **given), before[0])
    torch.testing.assert_close(padded(model), before[1], rtol=1e-5, atol=1e-5)


def test_it_is_one_graph_of_any_length_and_dtype(device: torch.device) -> None:
    """Whoever compiled a model may convert it: the graph is made again, and reads the weights of now."""
    model = model_of("Qwen2", torch.float32, device, num_hidden_layers=1)
    fusec.patch(model)
    traced = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    torch.testing.assert_close(logits(traced), logits(model), rtol=1e-5, atol=1e-5)
    assert logits(traced, logits_to_keep=1).shape == (2, 1, 128)
    model.to(torch.bfloat16)
    torch.testing.assert_close(logits(traced), logits(model), rtol=0.02, atol=0.02)


def test_a_graph_of_fixed_sizes_has_norms_behind_attention(device: torch.device) -> None:
    model = model_of("Gemma2", torch.float32, device, num_hidden_layers=1)
    fusec.patch(model)
    traced = torch.compile(model, fullgraph=True, dynamic=False, backend="eager")
    torch.testing.assert_close(logits(traced), logits(model), rtol=1e-5, atol=1e-5)


def test_tokens_behind_a_prompt_are_one_graph(device: torch.device) -> None:
    """Were a layer broken out of it, each would be compiled by itself, and those behind the eighth not at all."""
    model = model_of("Qwen2", torch.float32, device)
    fusec.patch(model)
    graphs = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    config = transformers.CompileConfig(fullgraph=True, backend=backend, mode=None)
    config._compile_all_devices = True
    generated(model, cache_implementation="static", compile_config=config)
    assert len(graphs) == 1


def test_weights_that_were_made_in_inference_mode(device: torch.device) -> None:
    with torch.inference_mode():
        model = model_of("Qwen2", torch.float32, device)
    before = logits(model)
    fusec.patch(model)
    torch.testing.assert_close(logits(model), before, rtol=1e-5, atol=1e-5)
