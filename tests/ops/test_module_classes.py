"""Module classes of generated files: what they own and take, what they compute, and how they behave as modules."""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from compiled import compiled
from torch.nn import functional

from fusec.driver.compile import compile_file
from fusec.driver.load import load_from
from fusec.runtime.errors import ArgumentError, FusecError, ShapeMismatchError, UnsupportedDtypeError

SPEC = '''
op rotated(x: T[B, S, H*D], weight weight: T[H*D], cos: C[S, D], sin: C[S, D], eps: f32 = 1e-6,
           num_heads: dim(H) = infer) -> y: T[B, S, H*D]
where T in {f16, bf16, f32}, C in {f16, bf16, f32}, D % 2 == 0:
    """RMSNorm, then rotary embedding of every head."""
    y = rope(rmsnorm(x, weight, eps, over=(H, D)), cos, sin, over=D)

module Rotated(hidden_dim: H*D, head_dim: D, eps) of rotated

op gated(x: T[..., K], weight gate_weight: T[N, K], weight up_weight: T[N, K], activation: {silu, gelu} = silu)
  -> y: T[..., N]
where T in {f16, bf16, f32}:
    """activation(gate(x)) * up(x)."""
    y = activation(dot(x, gate_weight, over=K)) * dot(x, up_weight, over=K)

module Gated(hidden_dim: K, intermediate_dim: N, activation) of gated

op projected(x: T[..., K], weight gain: T[K], weight weight: T[N, K], factor: f32, weight bias: T[N] = 0,
             eps: f32 = 1e-6) -> y: T[..., N]
where T in {f16, bf16}:
    """A scaled projection of an RMS-normalised input."""
    y = dot(rmsnorm(x, gain, eps, over=K), weight, over=K) * factor + bias

module Projected(hidden_dim: K, out_dim: N = 8, bias, eps = 1e-5) of projected

module Unbiased(hidden_dim: K, out_dim: N) of projected

op coded(x: f32[..., N], weight codes: i8[N], weight scale: f32[N] = 0.5, flip: bool = false) -> y: f32[..., N]:
    """x with the sign that codes have."""
    y = where(flip, -x, x) * codes * scale

module Coded(n: N, flip, scale = true) of coded
'''


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The ops and classes of `SPEC`, as `fusec.load` gives them."""
    return load_from(SPEC, compile_file, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    ("name", "parameters", "forward"),
    [
        ("Rotated", "hidden_dim, head_dim, eps=1e-06, *, device=None, dtype=None", "x, cos, sin"),
        ("Gated", "hidden_dim, intermediate_dim, activation='silu', *, device=None, dtype=None", "x"),
        ("Projected", "hidden_dim, out_dim=8, bias=False, eps=1e-05, *, device=None, dtype=None", "x, factor"),
        ("Unbiased", "hidden_dim, out_dim, *, device=None, dtype=None", "x, factor, eps=1e-06"),
        ("Coded", "n, flip=False, scale=True, *, device=None", "x"),
    ],
)
def test_signatures(modules: SimpleNamespace, name: str, parameters: str, forward: str) -> None:
    made = getattr(modules, name)
    assert _bare(made) == f"({parameters})"
    assert _bare(made.forward) == f"(self, {forward})"


ALWAYS = {"device": "where the parameters are made; PyTorch's default when None."}


@pytest.mark.parametrize(
    ("name", "doc", "arguments", "attributes", "weights"),
    [
        (
            "Rotated",
            "RMSNorm, then rotary embedding of every head.",
            {"hidden_dim": "extent H*D.", "head_dim": "extent D.", "eps": "f32."},
            {"num_heads": "hidden_dim // head_dim."},
            {"weight": "T[hidden_dim], at first 1."},
        ),
        (
            "Gated",
            "activation(gate(x)) * up(x).",
            {"hidden_dim": "extent K.", "intermediate_dim": "extent N.", "activation": 'one of "silu", "gelu".'},
            {},
            {
                f"{which}_weight": "T[intermediate_dim, hidden_dim], at first uniform within 1 / sqrt(hidden_dim) of 0."
                for which in ("gate", "up")
            },
        ),
        (
            "Coded",
            "x with the sign that codes have.",
            {"n": "extent N.", "flip": "bool.", "scale": "whether there is the parameter `scale`."},
            {},
            {"codes": "i8[n], at first 1.", "scale": "f32[n], at first 0.5."},
        ),
    ],
)
def test_help_tells_of_arguments_attributes_and_weights(
    modules: SimpleNamespace,
    name: str,
    doc: str,
    arguments: dict[str, str],
    attributes: dict[str, str],
    weights: dict[str, str],
) -> None:
    first, told, *sections = (inspect.getdoc(getattr(modules, name)) or "").split("\n\n")
    found = {heading: _entries(text) for heading, _, text in (section.partition(":\n") for section in sections)}
    dtype = {} if name == "Coded" else {"dtype": "of the parameters; PyTorch's default when None."}
    assert f"`{name.lower()}`" in first
    assert told == doc
    assert found["Args"] == arguments | ALWAYS | dtype
    assert found.get("Attributes", {}) == attributes
    assert found["Parameters"] == weights
    assert "FusecError" in next(iter(found["Raises"]))


def _entries(text: str) -> dict[str, str]:
    joined = text.replace("\n        ", " ")
    return dict(line.strip().split(": ", 1) for line in joined.splitlines())


def _bare(function: Any) -> str:
    """A signature without annotations."""
    found = inspect.signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@torch.no_grad()
def test_gated_is_what_linear_layers_make(modules: SimpleNamespace, device: torch.device, dtype: torch.dtype) -> None:
    module = modules.Gated(24, 10, "gelu").to(device).to(dtype)
    x = torch.randn(3, 5, 24, device=device, dtype=dtype)
    gate, up = (functional.linear(x.double(), w.double()) for w in (module.gate_weight, module.up_weight))
    torch.testing.assert_close(module(x), (functional.gelu(gate) * up).to(dtype))


@torch.no_grad()
def test_rotated_uses_weight_eps_and_heads(modules: SimpleNamespace, device: torch.device) -> None:
    module = modules.Rotated(24, 8, 0.5, device=device)
    assert (module.hidden_dim, module.head_dim, module.num_heads) == (24, 8, 3)
    module.weight.normal_()
    x, cos, sin = (torch.randn(shape, device=device) for shape in ((2, 3, 24), (3, 8), (3, 8)))
    normed = functional.rms_norm(x, (24,), module.weight, 0.5).unflatten(-1, (3, 8))
    first, second = normed.chunk(2, -1)
    turned = normed * cos[:, None] + torch.cat((-second, first), -1) * sin[:, None]
    torch.testing.assert_close(module(x, cos, sin), turned.flatten(-2))
    with pytest.raises(ShapeMismatchError, match="`num_heads` is 3, but the tensors have H = 6"):
        module(x, cos[:, :4], sin[:, :4])


@torch.no_grad()
def test_an_optional_weight_is_there_or_not(modules: SimpleNamespace, device: torch.device) -> None:
    without = modules.Projected(16, device=device, dtype=torch.float16)
    biased = modules.Projected(16, 8, True, device=device, dtype=torch.float16)
    assert list(without.state_dict()) == ["gain", "weight"]
    assert list(biased.state_dict()) == ["gain", "weight", "bias"]
    assert without.bias is None
    biased.load_state_dict(without.state_dict(), strict=False)
    biased.bias.copy_(torch.arange(8.0))
    x = torch.randn(4, 16, device=device, dtype=torch.float16)
    torch.testing.assert_close(biased(x, 2.0), without(x, 2.0) + biased.bias, rtol=2**-10, atol=2**-8)
    plain = modules.Unbiased(16, 8, device=device, dtype=torch.float16)
    plain.load_state_dict(without.state_dict())
    assert torch.equal(plain(x, 2.0, 1e-5), without(x, 2.0))


@torch.no_grad()
def test_a_state_dict_makes_an_equal_module(modules: SimpleNamespace, device: torch.device) -> None:
    module, other = (modules.Gated(12, 6, device=device) for _ in range(2))
    x = torch.randn(2, 12, device=device)
    assert list(module.state_dict()) == ["gate_weight", "up_weight"]
    assert not torch.equal(other(x), module(x))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), module(x))
    for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(copied(x), module(x))
        assert copied.gate_weight.data_ptr() != module.gate_weight.data_ptr()


def test_parameters_start_as_in_linear_or_neutral(modules: SimpleNamespace) -> None:
    torch.manual_seed(0)
    module = modules.Projected(16, 8, bias=True)
    torch.manual_seed(0)
    torch.testing.assert_close(module.weight, torch.nn.Linear(16, 8, bias=False).weight)
    assert torch.equal(module.gain, torch.ones(16))
    assert torch.equal(module.bias, torch.zeros(8))
    with torch.no_grad():
        module.gain.zero_()
    module.reset_parameters()
    assert torch.equal(module.gain, torch.ones(16))


@torch.no_grad()
def test_weights_of_integers_ask_for_no_gradient(modules: SimpleNamespace, device: torch.device) -> None:
    module = modules.Coded(3, flip=True, device=device)
    assert (module.codes.dtype, module.codes.requires_grad) == (torch.int8, False)
    assert torch.equal(module.scale.cpu(), torch.full((3,), 0.5))
    module.codes.copy_(torch.tensor([2, 0, -4]))
    assert module(torch.ones(1, 3, device=device)).tolist() == [[-1, 0, 2]]


def test_they_say_what_they_are(modules: SimpleNamespace) -> None:
    assert repr(modules.Gated(12, 6)) == "Gated(hidden_dim=12, intermediate_dim=6, activation='silu')"
    assert repr(modules.Projected(12, bias=True)) == "Projected(hidden_dim=12, out_dim=8, bias=True, eps=1e-05)"


def test_they_move_and_convert(modules: SimpleNamespace) -> None:
    module = modules.Gated(12, 6, dtype=torch.bfloat16, device="meta")
    assert (module.up_weight.dtype, module.up_weight.device.type) == (torch.bfloat16, "meta")
    assert module.half().up_weight.dtype == torch.float16
    assert modules.Gated(12, 6).up_weight.dtype == torch.float32


@torch.no_grad()
def test_they_compile_whole(modules: SimpleNamespace, device: torch.device) -> None:
    module = torch.nn.Sequential(modules.Gated(12, 6, device=device), torch.nn.ReLU())
    x = torch.randn(2, 12, device=device)
    assert torch.equal(torch.compile(module, fullgraph=True, backend="aot_eager")(x), module(x))


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("Gated", {"hidden_dim": 0}, ArgumentError, "Gated: `hidden_dim` should be at least 1, but is 0"),
        ("Gated", {"hidden_dim": 4.0}, ArgumentError, "Gated: `hidden_dim` should be an integer, but is 4.0 (float)"),
        ("Gated", {"hidden_dim": True}, ArgumentError, "Gated: `hidden_dim` should be an integer, but is True (bool)"),
        ("Gated", {"activation": "swish"}, ArgumentError, "should be one of 'silu', 'gelu', but is 'swish'"),
        (
            "Rotated",
            {"head_dim": 5},
            ShapeMismatchError,
            "hidden_dim % head_dim == 0, but hidden_dim = 12, head_dim = 5",
        ),
        ("Rotated", {"head_dim": 3}, ShapeMismatchError, "Rotated: needs head_dim % 2 == 0, but head_dim = 3"),
        ("Rotated", {"eps": "small"}, ArgumentError, "Rotated: `eps` should be a number, but is 'small' (str)"),
        ("Projected", {"bias": 1}, ArgumentError, "Projected: `bias` should be True or False, but is 1 (int)"),
        (
            "Projected",
            {"dtype": torch.float32},
            UnsupportedDtypeError,
            "Projected: `dtype` should be float16 or bfloat16, but is float32",
        ),
    ],
)
def test_arguments_that_do_not_fit(
    modules: SimpleNamespace, name: str, arguments: dict[str, object], error: type[FusecError], message: str
) -> None:
    fine = {"Gated": (12, 6), "Rotated": (12, 4), "Projected": (12, 6)}[name]
    made = getattr(modules, name)
    with pytest.raises(error) as caught:
        made(**{**dict(zip(inspect.signature(made).parameters, fine, strict=False)), **arguments})
    assert message in str(caught.value)


def test_numbers_may_be_infinite(tmp_path: Path, device: torch.device) -> None:
    text = """
