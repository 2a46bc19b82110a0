"""The registered operators: tracing, transforms, gradients, and registration itself."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from sample_ops import accumulate as accumulating
from sample_ops import quantize_per_tensor as quantizing
from sample_ops import rmsnorm as normalizing
from sample_ops import rope_like as rotating
from torch._dynamo.testing import CompileCounter
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from fusec.runtime import NoBackwardError, ShapeMismatchError
from fusec.runtime.dispatch import plain, watched

SAMPLES = Path(normalizing.__file__).parent


def samples(device: torch.device) -> dict[Any, tuple[Any, ...]]:
    x, weight = torch.randn(2, 5, 24, device=device), torch.randn(24, device=device)
    cos, sin = torch.randn(1, 5, 1, 8, device=device), torch.randn(5, 8, device=device)
    return {
        normalizing._OP.operator: (x, weight, 1e-6),
        quantizing._OP.operator: (x[0],),
        rotating._OP.operator: (x, weight, cos, sin, weight, 1e-6, "relu", 3),
        accumulating._OP.operator: (weight.clone(), weight, 2.0, 3),
    }


@pytest.mark.parametrize(
    "op", [normalizing._OP.operator, quantizing._OP.operator, rotating._OP.operator, accumulating._OP.operator], ids=str
)
def test_opcheck(op: Any, device: torch.device) -> None:
    torch.library.opcheck(op, samples(device)[op])


def test_opcheck_with_omitted_arguments(device: torch.device) -> None:
    x, weight, cos, sin, *_ = samples(device)[rotating._OP.operator]
    torch.library.opcheck(rotating._OP.operator, (x, weight, cos, sin, None, 1e-6, "none", None))


def test_compile_without_a_break(device: torch.device) -> None:
    x, weight, _ = samples(device)[normalizing._OP.operator]
    compiled = torch.compile(lambda x, weight: torch.relu(normalizing.rmsnorm(x + 1, weight)) * 2, fullgraph=True)
    torch.testing.assert_close(compiled(x, weight), torch.relu(normalizing.reference(x + 1, weight)) * 2)


def test_compile_an_op_that_writes_in_place(device: torch.device) -> None:
    def step(total: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        accumulating.accumulate(total, x, 2.0)
        return total + 1

    total, x = torch.zeros(9, device=device), torch.ones(9, device=device)
    torch.testing.assert_close(torch.compile(step, fullgraph=True)(total, x), 2 * x + 1)
    torch.testing.assert_close(total, 2 * x)


def test_dynamic_shapes_compile_once(device: torch.device) -> None:
    counter = CompileCounter()
    compiled = torch.compile(rotating.rope_like, fullgraph=True, dynamic=True, backend=counter)
    for batch, tokens, heads, size in [(2, 3, 4, 8), (3, 5, 2, 6), (7, 2, 3, 4), (5, 9, 6, 2)]:
        x, weight = torch.randn(batch, tokens, heads * size), torch.randn(heads * size)
        cos, sin = torch.randn(tokens, size), torch.randn(tokens, size)
        args = [tensor.to(device) for tensor in (x, weight, cos, sin)]
        torch.testing.assert_close(compiled(*args), rotating.reference(*args))
    assert counter.frame_count == 1


@pytest.mark.parametrize("strict", [False, True])
def test_export_with_dynamic_shapes(strict: bool, device: torch.device) -> None:
    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return normalizing.rmsnorm(x, weight)

    x, weight, _ = samples(device)[normalizing._OP.operator]
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    shapes = {"x": {0: batch, 1: tokens}, "weight": None}
    exported = torch.export.export(Model(), (x, weight), dynamic_shapes=shapes, strict=strict)
    other = torch.randn(3, 7, 24, device=device)
    torch.testing.assert_close(exported.module()(other, weight), normalizing.reference(other, weight))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx_sees_one_operator(mode: str, device: torch.device) -> None:
    x, weight, _ = samples(device)[normalizing._OP.operator]
    traced = make_fx(lambda x, weight: normalizing.rmsnorm(x, weight), tracing_mode=mode)(x, weight)
    assert [node.target for node in traced.graph.nodes if node.op == "call_function"] == [normalizing._OP.operator]
    torch.testing.assert_close(traced(x, weight), normalizing.reference(x, weight))


def test_fake_tensors_of_a_device_that_is_not_there() -> None:
    with FakeTensorMode():
        x, weight = torch.empty(3, 8, device="cuda"), torch.empty(8, device="cuda")
        y = normalizing.rmsnorm(x, weight)
        assert (y.shape, y.device.type) == ((3, 8), "cuda")
        with pytest.raises(ShapeMismatchError, match="weight"):
            normalizing.rmsnorm(x, torch.empty(4, device="cuda"))


def test_vmap(device: torch.device) -> None:
    x, weight = torch.randn(3, 4, 8, device=device), torch.randn(3, 8, device=device)
    wanted = torch.stack([normalizing.reference(a, b) for a, b in zip(x, weight, strict=True)])
    torch.testing.assert_close(torch.vmap(normalizing.rmsnorm)(x, weight), wanted)


def test_flop_counter_sees_the_operator(device: torch.device) -> None:
    x, weight, _ = samples(device)[normalizing._OP.operator]
    with FlopCounterMode(display=False) as counter:
        assert watched()
        normalizing.rmsnorm(x, weight)
    assert counter.get_total_flops() == 0


def test_subclasses_and_negated_views_are_dispatched(device: torch.device) -> None:
    class Marked(torch.Tensor):
        pass

    x, weight, _ = samples(device)[normalizing._OP.operator]
    assert isinstance(normalizing.rmsnorm(x.as_subclass(Marked), weight), Marked)
    negated = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()).conj().imag
    assert negated.is_neg()
    gain = weight[:12]
    torch.testing.assert_close(normalizing.rmsnorm(negated, gain), normalizing.reference(negated.resolve_neg(), gain))


def _through(call: Callable[..., torch.Tensor], x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return call(x.clone().requires_grad_(), weight)


@pytest.mark.parametrize(
    "call",
    [
        normalizing.rmsnorm,
        torch.compile(normalizing.rmsnorm, fullgraph=True, backend="aot_eager"),
        lambda x, weight: checkpoint(normalizing.rmsnorm, x, weight, use_reentrant=False),
    ],
    ids=["eager", "compiled", "checkpointed"],
)
def test_forward_runs_and_backward_says_that_it_is_missing(
    call: Callable[..., torch.Tensor], device: torch.device
) -> None:
    x, weight, _ = samples(device)[normalizing._OP.operator]
    y = _through(call, x, weight)
    torch.testing.assert_close(y.detach(), normalizing.reference(x, weight))
    with pytest.raises(NoBackwardError, match="rmsnorm: no backward is built yet"):
        y.sum().backward()


def test_a_parameter_counts_as_a_gradient_too(device: torch.device) -> None:
    x, weight, _ = samples(device)[normalizing._OP.operator]
    gain = torch.nn.Parameter(weight)
    assert normalizing.rmsnorm(x, gain).requires_grad
    with torch.no_grad():
        assert plain((x, gain))
        assert not normalizing.rmsnorm(x, gain).requires_grad


def test_gradients_of_an_op_that_writes_in_place_are_refused(device: torch.device) -> None:
    total = torch.zeros(9, device=device)
    with pytest.raises(NoBackwardError, match="accumulate: no backward is built yet"):
        accumulating.accumulate(total, torch.ones(9, device=device, requires_grad=True), 1.0)
    assert not total.any()


def test_forward_mode_and_functional_gradients_are_refused(device: torch.device) -> None:
    x, weight, _ = samples(device)[normalizing._OP.operator]
    with pytest.raises(NoBackwardError):
        torch.func.grad(lambda x: normalizing.rmsnorm(x, weight).sum())(x)
    with pytest.raises(NoBackwardError):
        torch.func.jvp(lambda x: normalizing.rmsnorm(x, weight), (x,), (x,))
    with forward_ad.dual_level():
        with pytest.raises(NoBackwardError):
            normalizing.rmsnorm(forward_ad.make_dual(x, x), weight)
        torch.testing.assert_close(normalizing.rmsnorm(x, weight), normalizing.reference(x, weight))


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_same_file_again_is_the_same_operator(tmp_path: Path) -> None:
    assert load(SAMPLES / "rmsnorm.py", "again")._OP.operator is normalizing._OP.operator
    assert load(shutil.copy(SAMPLES / "rmsnorm.py", tmp_path), "copied")._OP.operator is normalizing._OP.operator


def test_another_file_with_the_same_name_is_another_operator(tmp_path: Path, device: torch.device) -> None:
    text = (SAMPLES / "rmsnorm.py").read_text()
    other = tmp_path / "rmsnorm.py"
    other.write_text(text.replace("* tl.rsqrt(mean + eps)", "* 2 * tl.rsqrt(mean + eps)"))
    doubled = load(other, "doubled")
    assert doubled._OP.operator is not normalizing._OP.operator
    assert load(other, "doubled_again")._OP.operator is doubled._OP.operator
    x, weight, eps = samples(device)[normalizing._OP.operator]
    torch.testing.assert_close(doubled._OP.operator(x, weight, eps), 2 * normalizing._OP.operator(x, weight, eps))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("warm", [False, True])
@torch.no_grad()
def test_a_traced_call_is_in_the_trace(warm: bool, device: torch.device) -> None:
    x, other, weight = (torch.randn(shape, device=device) for shape in ((3, 8), (3, 8), (8,)))
    normalizing._OP.forget()
    for _ in range(2 * warm):
        normalizing.rmsnorm(x, weight, 0.5)
    traced = torch.jit.trace(lambda x: normalizing.rmsnorm(x, weight, 0.5), (x,), check_trace=False)
    assert torch.equal(traced(other), normalizing.rmsnorm(other, weight, 0.5))
