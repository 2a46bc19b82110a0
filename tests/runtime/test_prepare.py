"""Prepared values: kept while nothing changes, renewed when anything does, gone with the weights."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sample_ops import rmsnorm_linear as linear

import fusec
from fusec.driver.compile import compile_file
from fusec.driver.load import load_from
from fusec.runtime import Plan, Prepare, frozen_weights, prepare
from fusec.runtime.prepare import Entry, Prepared

K, N = 24, 10


class Layer(torch.nn.Module):
    """The weights of one call of the op."""

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.randn(K, device=device, dtype=dtype))
        self.proj = torch.nn.Parameter(torch.randn(N, K, device=device, dtype=dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return linear.rmsnorm_linear(x.to(self.proj.dtype), self.gain, self.proj)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The projections from which values were computed."""
    made: list[torch.Tensor] = []

    def compute(gain: torch.Tensor | None, proj: torch.Tensor) -> torch.Tensor:
        made.append(proj.detach().clone())
        return linear._prepare_rmsnorm_linear(gain, proj)

    monkeypatch.setattr(linear, "_PREPARE", Prepare(compute, weights=("gain", "proj"), names=("folded",)))
    linear._OP.forget()
    return made


@pytest.fixture(autouse=True)
def _plans_forgotten() -> Any:
    yield
    linear._OP.forget()


def check(layer: Layer, y: torch.Tensor, x: torch.Tensor) -> None:
    dtype = layer.proj.dtype
    wanted = linear.reference(x.to(dtype).double(), layer.gain, layer.proj)
    terms = linear.reference(x.to(dtype).double().abs(), layer.gain.abs(), layer.proj.abs())
    # The gain times the weight and the result are rounded to the dtype; squares, a root and the sum over K to f32.
    bound = terms * (torch.finfo(dtype).eps + 2 * K * torch.finfo(torch.float32).eps)
    bound += wanted.abs() * torch.finfo(dtype).eps
    assert y.dtype == dtype
    assert ((y.double() - wanted).abs() <= bound).all()


def _by_optimizer(layer: Layer) -> None:
    for weight in layer.parameters():
        weight.grad = torch.randn_like(weight)
    torch.optim.SGD(layer.parameters(), lr=0.5).step()


def _by_state_dict(layer: Layer) -> None:
    layer.load_state_dict({name: torch.randn_like(weight) for name, weight in layer.state_dict().items()})


def _through_data(layer: Layer) -> None:
    layer.proj.data.neg_()
    torch.autograd.graph.increment_version(layer.proj)


def _through_data_silently(layer: Layer) -> None:
    layer.proj.data.copy_(torch.randn(N, K))
    if layer.proj.is_cuda:  # where weights are compared at some calls only
        fusec.weights_changed()


def _rounded(layer: Layer) -> None:
    layer.half().float()  # the memory of the first weights may be that of the last


def _unequal(layer: Layer) -> None:
    layer.proj.data = layer.proj.data.T.contiguous().T


CHANGES: dict[str, Callable[[Layer], object]] = {
    "in place": lambda layer: layer.proj.mul_(2),
    "in place through a view": lambda layer: layer.proj.view(-1)[3].fill_(7),
    "in place through a detached one": lambda layer: layer.proj.detach().mul_(2),
    "the other weight": lambda layer: layer.gain.copy_(torch.randn(K)),
    "optimizer": _by_optimizer,
    "load_state_dict": _by_state_dict,
    "half": lambda layer: layer.half(),
    "half and back": _rounded,
    "bfloat16": lambda layer: layer.to(torch.bfloat16),
    "data": lambda layer: setattr(layer.proj, "data", torch.randn_like(layer.proj)),
    "another layout": _unequal,
    "another parameter": lambda layer: setattr(layer, "proj", torch.nn.Parameter(layer.proj * 2)),
    "through data, and said so": _through_data,
    "as loaders write it": _through_data_silently,
    "rows swapped through data": lambda layer: _written(layer, layer.proj[torch.arange(N) ^ 1]),
    "one bit through data": lambda layer: _written(layer, layer.proj.nextafter(layer.proj.new_tensor(9.0))),
}


