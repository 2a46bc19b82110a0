"""Small random models of Hugging Face, patched: what they compute, in which circumstances, and what is left alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fusec

transformers = pytest.importorskip("transformers")

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 128,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

LAYERS = {"Llama": 2, "Mistral": 2, "Qwen2": 2, "Qwen3": 2, "Gemma": 2, "Phi3": 2}
"""Families whose decoder layers are fused, and how many of them there are."""

PARTS = {"Gemma2": 11, "Gemma3Text": 15, "Olmo2": 11, "Cohere": 2, "Glm": 7, "Mixtral": 5}
"""Families of whose layers norms and MLPs are taken, and how many."""

PROMPT = torch.randint(3, 128, (2, 9), generator=torch.Generator().manual_seed(0))


def model_of(family: str, dtype: torch.dtype, device: torch.device, **config: Any) -> Any:
    torch.manual_seed(0)
    known = getattr(transformers, f"{family}Config")(**{**SMALL, **config})
    model = transformers.AutoModelForCausalLM.from_config(known)
    for param in model.parameters():
        param.data += torch.randn_like(param) * 0.05
    return model.to(device, dtype).eval()


@torch.no_grad()
def logits(model: Any, **arguments: Any) -> Tensor:
    result: Tensor = model(PROMPT.to(model.device), **arguments).logits
    return result


@torch.no_grad()
def generated(model: Any, **arguments: Any) -> Tensor:
    found: Tensor = model.generate(PROMPT.to(model.device), max_new_tokens=4, do_sample=False, **arguments)
    return found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("family", [*LAYERS, *PARTS])
def test_a_family(family: str, dtype: torch.dtype, device: torch.device) -> None:
    """Logits are as near those of f32 as the model's own, greedy tokens are the same, and all of it can be undone."""
    model = model_of(family, dtype, device)
    truth, before = logits(copy.deepcopy(model).float()), logits(model)
    tokens = generated(model)
    report = fusec.patch(model)
    assert len([entry for entry in report.patched if "DecoderLayer" in entry.kind]) == LAYERS.get(family, 0)
    assert len(report.patched) == (PARTS.get(family) or LAYERS[family] + 1)
    off, own = ((found.float() - truth).norm() / truth.norm() for found in (logits(model), before))
    assert off <= 1.5 * own + 1e-6
    assert torch.equal(generated(model), tokens) or dtype != torch.float32
    assert fusec.unpatch(model) == len(report.patched)
    assert torch.equal(logits(model), before)


def padded(model: Any, **arguments: Any) -> Tensor:
    """Logits of what is not padding; the second sequence begins later, and has positions of its own."""
    mask = torch.ones_like(PROMPT)
    mask[1, :3] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    found = logits(model, attention_mask=mask.to(model.device), position_ids=positions.to(model.device), **arguments)
    return found[mask.bool().to(model.device)]


def inferred(model: Any) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model(PROMPT.to(model.device)).logits
        return found.clone()


def traced(model: Any) -> Tensor:
    return logits(torch.compile(model, fullgraph=True, backend="eager"))


@pytest.mark.parametrize(
    "run",
    [
        padded,
        inferred,
        lambda model: generated(model, cache_implementation="static").float(),
        lambda model: generated(model, num_beams=2).float(),
        lambda model: generated(model, attention_mask=torch.ones_like(PROMPT).to(model.device)).float(),
        lambda model: logits(copy.deepcopy(model)),
    ],
    ids=["padding", "inference mode", "static cache", "beams", "mask", "deep copy"],
)
@pytest.mark.parametrize("family", ["Qwen2", "Qwen3"])
def test_circumstances(family: str, run: Callable[[Any], Tensor], device: torch.device) -> None:
    model = model_of(family, torch.float32, device)
    before = run(model)
    assert fusec.patch(model).patched
    torch.testing.assert_close(run(model), before, rtol=1e-5, atol=1e-5)


def hooked(model: nn.Module, calls: list[str]) -> None:
    """Stand around every module as `accelerate` does, which moves inputs between devices there."""
    for name, module in model.named_modules():
        module._old_forward = module.forward

        def forward(*args: Any, _module: nn.Module = module, _name: str = name, **kwargs: Any) -> Any:
            calls.append(_name)
            return _module._old_forward(*args, **kwargs)

        module.forward = forward


@pytest.mark.parametrize("first", ["hooks", "patch"])
def test_hooks_of_accelerate_stay_around_what_is_patched(first: str, device: torch.device) -> None:
    model, calls = model_of("Llama", torch.float32, device), list[str]()
    before = logits(model)
    for step in ("hooks", "patch") if first == "hooks" else ("patch", "hooks"):
        fusec.patch(model) if step == "patch" else hooked(model, calls)
    torch.testing.assert_close(logits(model), before, rtol=1e-5, atol=1e-5)
    assert "model.layers.1" in calls
    assert "model.layers.1.mlp" not in calls
    fusec.unpatch(model)
    calls.clear()
    assert torch.equal(logits(model), before)
    assert {"model.layers.1", "model.layers.1.mlp"} <= set(calls)


