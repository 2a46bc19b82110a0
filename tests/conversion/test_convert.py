"""Converting a model: what becomes of each layer, what it costs, and the way back."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

import fusec
from fusec.conversion import Conversion
from fusec.driver.compile import compile_file
from fusec.driver.load import load_from
from fusec.runtime import ArgumentError

SPEC = """
op halved(x: T[..., K], weight weight: T[N, K], factor: f32 = 0.5) -> y: T[..., N]
where T in {f16, bf16}, K % 32 == 0:
    y = dot(x, weight, over=K) * factor

module Halved(ins: K, outs: N, factor) of halved
"""


@pytest.fixture(scope="module")
def FP8Linear(tmp_path_factory: pytest.TempPathFactory) -> Any:
    text = (Path(__file__).parents[2] / "specs" / "fp8_linear.fuse").read_text()
    return load_from(text, compile_file, tmp_path_factory.mktemp("cache")).FP8Linear


class Adapted(torch.nn.Module):
    """A layer with a product of low rank beside it, as LoRA has it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.base = torch.nn.Linear(inputs, outputs)
        self.down = torch.nn.Linear(inputs, 4, bias=False)
        self.up = torch.nn.Linear(4, outputs, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))


class Doubled(torch.nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 2


class Renamed(torch.nn.Linear):
    """A subclass that somebody may look for."""


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(50, 32)
        self.body = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.SiLU(), torch.nn.Linear(64, 32))
        self.adapted = Adapted(32, 32)
        self.doubled = Doubled(32, 32)
        self.renamed = Renamed(32, 32)
        self.first = torch.nn.Linear(32, 32)
        self.again = self.first
        self.tied = torch.nn.Linear(32, 32)
        self.tied.weight = self.first.weight
        self.precise = torch.nn.Linear(32, 8)
        self.hooked = torch.nn.Linear(32, 32)
        self.hooked.register_forward_pre_hook(lambda module, given: None)
        self.normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(32, 32))
        self.attention = torch.nn.MultiheadAttention(32, 2, batch_first=True)
        self.encoder = torch.nn.TransformerEncoderLayer(32, 2, 48, batch_first=True, dropout=0)
        self.unused = torch.nn.Linear(32, 32)
        self.head = torch.nn.Linear(32, 50, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        x = functional.rms_norm(x + self.adapted(self.body(x)), (32,))
        x = x + self.doubled(self.renamed(x)) + self.tied(self.first(x) + self.again(x))
        x = functional.rms_norm(x + self.hooked(self.normed(x)), (32,))
        x = x + self.attention(x, x, x)[0] + self.encoder(x)
        return self.head(functional.rms_norm(x + self.precise(x.float()).sum().to(x.dtype), (32,)))


@pytest.fixture
def model(device: torch.device) -> Model:
    torch.manual_seed(3)
    made = Model().to(device).bfloat16().eval().requires_grad_(False)
    made.precise.float()
    return made


@pytest.fixture
def tokens(device: torch.device) -> torch.Tensor:
    return torch.randint(0, 50, (2, 7), device=device)


TAKEN = {"body.0", "body.2", "adapted.base", "adapted.down", "adapted.up", "first", "tied", "unused"}

KEPT = {
    "doubled": "Doubled is a subclass of Linear",
    "renamed": "Renamed is a subclass of Linear",
    "precise": "`x` should be float16 or bfloat16, but is float32; convert it with x.to(torch.float16)",
    "hooked": "has hooks, which would be lost",
    "normed": "computes its weight in every call (a parametrization)",
    "attention.out_proj": "NonDynamicallyQuantizableLinear is a subclass of Linear",
    "encoder.self_attn.out_proj": "NonDynamicallyQuantizableLinear is a subclass of Linear",
    "encoder.linear1": "TransformerEncoderLayer reads its weight itself",
    "encoder.linear2": "TransformerEncoderLayer reads its weight itself",
    "head": "`embed.weight` is the same weight",
}


def weights(model: torch.nn.Module) -> int:
    """Bytes of all that linear layers hold, and modules that took their places."""
    tensors = {
        (tensor.data_ptr(), tensor.dtype): tensor.numel() * tensor.itemsize
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) or hasattr(module, "from_linear")
        for tensor in (*module.parameters(), *module.buffers())
    }
    return sum(tensors.values())


@torch.no_grad()
@pytest.mark.parametrize("drops", [False, True])
def test_what_can_be_converted_is_and_the_rest_says_why(
    drops: bool, FP8Linear: Any, model: Model, tokens: torch.Tensor
) -> None:
    y, before = model(tokens), weights(model)
    done = fusec.convert(model, FP8Linear, drop_master=drops)
    assert {layer.names[0] for layer in done.converted} == TAKEN
    assert {layer.names[0]: layer.kept for layer in done.layers if layer.kept} == KEPT
    for name in TAKEN:
        assert isinstance(model.get_submodule(name), FP8Linear)
        assert model.get_submodule(name).has_master != drops
    assert model.again is model.first
    assert model.head.weight is model.embed.weight
    assert done.before == before
    if drops:
        assert done.after == weights(model) < before
        assert model.tied.weight_fp8 is model.first.weight_fp8
    else:
        stored = {
            id(module.weight): module.bytes_stored() for module in model.modules() if isinstance(module, FP8Linear)
        }
        assert model.tied.weight is model.first.weight
        assert done.after == before + sum(stored.values())
    error = ((model(tokens) - y).double().square().sum() / y.double().square().sum()).sqrt()
    assert 0 < error < 0.2