def _written(layer: Layer, proj: torch.Tensor) -> None:
    layer.proj.data.copy_(proj)
    fusec.weights_changed()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(change: str, computed: list[torch.Tensor], device: torch.device) -> None:
    layer, x = Layer(device), torch.randn(3, K, device=device)
    with torch.no_grad():
        for _ in range(2):
            check(layer, layer(x), x)
        assert len(computed) == 1
        for times in (2, 3):
            CHANGES[change](layer)
            for _ in range(3):
                check(layer, layer(x), x)
            assert len(computed) == times or change in ("half", "bfloat16", "another layout")


class Rows(torch.nn.Module):
    """A weight of 8 bits, a scale for each row. One row of x reads them as they are, several the prepared product."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        weight = torch.randint(-9, 9, (16, K), dtype=torch.int8, device=device)
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.scale = torch.nn.Parameter(torch.rand(16, device=device))


@torch.no_grad()
def test_a_change_through_data_is_one_in_every_plan(tmp_path: Path, device: torch.device) -> None:
    text = (
        "op scaled(x: f16[M, K], weight weight: i8[N, K], weight scale: f32[N]) -> y: f32[M, N]:\n"
        "    y = dot(x, weight * scale, over=K)\n"
    )
    op, layer = load_from(text, compile_file, tmp_path), Rows(device)
    for times in range(3):
        for rows in (1, 5, 70):
            x = torch.randn(rows, K, device=device).half()
            wanted = x.double() @ (layer.weight.double() * layer.scale.double()[:, None]).T
            terms = x.double().abs() @ (layer.weight.double() * layer.scale.double()[:, None]).abs().T
            assert ((op(x, layer.weight, layer.scale).double() - wanted).abs() <= 2**-10 * terms).all()
        layer.weight.data.copy_(torch.randint(-9, 9, (16, K), dtype=torch.int8))
        if times == 1:
            layer.scale.data.mul_(2)
        fusec.weights_changed()


def test_a_change_that_is_not_told_is_found_by_content(
    computed: list[torch.Tensor], device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "COMPARED", 3)
    layer, x = Layer(device), torch.randn(3, K, device=device)
    with torch.no_grad():
        for _ in range(8):
            check(layer, layer(x), x)
        layer.proj.data.copy_(torch.randn(N, K))
        for _ in range(3):
            y = layer(x)
        check(layer, y, x)
    assert len(computed) == 2


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
def test_computed_once(mode: Callable[[], Any], computed: list[torch.Tensor], device: torch.device) -> None:
    layer, x = Layer(device), torch.randn(2, 3, K, device=device)
    for rows in (x, x[0], x[:, 1], x[:0], x.transpose(0, 1)) * 2:
        with mode():
            check(layer, layer(rows), rows)
    assert len(computed) == 1


def test_each_of_several_layers_once(computed: list[torch.Tensor], device: torch.device) -> None:
    layers, x = [Layer(device) for _ in range(5)], torch.randn(3, K, device=device)
    with torch.no_grad():
        for layer in layers * 3:
            check(layer, layer(x), x)
        assert len(computed) == 5
        layers[2].gain.neg_()
        for layer in layers * 2:
            check(layer, layer(x), x)
    assert len(computed) == 6


def test_views_of_a_weight(computed: list[torch.Tensor], device: torch.device) -> None:
    gain, stacked = torch.randn(K, device=device), torch.randn(3, K, N, device=device)
    x = torch.randn(4, K, device=device)
    for times in (3, 6):
        for part in (0, 1, 2, 1):
            y = linear.rmsnorm_linear(x, gain, stacked[part].T)
            torch.testing.assert_close(y, linear.reference(x, gain, stacked[part].T))
        assert len(computed) == times
        stacked.mul_(2)


def test_one_memory_seen_in_two_ways(device: torch.device) -> None:
    x, gain, proj = (torch.randn(shape, device=device) for shape in ((3, K), (K,), (K, K)))
    for view in (proj, proj.T, proj, proj.T):
        torch.testing.assert_close(linear.rmsnorm_linear(x, gain, view), linear.reference(x, gain, view))


@pytest.mark.usefixtures("computed")
def test_an_alias_that_counts_for_itself_is_not_trusted(device: torch.device) -> None:
    layer, x = Layer(device), torch.randn(3, K, device=device)
    aliases = []
    with torch.no_grad():
        for _ in range(3):
            aliases.append((layer.gain.data, layer.proj.data))
            check(layer, linear.rmsnorm_linear(x, *aliases[-1]), x)
            layer.proj.mul_(2)
    del aliases
    assert not kept()


def test_memory_of_somebody_else_is_not_trusted(device: torch.device) -> None:
    x, gain, shared = (torch.randn(shape, device=device) for shape in ((3, K), (K,), (N, K)))
    tensors = [torch.from_dlpack(shared) for _ in range(3)]
    for proj in tensors:
        torch.testing.assert_close(linear.rmsnorm_linear(x, gain, proj), linear.reference(x, gain, proj))
        shared *= 2


def test_an_omitted_weight(computed: list[torch.Tensor], device: torch.device) -> None:
    x, proj = torch.randn(3, K, device=device), torch.randn(N, K, device=device)
    for times in (1, 2):
        for _ in range(2):
            torch.testing.assert_close(linear.rmsnorm_linear(x, None, proj), linear.reference(x, None, proj))
        assert len(computed) == times
        proj.mul_(2)


def kept() -> list[Entry]:
    """What the sample op keeps at present."""
    gc.collect()
    return [entry for prepared in linear._PREPARE._known.values() for entry in prepared._kept.values()]


@pytest.mark.usefixtures("computed")
def test_values_go_with_the_weights(device: torch.device) -> None:
    layers, x = [Layer(device) for _ in range(3)], torch.randn(3, K, device=device)
    with torch.no_grad():
        for layer in layers:
            layer(x)
        memory = [weakref.ref(entry.values[0].untyped_storage()) for entry in kept()]
        assert len(memory) == 3
        layers[0].half()  # other memory
        layers[1].proj = torch.nn.Parameter(torch.ones(N, K))  # another tensor
        assert len(kept()) == 1
        assert [reference() is None for reference in memory] == [True, True, False]
    del layer, layers
    assert not kept()
    assert memory[2]() is None


@pytest.mark.usefixtures("computed")
def test_a_value_that_is_a_weight_does_not_keep_it(device: torch.device) -> None:
    x, proj = torch.randn(3, K, device=device), torch.randn(N, K, device=device)
    linear.rmsnorm_linear(x, None, proj)
    memory = weakref.ref(proj.untyped_storage())
    del proj
    assert memory() is None
    assert not kept()


@pytest.mark.usefixtures("computed")
def test_values_are_renewed_where_they_are(device: torch.device) -> None:
    layer, x = Layer(device), torch.randn(3, K, device=device)
    with torch.no_grad():
        layer(x)
        (before,) = kept()
        layer.proj.mul_(2)
        layer(x)
    (after,) = kept()
    assert after is not before
    assert after.addresses == before.addresses


def test_inference_tensors_are_computed_every_time(computed: list[torch.Tensor], device: torch.device) -> None:
    with torch.inference_mode():
        layer, x = Layer(device), torch.randn(3, K, device=device)
    for times in (1, 2):
        with torch.inference_mode():
            check(layer, layer(x), x)
            layer.proj.mul_(2)
        assert len(computed) == times
    assert not kept()
    with torch.inference_mode(), frozen_weights():
        for _ in range(3):
            check(layer, layer(x), x)
    assert len(computed) == 3
    with torch.inference_mode():
        layer.proj.mul_(2)
        check(layer, layer(x), x)


def test_several_threads(computed: list[torch.Tensor], device: torch.device) -> None:
    layer, rows = Layer(device), [torch.randn(count, K, device=device) for count in (1, 2, 3, 4)]
    values = linear._PREPARE.like(layer.gain, layer.proj)
    addresses = layer.gain.data_ptr(), layer.proj.data_ptr()

    with ThreadPoolExecutor(4) as threads:
        for times in (1, 2, 3):
            entries = list(threads.map(lambda _: values.of((layer.gain, layer.proj), addresses), rows * 3))
            assert len(computed) == times
            assert len(set(map(id, entries))) == 1
            with torch.no_grad():
                layer.proj.mul_(2)


def test_several_ops_share_a_weight(device: torch.device) -> None:
    weight = torch.randn(4, 4, device=device)
    doubled, negated = (
        Prepare(function, weights=("weight",), names=("value",)) for function in (lambda w: w * 2, lambda w: -w)
    )
    for _ in range(2):
        for made, factor in ((doubled, 2), (negated, -1)):
            (value,) = made.like(weight).of((weight,), (weight.data_ptr(),)).values
            assert torch.equal(value, weight * factor)
        weight.add_(1)


def test_preparation_knows_nothing_of_the_modes_around_it(device: torch.device) -> None:
    seen = []

    def compute(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        return weight @ weight, weight.T

    prepare = Prepare(compute, weights=("weight",), names=("square", "transposed"))
    weight = torch.nn.Parameter(torch.randn(4, 4, device=device))
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16), torch.device("meta"):
        entry = prepare.like(weight).of((weight,), (weight.data_ptr(),))
    assert seen == [(False, False)]
    assert all(value.is_contiguous() and not value.requires_grad for value in entry.values)
    torch.testing.assert_close(entry.values, (weight.detach() @ weight.detach(), weight.detach().T))


def test_autocast_does_not_reach_what_is_captured(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusec.runtime.prepare._capturing", lambda: True)
    weight = torch.randn(4, 4, device=device)
    prepared = Prepare(lambda weight: weight @ weight, weights=("weight",), names=("square",)).like(weight)
    prepared._captures = True
    with torch.autocast(device.type, torch.bfloat16):
        (value,) = prepared.of((weight,), (weight.data_ptr(),)).values
    assert value.dtype == torch.float32


@pytest.mark.parametrize("off", [1, 2, 3])
def test_values_lie_at_multiples_of_16_wherever_they_were_computed(off: int, device: torch.device) -> None:
    """Kernels of calls with aligned arguments are compiled for that, and are launched with these addresses as well."""
    prepare = Prepare(lambda weight: torch.cat([weight, weight])[off : off + 8], weights=("weight",), names=("part",))
    weight = torch.randn(16, device=device)
    (value,) = prepare.like(weight).of((weight,), (weight.data_ptr(),)).values
    assert value.data_ptr() % 16 == 0
    assert torch.equal(value, weight[off : off + 8])


def test_an_error_of_the_preparation_is_the_caller_s(device: torch.device) -> None:
    prepare = Prepare(lambda weight: weight @ weight, weights=("weight",), names=("square",))
    weight = torch.randn(2, 3, device=device)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            prepare.like(weight).of((weight,), (weight.data_ptr(),))


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Say whether a CUDA graph is captured."""

    def say(captures: bool) -> None:
        monkeypatch.setattr("fusec.runtime.prepare._capturing", lambda: captures)

    return say