op capped(x: f32[..., N], weight scale: f32[N], weight cap: f32[N] = inf, low: f32 = -inf) -> y: f32[..., N]:
    y = maximum(minimum(x * scale, cap), low)

module Capped(n: N, cap = true, low) of capped
"""
    (op,) = compiled(text, tmp_path)
    x = torch.tensor([[-3e38, 0, 3e38]], device=device)
    with torch.no_grad():
        assert torch.equal(op.module.Capped(3, device=device)(x), x)
        assert torch.equal(op.call(x, x[0].abs().clamp(max=1)), x)


def test_names_that_generated_code_has_for_things_of_its_own(tmp_path: Path, device: torch.device) -> None:
    text = """
op tiles(x: f32[..., N], weight parameter: f32[N], weight spread: f32[M, N], real: f32 = 2.0, tiles_: dim(M) = infer)
  -> (Checker: f32[..., M]):
    Checker = dot(x * parameter, spread, over=N) * real

module Op(flag: N, integer: M, real) of tiles
"""
    (op,) = compiled(text, tmp_path)
    module = op.module.Op(4, 3, real=0.5, device=device)
    x = torch.randn(2, 4, device=device)
    with torch.no_grad():
        torch.testing.assert_close(module(x), functional.linear(x, module.spread) * 0.5)


@pytest.mark.parametrize("element", ["i8", "u8", "i4", "u4", "f8e4m3", "f8e5m2"])
def test_a_stored_matrix_of_few_bits(element: str, tmp_path: Path, device: torch.device) -> None:
    """One of integers is 0 until it is loaded; one of 8-bit floats is drawn, as any other."""
    text = (
        f"op f(x: f16[M, K], weight w: {element}[N, K], weight s: f32[N]) -> y: f32[M, N]\nwhere K % 2 == 0:\n"
        "    y = dot(x, w, over=K, precision=f16) * s\n\nmodule Stored(ins: K, outs: N) of f\n"
    )
    (op,) = compiled(text, tmp_path)
    stored = op.module.Stored(32, 4, device=device)
    is_float = stored.w.is_floating_point()
    assert stored.w.requires_grad == is_float
    assert stored.w.shape == (4, 16 if element in ("i4", "u4") else 32)
    assert bool((stored.w.float() != 0).any()) == is_float
    y = stored.requires_grad_(False)(torch.ones(2, 32, dtype=torch.float16, device=device))
    expected = stored.w.float().sum(1).expand(2, 4).cpu()
    torch.testing.assert_close(y.cpu(), expected, rtol=2**-18, atol=2**-18)
