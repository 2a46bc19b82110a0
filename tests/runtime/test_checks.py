"""What a wrong call gets: the right error class, and a message with op, argument, expected, found and advice."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sample_ops.accumulate import accumulate
from sample_ops.rmsnorm import rmsnorm
from sample_ops.rope_like import rope_like

from fusec.runtime import (
    ArgumentError,
    Checker,
    ChoiceError,
    DeviceError,
    FusecError,
    NumericalOverflowError,
    ShapeMismatchError,
    UnsupportedDtypeError,
    flag,
    integer,
    real,
)

X, W = torch.ones(2, 5, 24), torch.ones(24)
COS = torch.ones(5, 8)

MISTAKES: dict[str, tuple[Callable[[], object], type[FusecError], str]] = {
    "wrong size": (
        lambda: rmsnorm(X, W[:3]),
        ShapeMismatchError,
        "rmsnorm: `weight` should have shape [N] = [24], but has [3]",
    ),
    "wrong rank": (
        lambda: rmsnorm(X, X[0]),
        ShapeMismatchError,
        "rmsnorm: `weight` should have 1 dimension, [N], but has shape [5, 24]",
    ),
    "too few dimensions": (
        lambda: rmsnorm(torch.tensor(1.0), W),
        ShapeMismatchError,
        "rmsnorm: `x` should have at least 1 dimension, [..., N], but has shape []",
    ),
    "unsupported dtype": (
        lambda: rmsnorm(X.int(), W),
        UnsupportedDtypeError,
        "rmsnorm: `x` should be float16 or bfloat16 or float32 or float64, but is int32; convert it with "
        "x.to(torch.float16)",
    ),
    "different dtypes": (
        lambda: rmsnorm(X, W.half()),
        UnsupportedDtypeError,
        "rmsnorm: `x` and `weight` are both declared T and should have one dtype, but are float32 and float16; "
        "convert one of them",
    ),
    "different devices": (
        lambda: rmsnorm(X, W.to("meta")),
        DeviceError,
        "rmsnorm: `x` is on cpu but `weight` is on meta; move all tensors to one device",
    ),
    "text for a number": (
        lambda: rmsnorm(X, W, "tiny"),  # type: ignore[arg-type]
        ArgumentError,
        "rmsnorm: `eps` should be a number, but is 'tiny' (str)",
    ),
    "tensor for a number": (
        lambda: rmsnorm(X, W, torch.tensor(1e-6)),  # type: ignore[arg-type]
        ArgumentError,
        "rmsnorm: `eps` should be a number, but is a tensor; pass a Python number, for instance value.item()",
    ),
    "truth value for a number": (
        lambda: rmsnorm(X, W, True),
        ArgumentError,
        "rmsnorm: `eps` should be a number, but is True (bool)",
    ),
    "unknown choice": (
        lambda: rope_like(X, W, COS, COS, activation="tanh"),
        ChoiceError,
        "rope_like: `activation` should be one of 'none', 'relu', but is 'tanh'",
    ),
    "wrong dim": (
        lambda: rope_like(X, W, COS, COS, num_heads=4),
        ShapeMismatchError,
        "rope_like: `num_heads` is 4, but the tensors have H = 3",
    ),
    "dim of the wrong kind": (
        lambda: rope_like(X, W, COS, COS, num_heads="3"),  # type: ignore[arg-type]
        ArgumentError,
        "rope_like: `num_heads` should be an int or None, but is '3' (str)",
    ),
    "dim below nothing": (
        lambda: rope_like(X, W, COS, COS, num_heads=-3),
        ChoiceError,
        "rope_like: `num_heads` should be at least 0, but is -3",
    ),
    "dim as a tensor": (
        lambda: rope_like(X, W, COS, COS, num_heads=torch.tensor(3)),  # type: ignore[arg-type]
        ArgumentError,
        "rope_like: `num_heads` should be an int or None, but is a tensor; pass a Python number, for instance "
        "value.item()",
    ),
    "a choice that cannot be looked up": (
        lambda: rope_like(X, W, COS, COS, activation=["relu"]),  # type: ignore[arg-type]
        ChoiceError,
        "rope_like: `activation` should be one of 'none', 'relu', but is ['relu']",
    ),
    "no choice where a gradient may be asked for": (
        lambda: rope_like(X.clone().requires_grad_(), W, COS, COS, activation=3),  # type: ignore[arg-type]
        ChoiceError,
        "rope_like: `activation` should be one of 'none', 'relu', but is 3",
    ),
    "a number that no float holds": (
        lambda: rmsnorm(X, W, 10**400),
        NumericalOverflowError,
        "rmsnorm: `eps` should fit a float of 64 bits, but is beyond all of them",
    ),
    "negated tensor written in place": (
        lambda: accumulate(torch._neg_view(W), W, 1.0, 1),
        ArgumentError,
        "accumulate: `total` is written in place, but it is a view whose numbers PyTorch negates when it reads them; "
        "pass total.resolve_neg()",
    ),
    "no whole number of heads": (
        lambda: rope_like(X, W, COS[:, :5], COS[:, :5]),
        ShapeMismatchError,
        "rope_like: cannot solve `H` from dimension 2 of `x`: 24 is not a multiple of 5",
    ),
    "heads of nothing": (
        lambda: rope_like(X, W, COS[:, :0], COS[:, :0]),
        ShapeMismatchError,
        "rope_like: cannot solve `H` from dimension 2 of `x`: 24 is not a multiple of 0",
    ),
    "broken constraint": (
        lambda: rope_like(X, W, COS[:, :3], COS[:, :3]),
        ShapeMismatchError,
        "rope_like: needs D % 2 == 0, but D = 3",
    ),
    "integer too large": (
        lambda: accumulate(W.clone(), W, 1.0, 2**31),
        NumericalOverflowError,
        "accumulate: `count` should fit 32 bits, but is 2147483648",
    ),
    "fraction for an integer": (
        lambda: accumulate(W.clone(), W, 1.0, 1.5),  # type: ignore[arg-type]
        ArgumentError,
        "accumulate: `count` should be an integer, but is 1.5 (float)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_message(mistake: str) -> None:
    call, error, message = MISTAKES[mistake]
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
    found = caught.value
    assert f"`{found.argument}`" in message or (found.argument, mistake) == (None, "broken constraint")
    assert found.expected is not None
    assert found.actual is not None
    assert found.actual != found.expected


@pytest.mark.parametrize(
    ("mistake", "argument", "expected", "actual"),
    [
        ("wrong size", "weight", (24,), (3,)),
        ("wrong rank", "weight", 1, 2),
        ("unsupported dtype", "x", (torch.float16, torch.bfloat16, torch.float32, torch.float64), torch.int32),
        ("different dtypes", "weight", torch.float32, torch.float16),
        ("different devices", "weight", torch.device("cpu"), torch.device("meta")),
        ("text for a number", "eps", float, "tiny"),
        ("unknown choice", "activation", ("none", "relu"), "tanh"),
        ("wrong dim", "num_heads", 3, 4),
        ("integer too large", "count", (-(2**31), 2**31 - 1), 2**31),
    ],
)
def test_an_error_carries_what_its_message_says(mistake: str, argument: str, expected: object, actual: object) -> None:
    call, error, _ = MISTAKES[mistake]
    with pytest.raises(error) as caught:
        call()
    copy = pickle.loads(pickle.dumps(caught.value))
    for found in (caught.value, copy):
        assert (found.argument, found.expected, found.actual) == (argument, expected, actual)


def test_errors_are_the_builtin_ones_too() -> None:
    for kind in (ValueError, TypeError):
        with pytest.raises(kind, match="activation"):
            rope_like(X, W, COS, COS, activation="tanh")
    with pytest.raises(ValueError, match="weight"):
        rmsnorm(X, W[:3])
    with pytest.raises(TypeError, match="eps"):
        rmsnorm(X, W, "tiny")  # type: ignore[arg-type]


def test_no_plan_is_kept_for_a_wrong_call() -> None:
    for _ in range(2):
        with pytest.raises(ShapeMismatchError):
            rmsnorm(X, W[:5])


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.float64(0.5), np.int64(3), float("nan"), float("inf")])
def test_numbers_become_floats(value: float) -> None:
    number = real("op", "eps", value)
    assert type(number) is float
    assert number == value or value != value


@pytest.mark.parametrize("value", [7, np.int8(7), np.int64(7)])
def test_integers_become_ints(value: int) -> None:
    assert type(integer("op", "count", value, 32)) is int
    assert integer("op", "count", -(2**31), 32) == -(2**31)


def test_flags_are_truth_values() -> None:
    assert flag("op", "causal", True) is True
    with pytest.raises(ArgumentError, match="`causal` should be True or False, but is 1"):
        flag("op", "causal", 1)


def test_an_omitted_tensor_takes_no_part() -> None:
    check = Checker("op", x="T[...]", bias="B[N]")
    assert check.tensors(X, None) == (X, None)
    check.shape("bias", (24,))
    assert check.dtypes(T="f16 f32", B="f16 f32") == (torch.float32, torch.float16)


def test_the_remaining_part_of_an_axis_cannot_be_negative() -> None:
    check = Checker("op", kv="f32[B, L]")
    assert check.quotient("L", "kv", 1, 4 - 4, 1) == 0
    with pytest.raises(
        ShapeMismatchError, match="cannot solve `L` from dimension 1 of `kv`: what remains for it is -2"
    ):
        check.quotient("L", "kv", 1, 4 - 6, 1)