def test_a_graph_is_captured_with_the_values_of_the_call_before(
    computed: list[torch.Tensor], device: torch.device, capturing: Callable[[bool], None]
) -> None:
    layer, x = Layer(device), torch.randn(3, K, device=device)
    with torch.no_grad():
        linear._PREPARE.like(layer.gain, layer.proj)._captures = True
        capturing(True)
        for times in (1, 2):
            check(layer, layer(x), x)
            assert len(computed) == times  # no call was before
        assert not kept()
        capturing(False)
        layer(x)
        capturing(True)
        check(layer, layer(x), x)
        assert len(computed) == 3
        layer.proj.mul_(2)
        check(layer, layer(x), x)
        assert len(computed) == 4  # what was written since is in the graph


@pytest.mark.parametrize("part", [None, 1], ids=["whole", "view"])
@pytest.mark.usefixtures("computed")
def test_what_graphs_read_is_renewed_where_it_is(
    part: int | None, device: torch.device, capturing: Callable[[bool], None]
) -> None:
    x, gain, stacked = (torch.randn(shape, device=device) for shape in ((3, K), (K,), (3, N, K)))
    proj = stacked[part] if part is not None else stacked[0].clone()
    linear._PREPARE.like(gain, proj)._captures = True
    capturing(False)
    linear.rmsnorm_linear(x, gain, proj)
    capturing(True)
    linear.rmsnorm_linear(x, gain, proj)
    capturing(False)
    (before,) = kept()
    for changed in (proj, proj.data, gain):
        changed.mul_(3)
        fusec.weights_changed()
        (after,) = kept()
        assert after.addresses == before.addresses
        assert torch.equal(after.values[0], linear._prepare_rmsnorm_linear(gain, proj))
    del proj, stacked, changed
    fusec.weights_changed()
    assert not kept()


