"""Modules that can keep what was prepared of their weights alone: what they hold, and that it survives."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fusec.driver.compile import compile_file
from fusec.driver.load import load_from
from fusec.runtime import FusecError, NoBackwardError, UnsupportedDtypeError

FP8_LINEAR = Path(__file__).parents[2] / "specs" / "fp8_linear.fuse"

SPEC = '''
op gated(x: T[..., K], weight gate: T[N, K], weight norm: T[K], weight up: T[N, K], factor: f32,
         activation: {silu, relu} = silu, weight shift: T[N] = 0) -> y: T[..., N]
where T in {f16, bf16}:
    """A gate of 8 bits, with scales of rows and columns."""
    q, scale = quantize(x * norm, i8, over=K)
    gate_codes, gate_scale = quantize(gate, i8, over=K)
    up_codes, up_scale = quantize(up, i8, over=K)
    a = activation(dot(q, gate_codes, over=K) * scale * gate_scale)
    y = a * (dot(q, up_codes, over=K) * scale * up_scale) * factor + shift

module Gated(ins: K, outs: N, activation, shift) of gated

op scaled(x: T[..., K], weight weight: T[N, K], weight gain: T[N]) -> y: T[..., N]
where T in {f16, bf16}:
    """What is prepared has as many bits as the weight."""
    y = dot(x, weight * gain, over=K, precision=T)

module Scaled(ins: K, outs: N) of scaled

op told(x: T[..., K], weight weight: i8[N, K], weight scale: f32[N]) -> y: T[..., N]
where T in {f16, bf16}:
    """Calls tell the type of what is prepared."""
    y = dot(x, weight * scale, over=K, precision=T)

module Told(ins: K, outs: N) of told

op leaning(x: T[..., K], weight weight: T[N, K]) -> (y: T[..., N], total: f32[...])
where T in {f16, bf16}:
    """The weight itself is read as well."""
    q, scale = quantize(x, f8e4m3, over=K)
    codes, of_rows = quantize(weight, f8e4m3, over=K)
    y = dot(q, codes, over=K) * scale * of_rows
    total = sum(dot(x, weight, over=K), over=N)

module Leaning(ins: K, outs: N) of leaning

op mixed(x: T[..., K], weight weight: V[N, K], weight bias: W[N] = 0) -> y: T[..., N]
where T in {f16, bf16}, V in {f16, bf16, f32}, W in {f16, bf16, f32}:
    """The weight is of any type, the bias rounded to that of x."""
    q, scale = quantize(x, f8e4m3, over=K)
    codes, of_rows = quantize(weight, f8e4m3, over=K)
    y = dot(q, codes, over=K) * scale * of_rows + cast(bias, T)

module Mixed(ins: K, outs: N, bias) of mixed
'''

K, N = 48, 32


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return load_from(SPEC, compile_file, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def fp8(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return load_from(FP8_LINEAR.read_text(), compile_file, tmp_path_factory.mktemp("cache"))


Make = Callable[[], tuple[Any, Callable[[Any], torch.Tensor]]]


@pytest.fixture(params=["FP8Linear", "Gated"])
def make(request: pytest.FixtureRequest, fp8: SimpleNamespace, modules: SimpleNamespace, device: torch.device) -> Make:
    """A module with its master, anew each time, and how it is called."""
    x = torch.randn(3, 5, K, device=device, dtype=torch.bfloat16)

    def made() -> tuple[Any, Callable[[Any], torch.Tensor]]:
        torch.manual_seed(7)
        if request.param == "FP8Linear":
            return fp8.FP8Linear(K, N, device=device, dtype=torch.bfloat16), lambda module: module(x)
        module = modules.Gated(K, N, "relu", shift=True, device=device, dtype=torch.bfloat16)
        with torch.no_grad():
            module.shift.normal_()
        return module, lambda module: module(x, 0.5)

    return made


def bytes_of(module: torch.nn.Module) -> int:
    tensors = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())


@torch.no_grad()
def test_it_computes_the_same_without_its_master_in_less_memory(make: Make) -> None:
    module, call = make()
    y, whole, values = call(module), bytes_of(module), module.stored()
    assert module.drop_master() is module
    assert torch.equal(call(module), y)
    assert not module.has_master
    assert all(
        torch.equal(value.cpu().view(torch.uint8), module.stored()[name].cpu().view(torch.uint8))
        for name, value in values.items()
    )
    others = sum(p.numel() * 2 for name, p in module.named_parameters())
    kept = sum(value.numel() * value.itemsize for value in values.values())
    assert bytes_of(module) == kept + others
    assert kept + others < whole
    assert kept == sum(N * K + 4 * N for name in values if "scale" in name)
    assert torch.equal(call(module.drop_master()), y)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_weights_of_another_type_than_what_comes_in(
    dtype: torch.dtype, modules: SimpleNamespace, device: torch.device
) -> None:
    x, module = torch.randn(3, K, device=device).to(dtype), modules.Mixed(K, N, bias=True, device=device)
    module.bias.normal_()
    y = module(x)
    assert module.bias.dtype == torch.float32
    assert torch.equal(module.drop_master()(x), y)


def _halved(module: Any) -> Any:
    return module.half().bfloat16()


def _typed(module: Any) -> Any:
    return module.type(torch.float32).type(torch.bfloat16)


def _through_a_file(module: Any) -> Any:
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(module)
    with torch.no_grad():
        for tensor in (*other.parameters(), *other.buffers()):
            tensor.zero_()
    other.load_state_dict(torch.load(file))
    return other


SURVIVED: dict[str, Callable[[Any], Any]] = {
    "half": _halved,
    "double": lambda module: module.double().bfloat16(),
    "float": lambda module: module.float().to(torch.bfloat16),
    "to": lambda module: module.to(torch.float16).to(dtype=torch.bfloat16),
    "type": _typed,
    "to a device": lambda module: module.to(next(module.parameters()).device),
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "save and load": _through_a_file,
    "eval": lambda module: module.eval().requires_grad_(False),
}


@pytest.mark.parametrize("way", SURVIVED)
@torch.no_grad()
def test_values_survive(way: str, make: Make) -> None:
    module, call = make()
    y = call(module.drop_master())
    before = {name: value.clone() for name, value in module.stored().items()}
    after = SURVIVED[way](module)
    assert {name: value.dtype for name, value in after.stored().items()} == {n: v.dtype for n, v in before.items()}
    for name, value in after.stored().items():
        assert torch.equal(value.view(torch.uint8), before[name].view(torch.uint8))
    if way not in ("half", "to"):  # what is no prepared weight went through 16 other bits
        assert torch.equal(call(after), y)


@torch.no_grad()
def test_the_master_stays_the_master_under_conversion(make: Make) -> None:
    module, call = make()
    call(module)
    module.half()
    assert all(parameter.dtype == torch.float16 for parameter in module.parameters())
    assert {value.dtype for value in module.stored().values()} <= {torch.float8_e4m3fn, torch.int8, torch.float32}


@torch.no_grad()
def test_a_state_dict_has_the_values_in_both_forms(make: Make) -> None:
    module, _ = make()
    with_master, values = module.state_dict(), list(module.stored())
    without = copy.deepcopy(module).drop_master().state_dict()
    weights = module._storing[1]
    assert set(with_master) == {*without, *weights}
    assert set(values) < set(without)
    assert not set(weights) & set(without)


@pytest.mark.parametrize("source", ["master", "float alone", "values"])
@pytest.mark.parametrize("target", ["master", "dropped", "meta", "dropped meta"])
@pytest.mark.parametrize("assign", [False, True])
@torch.no_grad()
def test_any_checkpoint_is_loaded_into_any_module(source: str, target: str, assign: bool, make: Make) -> None:
    if "meta" in target and source != "values" and not assign:
        pytest.skip("PyTorch itself copies nothing to the meta device")
    given, call = make()
    y = call(given)
    state = given.state_dict() if source != "values" else given.drop_master().state_dict()
    if source == "float alone":
        state = {name: value for name, value in state.items() if name not in given.stored()}
    other, _ = make()
    for parameter in other.parameters():
        parameter.mul_(3)
    if "meta" in target:
        other = other.to("meta")
        assign = assign or any(name not in state for name in ())
    if "dropped" in target:
        other.drop_master()
    if "meta" in target and not assign:
        for name, parameter in list(other.named_parameters()):
            if name in state:
                setattr(other, name, torch.nn.Parameter(torch.empty_like(parameter, device=y.device)))
    assert other.load_state_dict(state, assign=assign).missing_keys == []
    assert torch.equal(call(other), y)
    assert other.has_master == ("dropped" not in target and source != "values")


@torch.no_grad()
def test_a_checkpoint_of_bytes(make: Make) -> None:
    given, call = make()
    y = call(given.drop_master())
    state = given.state_dict()
    raw = {n: v.view(torch.uint8) if n in given.stored() and v.itemsize == 1 else v for n, v in state.items()}
    other, _ = make()
    other.load_state_dict(raw)
    assert torch.equal(call(other), y)


def test_what_does_not_fit_is_told(fp8: SimpleNamespace) -> None:
    small = fp8.FP8Linear(16, 16, dtype=torch.float16)
    for other in (fp8.FP8Linear(32, 16, dtype=torch.float16), fp8.FP8Linear(32, 16, dtype=torch.float16).drop_master()):
        for state in (small.state_dict(), copy.deepcopy(small).drop_master().state_dict()):
            with pytest.raises(RuntimeError, match="size mismatch for weight"):
                copy.deepcopy(other).load_state_dict(state)
    with pytest.raises(RuntimeError, match="Missing key"):
        copy.deepcopy(small).drop_master().load_state_dict({"bias": small.bias})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        small.load_state_dict({**small.state_dict(), "other": small.bias})
    with pytest.raises(FusecError, match=r"FP8Linear: reset_parameters needs `weight`"):
        copy.deepcopy(small).drop_master().reset_parameters()


def _stepped(module: Any) -> None:
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter)
    torch.optim.SGD(module.parameters(), lr=0.5).step()


CHANGES: dict[str, Callable[[Any], Any]] = {
    "in place": lambda module: [parameter.mul_(-2) for parameter in module.parameters()],
    "by an optimizer": _stepped,
    "load_state_dict": lambda module: module.load_state_dict(
        {name: -value for name, value in module.state_dict().items() if name not in module.stored()}
    ),
    "another parameter": lambda module: [
        setattr(module, name, torch.nn.Parameter(-p)) for name, p in list(module.named_parameters())
    ],
}


@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_values_are_never_stale(change: str, make: Make) -> None:
    module, call = make()
    call(module)
    CHANGES[change](module)
    fresh, _ = make()
    fresh.load_state_dict({n: v.clone() for n, v in module.state_dict().items() if n not in module.stored()})
    for name, value in module.stored().items():
        assert torch.equal(value.view(torch.uint8), fresh.stored()[name].view(torch.uint8))
    expected = call(fresh)
    assert torch.equal(call(module), expected)
    assert torch.equal(call(copy.deepcopy(module).drop_master()), expected)


def test_a_dropped_master_of_shared_weights_keeps_its_own_values(make: Make) -> None:
    module, call = make()
    shared, _ = make()
    for name in module._storing[1]:
        setattr(shared, name, getattr(module, name))
    with torch.no_grad():
        call(module)
        y = call(shared.drop_master())
        for parameter in module.parameters():
            parameter.mul_(2)
        call(module)
        assert torch.equal(call(shared), y)


@torch.no_grad()
def test_nothing_of_a_dropped_master_is_kept_elsewhere(make: Make) -> None:
    module, call = make()
    prepare = module._storing[0]
    before = _entries(prepare)
    call(module)
    assert _entries(prepare) >= before
    weights = [weakref.ref(module._parameters[name].untyped_storage()) for name in module._storing[1]]
    module.drop_master()
    gc.collect()
    assert [weight() for weight in weights] == [None] * len(weights)
    call(module)
    assert _entries(prepare) == before


def _entries(prepare: Any) -> int:
    gc.collect()
    return sum(len(prepared._kept) for prepared in prepare._known.values())


@pytest.mark.parametrize("drops", [False, True])
def test_training_through_it_is_refused(drops: bool, make: Make, device: torch.device) -> None:
    module, call = make()
    if drops:
        module.drop_master()
    y = call(module)
    assert y.requires_grad
    with pytest.raises(NoBackwardError, match="no backward is built yet"):
        y.sum().backward()


@torch.no_grad()
def test_it_compiles_whole(make: Make) -> None:
    module, call = make()
    y = call(module.drop_master())
    assert torch.equal(call(torch.compile(module, fullgraph=True, backend="aot_eager")), y)


@pytest.mark.parametrize("name", ["Scaled", "Told", "Leaning"])
def test_modules_that_have_to_keep_their_weights(name: str, modules: SimpleNamespace) -> None:
    """What is prepared is no smaller, or depends on calls, or is not all that is read."""
    module = getattr(modules, name)(K, N)
    assert not hasattr(module, "drop_master")
    assert not list(module.buffers())


# Of a torch.nn.Linear


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("drops", [True, False])
@torch.no_grad()
def test_from_linear(bias: bool, drops: bool, fp8: SimpleNamespace, device: torch.device) -> None:
    linear = torch.nn.Linear(K, N, bias, device=device, dtype=torch.float16).eval().requires_grad_(False)
    module = fp8.FP8Linear.from_linear(linear, drop_master=drops)
    x = torch.randn(4, K, device=device).half()
    assert torch.equal(module(x), fp8.fp8_linear(x, linear.weight, linear.bias))
    assert (module.in_features, module.out_features, module.training) == (K, N, False)
    assert module.bias is linear.bias
    assert module.has_master != drops
    assert drops or module.weight is linear.weight


@torch.no_grad()
def test_from_linear_of_another_dtype(fp8: SimpleNamespace, device: torch.device) -> None:
    with pytest.raises(UnsupportedDtypeError, match=r"should be float16 or bfloat16.*`dtype`"):
        fp8.FP8Linear.from_linear(torch.nn.Linear(K, N, device=device, dtype=torch.float64))
    linear, x = torch.nn.Linear(K, N, device=device), torch.randn(4, K, device=device).bfloat16()
    module = fp8.FP8Linear.from_linear(linear, dtype=torch.bfloat16, drop_master=True)
    assert torch.equal(module(x), fp8.fp8_linear(x, linear.weight.bfloat16(), linear.bias.bfloat16()))
    module = fp8.FP8Linear.from_linear(linear, drop_master=True)
    assert torch.equal(module(x), fp8.fp8_linear(x, linear.weight, linear.bias))


class _Own(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1


def _hooked() -> torch.nn.Module:
    linear = torch.nn.Linear(4, 4)
    linear.register_forward_hook(lambda module, x, y: y)
    return linear


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (torch.nn.Conv1d(4, 4, 1), "should be a torch.nn.Linear, but is Conv1d"),
        (_Own(4, 4), "has a forward of its own, that of _Own"),
        (torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 4)), "computes its weight in every call"),
        (_hooked(), "has hooks"),
    ],
)
def test_layers_that_are_no_plain_linear(layer: torch.nn.Module, message: str, fp8: SimpleNamespace) -> None:
    with pytest.raises(FusecError, match=message):
        fp8.FP8Linear.from_linear(layer)
