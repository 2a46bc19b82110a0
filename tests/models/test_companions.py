"""Models that other libraries have a hand in: hooks and offloaded weights of `accelerate`, adapters of `peft`."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("transformers")

from small_models import PROMPT, logits, model_of

import fusec


@pytest.mark.parametrize("order", [("hooks", "patch"), ("patch", "hooks")])
def test_accelerate_stands_around_what_is_patched(order: tuple[str, str], device: torch.device) -> None:
    accelerate = pytest.importorskip("accelerate")
    model = model_of("Qwen2", torch.float32, device)
    before = logits(model)
    places = {"model.embed_tokens": device, "model.layers": device, "model.norm": device, "lm_head": device}
    for step in order:
        if step == "hooks":
            accelerate.dispatch_model(model, {**places, "model.rotary_emb": device}, force_hooks=True)
        else:
            assert len(fusec.patch(model).patched) == 3
    torch.testing.assert_close(logits(model), before, rtol=1e-5, atol=1e-5)
    accelerate.hooks.remove_hook_from_module(model, recurse=True)
    torch.testing.assert_close(logits(model), before, rtol=1e-5, atol=1e-5)
    assert fusec.unpatch(model) == 3
    assert torch.equal(logits(model), before)
    for module in model.modules():
        assert getattr(vars(module).get("forward"), "__self__", module) is module


def test_weights_that_come_and_go_are_left(device: torch.device) -> None:
    accelerate = pytest.importorskip("accelerate")
    model = model_of("Llama", torch.float32, device)
    before = logits(model)
    accelerate.cpu_offload(model, device)
    assert model.device.type == "meta"
    report = fusec.patch(model)
    assert not report.patched
    assert {"LlamaDecoderLayer", "LlamaMLP", "LlamaRMSNorm"} == {entry.kind for entry in report.left}
    assert all("`meta`" in entry.left for entry in report.left)
    with torch.no_grad():
        assert torch.equal(model(PROMPT.to(device)).logits, before)


def test_adapters_are_left(device: torch.device) -> None:
    peft = pytest.importorskip("peft")
    model = model_of("Llama", torch.float32, device)
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj", "down_proj"])).eval()
    before = logits(adapted)
    report = fusec.patch(adapted)
    assert {entry.kind for entry in report.patched} == {"LlamaRMSNorm"}
    assert {entry.left.partition(" ")[0] for entry in report.left} == {"q_proj", "down_proj"}
    torch.testing.assert_close(logits(adapted), before, rtol=1e-5, atol=1e-5)