@pytest.mark.parametrize("first", [False, True])
def test_what_graphs_read_may_be_made_of_what_they_read(
    first: bool, device: torch.device, capturing: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = torch.randn(N, K, device=device)
    half = Prepare(lambda weight: weight.half(), weights=("weight",), names=("half",)).like(weight)
    twice = Prepare(lambda half: half * 2, weights=("half",), names=("twice",)).like(weight.half())
    monkeypatch.setattr("fusec.runtime.prepare._captured", _Ordered((half, twice) if first else (twice, half)))
    for captures in (False, True):
        capturing(captures)
        for prepared in (half, twice):
            prepared._captures = captures
        rounded = half.of((weight,), 1).values[0]
        doubled = twice.of((rounded,), 2).values[0]
    weight.data.mul_(3)
    fusec.weights_changed()
    assert torch.equal(rounded, weight.half())
    assert torch.equal(doubled, weight.half() * 2)


class _Ordered(list[Prepared]):
    """What graphs read, in an order of its own."""

    def add(self, prepared: Prepared) -> None:
        assert prepared in self


def test_the_meta_device_prepares_nothing() -> None:
    prepare = Prepare(lambda weight: weight.item(), weights=("weight",), names=("value",))
    weight = torch.empty(3, device="meta")
    plan = Plan("op", weight.device, tensors=("weight",), outputs={}, prepared=prepare.like(weight), launches=())
    assert plan((weight,)) is None


def test_compiled(computed: list[torch.Tensor], device: torch.device) -> None:
    layer, x = Layer(device), torch.randn(3, K, device=device)
    compiled = torch.compile(layer, fullgraph=True)
    with torch.no_grad():
        for times in (1, 2, 3):
            for _ in range(3):
                check(layer, compiled(x), x)
            assert len(computed) == times
            layer.proj.mul_(2)
    layer.half()
    with torch.no_grad():
        # PyTorch 2.11 does not look at the dtypes of a module's weights again, but does at that of an argument.
        check(layer, compiled(x.half()), x)


def test_opcheck(device: torch.device) -> None:
    layer, x = Layer(device), torch.randn(2, 3, K, device=device)
    torch.library.opcheck(linear._OP.operator, (x, layer.gain.detach(), layer.proj.detach(), None, 1e-6))


@pytest.mark.parametrize("elements", [1, 2, 3, 4])
def test_a_weight_off_16_bytes(elements: int, computed: list[torch.Tensor], device: torch.device) -> None:
    x, gain = torch.randn(3, K, device=device), torch.randn(K, device=device)
    memory = torch.randn(N * K + 8, device=device)
    for times in (1, 2):
        proj = memory[elements:][: N * K].view(N, K)
        for _ in range(3):
            torch.testing.assert_close(linear.rmsnorm_linear(x, gain, proj), linear.reference(x, gain, proj))
        assert len(computed) == times
        assert all(not value.data_ptr() & 15 for entry in kept() for value in entry.values)
        memory.mul_(2)


@pytest.mark.parametrize(("device", "kind"), [("cpu", "cpu"), ("cuda", "cuda"), ("meta", "cpu")])
def test_values_are_computed_as_without_autocast(device: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On any device: a cast that the caller wants for its own code has nothing to do with them."""
    own = Prepare(lambda weight: weight * 2, weights=("weight",), names=("twice",)).like(torch.ones(3))
    monkeypatch.setattr(own, "_device", SimpleNamespace(type=device))
    left: list[tuple[str, bool]] = []

    @contextmanager
    def autocast(kind: str, enabled: bool) -> Iterator[None]:
        left.append((kind, enabled))
        yield

    monkeypatch.setattr(torch, "autocast", autocast)
    assert own._values((torch.ones(3),))[0].tolist() == [2, 2, 2]
    assert left == [(kind, False)]
