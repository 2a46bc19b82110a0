"""Modules that are linear layers: made of a `torch.nn.Linear`."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import torch

from fusec.runtime.errors import ArgumentError, UnsupportedDtypeError
from fusec.runtime.storing import StoringModule

M = TypeVar("M", bound="LinearModule")


class LinearModule(torch.nn.Module):
    """A module with the weights of a `torch.nn.Linear`; a class of it says what it calls the sizes."""

    _linear: ClassVar[tuple[str, str]]
    """The arguments of the constructor for the inputs and the outputs."""

    @classmethod
    def from_linear(
        cls: type[M],
        linear: torch.nn.Linear,
        *,
        dtype: torch.dtype | None = None,
        drop_master: bool = False,
        **settings: Any,
    ) -> M:
        """The same layer with the weights of `linear`, which both own from now on, as `dtype` where one is given.

        With `drop_master` it keeps what is prepared of them alone. `settings` are other arguments of the constructor.
        Raises `ArgumentError` for a layer that computes something else or cannot be taken, and as the constructor does.
        """
        own = cls.__name__
        if reason := obstacle(linear):
            raise ArgumentError(f"{own}: `linear` {reason}", "linear", torch.nn.Linear, linear)
        made = cls.of_weights(linear, dtype, **settings)
        if drop_master:
            if not isinstance(made, StoringModule):
                message = f"{own}: `drop_master` is for modules that store what is prepared of their weights"
                raise ArgumentError(message, "drop_master", False, True)
            made.drop_master()
        return made

    @classmethod
    def of_weights(cls: type[M], linear: torch.nn.Linear, dtype: torch.dtype | None = None, **settings: Any) -> M:
        """A layer with the weights of another one, whatever else that does."""
        weight, bias = linear.weight, linear.bias
        sizes = dict(zip(cls._linear, (weight.shape[1], weight.shape[0]), strict=True))
        takes_bias = "bias" in _arguments(cls)
        if bias is not None and not takes_bias:
            raise ArgumentError(f"{cls.__name__}: `linear` has a bias, and such a layer has none", "linear", None, bias)
        given = {"bias": bias is not None} if takes_bias else {}
        try:
            made = cls(**sizes, **given, **settings, device="meta", dtype=dtype or weight.dtype)
        except UnsupportedDtypeError as error:
            if dtype is None:
                error.args = (f"{error}; convert the layer before, or say `dtype`",)
            raise
        for name, parameter in (("weight", weight), ("bias", bias)):
            if parameter is not None:
                setattr(made, name, parameter if dtype in (None, parameter.dtype) else _converted(parameter, dtype))
        return made.train(linear.training)


def why_not_plain(layer: torch.nn.Module, *, hooked: bool = False) -> str:
    """Why a layer of a model is left alone; nothing where it is a `torch.nn.Linear` and no more.

    Somebody made a subclass in order to find it, whatever it computes. See `obstacle` for what is `hooked`.
    """
    if isinstance(layer, torch.nn.Linear) and type(layer) is not torch.nn.Linear and "weight" in layer._parameters:
        return f"{type(layer).__name__} is a subclass of Linear"
    return obstacle(layer, hooked=hooked)


def obstacle(layer: object, *, hooked: bool = False) -> str:
    """Why a layer does not compute what a plain `torch.nn.Linear` does; nothing where it does.

    Where it may be `hooked`, a forward that keeps its own as `_old_forward` is none: `accelerate` stands around layers
    so, to move what they are given to their device.
    """
    if not isinstance(layer, torch.nn.Linear):
        return f"should be a torch.nn.Linear, but is {type(layer).__name__}"
    around = "forward" in vars(layer) and not (hooked and "_old_forward" in vars(layer))
    if type(layer).forward is not torch.nn.Linear.forward or around:
        return f"has a forward of its own, that of {type(layer).__name__}"
    if "weight" not in layer._parameters or (layer.bias is not None and "bias" not in layer._parameters):
        return "computes its weight in every call (a parametrization)"
    if not isinstance(layer.weight, torch.nn.Parameter) or layer._modules:
        return "has parts of its own"
    if type(layer.weight.data) is not torch.Tensor:
        return f"has a weight that is a {type(layer.weight.data).__name__}"
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(layer, name, None) for name in hooks):
        return "has hooks, which would be lost"
    return ""


def _arguments(cls: type[LinearModule]) -> tuple[str, ...]:
    code = cls.__init__.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _converted(parameter: torch.Tensor, dtype: torch.dtype | None) -> torch.nn.Parameter:
    return torch.nn.Parameter(parameter.detach().to(dtype), requires_grad=parameter.requires_grad)
