"""`fusec.patch`: hooks around what is patched, weights, what the report says, what is left alone, what is refused."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers")

from small_models import PROMPT, logits, model_of  # noqa: E402
from transformers.models.llama.modeling_llama import LlamaMLP  # noqa: E402

import fusec  # noqa: E402


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


def test_models_that_share_parameters_leave_them_where_they_are(device: torch.device) -> None:
    """Each joined the weights of q, k and v anew when the other had been called, and quantised them again."""
    model = model_of("Qwen2", torch.bfloat16, device, num_hidden_layers=1)
    twin = copy.deepcopy(model, {id(param): param for param in model.parameters()})
    fusec.patch(model)
    before, places = logits(model), [param.data_ptr() for param in model.parameters()]
    fusec.patch(twin)
    assert torch.equal(logits(twin), before)
    assert torch.equal(logits(model), before)
    assert [param.data_ptr() for param in model.parameters()] == places


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
    # How many launches there were before is a matter of transformers, and of how it attends.
    assert re.sub(r"\b\d+(?= launches| now| ->)|(?<=-> )\d+", "N", re.sub(" +", " ", str(report))).splitlines() == [
        "would be computed by fusec, N launches for a token before and N now:",
        " 2 LlamaDecoderLayer N -> N qkv_rope, linear_add_rmsnorm, fused_gated_mlp, linear_residual",
        " 1 LlamaRMSNorm N -> N rmsnorm",
    ]
    assert report.after < report.before
    assert fusec.unpatch(model) == 0
    assert [param.data_ptr() for param in model.parameters()] == places


@pytest.mark.parametrize(("fuse", "count"), [("norms", 5), ("mlps", 2), ("layers", 2)])
def test_one_kind_alone(fuse: Any, count: int, device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    before = logits(model)
    assert len(fusec.patch(model, fuse=fuse).patched) == count
    torch.testing.assert_close(logits(model), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "op"), [("Llama", "rmsnorm_rounded"), ("Olmo2", "rmsnorm"), ("Gemma2", "rmsnorm_unit_offset")]
)
def test_rounding_can_be_that_of_the_model(family: str, op: str, device: torch.device) -> None:
    """The same bits come out of a norm, but where a sum in another order crosses a rounding."""
    model = model_of(family, torch.bfloat16, device)
    norm, x = model.model.layers[0].post_attention_layernorm, torch.randn(256, 64, device=device).bfloat16()
    with torch.no_grad():
        before = norm(x)
        report = fusec.patch(model, rounding="model")
        assert {entry.ops for entry in report.patched} == {op}
        assert (norm(x) != before).float().mean() < 0.005


@pytest.mark.parametrize(("family", "count"), [("Qwen3", 2), ("Phi3", 2), ("Cohere", 0)])
def test_logits_can_have_the_bits_of_the_model(family: str, count: int, device: torch.device) -> None:
    """Cohere rotates in f32, where products and sums may be one instruction: it is left, and told."""
    model = model_of(family, torch.bfloat16, device)
    before = logits(model)
    report = fusec.patch(model, rounding="bits")
    assert [entry.ops for entry in report.patched] == ["rope_qk_rounded"] * count
    assert [entry.left.partition(":")[0] for entry in report.left] == ["rounds elsewhere"] * (2 - count)
    assert torch.equal(logits(model), before)
    assert torch.equal(logits(pickle.loads(pickle.dumps(model))), before)


class Halved(LlamaMLP):
    """A gated MLP by its parts, and something else by what it computes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) / 2


class Adapted(nn.Linear):
    """A linear layer with something more, as adapters are."""


def test_what_computes_something_else_is_left_and_told(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    for layer in model.model.layers:
        layer.mlp.__class__ = Halved
    report = fusec.patch(model, dry_run=True)
    assert {entry.kind for entry in report.left} == {"LlamaDecoderLayer", "Halved"}
    assert re.search("left as they are:\n +2 LlamaDecoderLayer  computes something else: [0-9.]+ off", str(report))


def test_what_is_more_than_its_parts_is_left(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    model.model.layers[0].self_attn.q_proj.__class__ = Adapted
    model.model.layers[1].mlp.down_proj.__class__ = Adapted
    report = fusec.patch(model)
    assert {entry.name for entry in report.patched} == {
        *(f"model.layers.0.{name}" for name in ("mlp", "input_layernorm", "post_attention_layernorm")),
        "model.layers.1",  # its MLP is called as it is
        "model.norm",
    }
    assert {entry.name: entry.left for entry in report.left} == {
        "model.layers.0": "q_proj: Adapted is a subclass of Linear",
        "model.layers.1.mlp": "down_proj: Adapted is a subclass of Linear",
    }


def test_parts_without_data_or_elsewhere_are_left(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    model.model.layers[0].to("meta")
    model.model.layers[1].mlp.to("meta")
    report = fusec.patch(model, dry_run=True)
    norms = {f"model.layers.1.{name}_layernorm" for name in ("input", "post_attention")}
    assert {entry.name for entry in report.patched} == {"model.norm", *norms}
    told = {entry.name: entry.left for entry in report.left}
    assert told["model.layers.0"] == "q_proj has no data (it is on the device `meta`)"
    assert told["model.layers.1"] == "its parts are on several devices"


def test_training_is_refused(device: torch.device) -> None:
    model = model_of("Llama", torch.float32, device)
    with pytest.raises(ValueError, match=r"LlamaForCausalLM is in training mode.*model\.eval\(\)"):
        fusec.patch(model.train())
    fusec.patch(model.eval())
    with pytest.raises(NotImplementedError, match=r"model\.layers\.0, a LlamaDecoderLayer, was patched"):
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