def test_it_is_one_graph(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    fusec.patch(model)
    torch.testing.assert_close(traced(model), logits(model), rtol=1e-5, atol=1e-5)


def test_hidden_states_and_the_weights_of_attention_are_collected(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device, attn_implementation="eager")
    wanted = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        before = model(PROMPT.to(device), **wanted)
        fusec.patch(model)
        after = model(PROMPT.to(device), **wanted)
    torch.testing.assert_close(after.hidden_states, before.hidden_states, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(after.attentions, before.attentions, rtol=1e-5, atol=1e-5)
    assert len(after.attentions) == 2


def test_whoever_watches_a_part_of_a_layer_sees_it(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    fusec.patch(model)
    before, seen = logits(model), []
    hook = model.model.layers[1].mlp.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    torch.testing.assert_close(logits(model), before, rtol=1e-5, atol=1e-5)
    assert seen == [(2, 9, 64)]
    hook.remove()
    logits(model)
    assert len(seen) == 1


def test_weights_are_shared_and_those_of_now(device: torch.device) -> None:
    model = model_of("Qwen2", torch.bfloat16, device)
    names, size = list(model.state_dict()), _held(model)
    fusec.patch(model)
    before = logits(model)
    assert list(model.state_dict()) == names
    assert _held(model) == size
    with torch.no_grad():
        model.model.layers[0].self_attn.k_proj.weight.mul_(-1)
        model.model.layers[0].input_layernorm.weight.add_(0.5)
    changed = logits(model)
    assert not torch.equal(changed, before)
    fusec.unpatch(model)
    torch.testing.assert_close(changed, logits(model), rtol=0.05, atol=0.05)


def test_a_gain_stored_as_its_distance_from_one_is_that_of_now(device: torch.device) -> None:
    model = model_of("Gemma", torch.float32, device)
    fusec.patch(model)
    logits(model)
    with torch.no_grad():
        model.model.layers[0].input_layernorm.weight.add_(0.5)
    changed = logits(model)
    fusec.unpatch(model)
    torch.testing.assert_close(changed, logits(model), rtol=1e-5, atol=1e-5)


def test_a_patched_model_is_saved_moved_and_converted(tmp_path: Path, device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    fusec.patch(model)
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).to(device).eval()
    torch.testing.assert_close(logits(again), logits(model), rtol=1e-5, atol=1e-5)
    model.to(torch.bfloat16)
    converted = logits(model)
    fusec.unpatch(model)
    torch.testing.assert_close(converted, logits(model), rtol=0.05, atol=0.05)


def test_a_dry_run_changes_nothing(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    places = [param.data_ptr() for param in model.parameters()]
    report = fusec.patch(model, dry_run=True)
    assert str(report).splitlines() == [
        "would be computed by fusec:",
        "     2 LlamaDecoderLayer  qkv_rope, attention, linear_add_rmsnorm, fused_gated_mlp, linear_residual",
        "     1 LlamaRMSNorm       rmsnorm",
    ]
    assert fusec.unpatch(model) == 0
    assert [param.data_ptr() for param in model.parameters()] == places


@pytest.mark.parametrize(("fuse", "count"), [("norms", 5), ("mlps", 2), ("layers", 2)])
def test_one_kind_alone(fuse: Any, count: int, device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    before = logits(model)
    assert len(fusec.patch(model, fuse=fuse).patched) == count
    torch.testing.assert_close(logits(model), before, rtol=1e-5, atol=1e-5)


def test_rounding_can_be_that_of_the_model(device: torch.device) -> None:
    model = model_of("Llama", torch.bfloat16, device)
    report = fusec.patch(model, rounding="model")
    assert {entry.ops for entry in report.patched} == {"rmsnorm_rounded"}


class Adapted(nn.Linear):
    """A linear layer with something more, as adapters are."""


def test_what_computes_something_else_is_left_and_told(device: torch.device) -> None:
    model = model_of("Glm", torch.float32, device)
    report = fusec.patch(model, dry_run=True)
    assert {entry.kind for entry in report.left} == {"GlmDecoderLayer"}
    assert "computes something else" in str(report)


def test_what_is_more_than_its_parts_is_left(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    model.model.layers[0].self_attn.q_proj.__class__ = Adapted
    model.model.layers[1].mlp.down_proj.__class__ = Adapted
    report = fusec.patch(model)
    assert {entry.name for entry in report.patched} == {
        "model.layers.0.mlp",
        *(f"model.layers.{layer}.{norm}_layernorm" for layer in (0, 1) for norm in ("input", "post_attention")),
        "model.norm",
    }


def test_training_is_refused(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    with pytest.raises(ValueError, match=r"LlamaForCausalLM is in training mode.*model\.eval\(\)"):
        fusec.patch(model.train())
    fusec.patch(model.eval())
    with pytest.raises(NotImplementedError, match="LlamaDecoderLayer was patched by fusec and is in training mode"):
        logits(model.train())


def test_twice_is_refused(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    fusec.patch(model)
    with pytest.raises(ValueError, match="patched already"):
        fusec.patch(model)


def _held(model: nn.Module) -> int:
    """Bytes of all parameters, each storage once."""
    storages = {param.untyped_storage().data_ptr(): param.untyped_storage().nbytes() for param in model.parameters()}
    return sum(storages.values())
