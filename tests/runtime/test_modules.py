"""Modules that own the weights of an op."""

from __future__ import annotations

import torch
from sample_ops.rope_like import RopeLike, reference

from fusec.runtime import parameter, spread


def test_forward_uses_the_weight(device: torch.device) -> None:
    module = RopeLike(24, 8, eps=1e-5, device=device)
    x, table = torch.randn(2, 5, 24, device=device), torch.randn(5, 8, device=device)
    with torch.no_grad():
        module.weight.copy_(torch.randn(24))
        torch.testing.assert_close(module(x, table, table), reference(x, module.weight, table, table, eps=1e-5))


def test_state_dict_has_the_names_of_the_spec() -> None:
    module = RopeLike(24, 8)
    assert list(module.state_dict()) == ["weight"]
    module.load_state_dict({"weight": torch.arange(24.0)})
    assert module.weight[3] == 3


def test_repr_shows_the_settings() -> None:
    assert repr(RopeLike(24, 8)) == "RopeLike(hidden_dim=24, head_dim=8, eps=1e-06)"


def test_moves_and_converts_like_any_module() -> None:
    module = RopeLike(24, 8, dtype=torch.bfloat16).to("meta").half()
    assert (module.weight.dtype, module.weight.device.type) == (torch.float16, "meta")


def test_a_parameter_asks_for_a_gradient_if_it_can() -> None:
    assert parameter(2, 3).requires_grad
    assert not parameter(2, dtype=torch.int8).requires_grad


def test_a_spread_matrix_keeps_within_its_bound() -> None:
    weight = parameter(300, 4)
    spread(weight, 4)
    assert 0.45 < weight.abs().max() <= 0.5
    assert weight.min() < 0 < weight.max()
