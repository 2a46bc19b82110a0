"""What an op raises when it cannot be called as asked. Every error is a `FusecError` and also the builtin error that a
caller would expect."""

from __future__ import annotations


class FusecError(Exception):
    """Any error of a generated op. The message names the op, the argument, what was expected and what came.

    So do `argument`, a name, `expected` and `actual`: shapes, sizes, dtypes, devices or values, several of them that
    would do as a tuple; None where the message has nothing of the kind.
    """

    def __init__(self, message: str = "", argument: str | None = None, expected: object = None, actual: object = None):
        super().__init__(message)
        self.argument = argument
        self.expected = expected
        self.actual = actual


class ArgumentError(FusecError, TypeError):
    """An argument of the wrong kind, or a choice or a number out of its range."""


class ChoiceError(ArgumentError, ValueError):
    """An argument of the right kind that has none of the values it may have."""


class DeviceError(FusecError, RuntimeError):
    """Tensors on a device that the op does not run on, or on several devices."""


class ShapeMismatchError(FusecError, ValueError):
    """A tensor of the wrong rank or size, or sizes that break a `where` condition of the spec."""


class ScatteredRowsError(ShapeMismatchError):
    """Leading axes that are reduced together and lie too unevenly in memory for one kernel."""


class UnsupportedDtypeError(FusecError, TypeError):
    """A tensor of a dtype that the spec does not list, or tensors whose dtypes should agree and do not."""


class PlanError(FusecError, ValueError):
    """A plan that was asked for by name, and that the op does not have or that cannot take the call."""


class NumericalOverflowError(FusecError, ArithmeticError):
    """A number that the declared dtype cannot hold."""


class TuningFailedError(FusecError, RuntimeError):
    """No plan of an op ran, or none was right, while it was tuned."""


class NoBackwardError(FusecError, NotImplementedError):
    """A gradient was asked for through an op that has no backward."""