@torch.no_grad()
def test_a_dry_run_changes_nothing_and_tells_the_same(FP8Linear: Any, model: Model, tokens: torch.Tensor) -> None:
    y, modules = model(tokens), dict(model.named_modules())
    dry = fusec.convert(model, FP8Linear, samples=tokens, dry_run=True, drop_master=True)
    assert dict(model.named_modules()) == modules
    assert all(not layer._forward_hooks for layer in model.modules())
    assert torch.equal(model(tokens), y)
    done = fusec.convert(model, FP8Linear, samples=(tokens,), drop_master=True)
    assert done.layers == dry.layers
    assert dry.dry_run
    assert str(done) == str(dry).replace("would become", "became")


@torch.no_grad()
def test_errors_are_those_of_what_reaches_a_layer(FP8Linear: Any, model: Model, tokens: torch.Tensor) -> None:
    given: dict[str, Any] = {}
    model.body[2].register_forward_hook(lambda module, inputs, y: given.update(x=inputs[0], y=y))
    model(tokens)
    model.body[2]._forward_hooks.clear()
    for samples in (tokens, {"tokens": tokens}, lambda model: model(tokens)):
        done = fusec.convert(model, FP8Linear, samples=samples, dry_run=True)
        errors = {layer.names[0]: layer.error for layer in done.layers}
        made = FP8Linear.from_linear(model.body[2])(given["x"])
        wanted = ((made - given["y"]).double().square().sum() / given["y"].double().square().sum()).sqrt().item()
        assert errors["body.2"] == pytest.approx(wanted, rel=1e-2)
        assert all(0 < errors[name] < 0.1 for name in TAKEN - {"unused"})
        assert {layer.names[0] for layer in done.layers if layer.error is None} == {*KEPT, "unused"}
    (unused,) = (layer for layer in done.layers if layer.names == ("unused",))
    assert unused.kept == "the samples did not reach it"


@torch.no_grad()
def test_it_can_be_undone_while_float_weights_are_there(FP8Linear: Any, model: Model, tokens: torch.Tensor) -> None:
    y, modules = model(tokens), dict(model.named_modules())
    done = fusec.convert(model, FP8Linear)
    assert not torch.equal(model(tokens), y)
    done.undo()
    assert dict(model.named_modules()) == modules
    assert torch.equal(model(tokens), y)
    dropped = fusec.convert(model, FP8Linear, drop_master=True)
    with pytest.raises(ArgumentError, match="undo: the float weights were dropped"):
        dropped.undo()
    with pytest.raises(ArgumentError, match="undo: nothing was converted"):
        fusec.convert(copy.deepcopy(model), FP8Linear, dry_run=True).undo()


def test_a_filter(FP8Linear: Any, model: Model) -> None:
    done = fusec.convert(model, FP8Linear, lambda name, layer: name.startswith("body") and layer.in_features == 64)
    assert [layer.names for layer in done.converted] == [("body.2",)]
    assert type(model.body[0]) is torch.nn.Linear
    kept = {layer.names[0]: layer.kept for layer in done.layers if layer.kept}
    assert kept["first"] == "left out by `where`"


def test_weights_shared_with_a_layer_that_stays_stay(FP8Linear: Any, model: Model) -> None:
    done = fusec.convert(model, FP8Linear, lambda name, _: name != "tied")
    (first,) = (layer for layer in done.layers if "first" in layer.names)
    assert first.kept == "`tied.weight` is the same weight"
    assert first.names == ("first", "again")


def test_the_model_itself_and_models_without_layers(FP8Linear: Any) -> None:
    done = fusec.convert(torch.nn.Linear(4, 4).half(), FP8Linear)
    assert done.layers[0].kept == "it is the model itself: FP8Linear.from_linear converts it"
    assert fusec.convert(torch.nn.ReLU(), FP8Linear).layers == ()
    with pytest.raises(ArgumentError, match=r"convert: `to` should be a class of linear layers"):
        fusec.convert(torch.nn.ReLU(), torch.nn.Linear)


def test_any_class_of_linear_layers(tmp_path: Path, device: torch.device) -> None:
    Halved = load_from(SPEC, compile_file, tmp_path).Halved
    model = torch.nn.Sequential(
        torch.nn.Linear(32, 16, bias=False), torch.nn.Linear(16, 64, bias=False), torch.nn.Linear(64, 8)
    )
    model.to(device).half().requires_grad_(False)
    x = torch.randn(3, 32, device=device).half()
    y = model[0](x)
    done = fusec.convert(model, Halved, factor=0.25)
    kept = [layer.kept for layer in done.layers]
    assert kept[0] == ""
    assert re.match(r"needs ins % 32 == 0", kept[1])
    assert kept[2] == "`linear` has a bias, and such a layer has none"
    assert (done.layers[0].before, done.layers[0].after) == (1024, 1024)
    torch.testing.assert_close(model[0](x), y / 4)


def test_a_table(model: Model, FP8Linear: Any) -> None:
    lines = str(fusec.convert(model, FP8Linear, dry_run=True, drop_master=True)).split("\n")
    assert re.fullmatch(r"8 of 18 linear layers would become FP8Linear: [\d.]+ kB -> [\d.]+ kB", lines[0])
    assert re.split(r"  +", lines[1])[-2:] == ["error", "kept because"]
    (shared,) = (line for line in lines if line.startswith("first = again"))
    assert "32 x 32" in shared
    assert Conversion("Target", (), False).before == 0
