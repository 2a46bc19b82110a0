"""All plans of an op as data: partitions into steps, the schedules of each, and what a call is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fusec.ir.host.names import Name
from fusec.ir.host.schedules import Gemm, GemmRoles, GemmScaled, GemmTma, Gemv, Matrix, Schedule

LIBRARY = "library"
"""The name of a partition whose products the vendor's library makes."""


@dataclass(frozen=True, slots=True)
class Library:
    """A product by the vendor's library: `out = sum(a * b, over inner)` for each position of `batch`.

    One of operands `in_8_bits`, "f8", "fast" or "i8", may have a scale of rows and one of columns, or of all of `a` and
    `b`; with `groups`, which some of `inner` are, those of each group, of rows or columns or blocks of them. The
    `addend`, if a call gives it, is added to any other product before it is rounded.
    """

    a: str | Matrix
    b: str | Matrix
    out: str | Matrix
    rows: str = ""
    columns: str = ""
    inner: str = ""
    batch: str = ""
    tf32: bool = False
    in_8_bits: str = ""
    row_scale: str | Matrix = ""
    column_scale: str | Matrix = ""
    groups: str = ""
    addend: str | Matrix = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Outputs that are computed together: their schedules in order of preference, the last for every call.

    Where none fits, the steps `apart` compute them one after another. Where one of the axes `absent` is empty, the step
    `alone` computes what lacks it.
    """

    writes: str
    plans: tuple[Schedule, ...] = ()
    apart: tuple[Step, ...] = ()
    absent: str = ""
    alone: Step | None = None

    @property
    def is_for_vectors(self) -> bool:
        """Whether it is for single vectors alone."""
        return bool(self.plans) and all(isinstance(plan, Gemv) for plan in self.plans)

    def every(self) -> Iterator[Step]:
        """This step and all in it."""
        yield self
        for step in (*self.apart, *((self.alone,) if self.alone else ())):
            yield from step.every()


@dataclass(frozen=True, slots=True)
class Partition:
    """An op as steps that run in this order, and the workspaces it `holds` between. It is for calls without `omits`.

    Some workspaces are `copies` of arguments in an order of their own, `b_=b`: where one lies so, it is read itself.
    """

    steps: tuple[Step | Library, ...]
    omits: str = ""
    holds: str = ""
    copies: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What a table of measured choices calls it: the library, or the schedules that all its contractions have."""
        if any(isinstance(step, Library) for step in self.steps):
            return (LIBRARY,)
        steps = [[plan.name for plan in step.plans] for step in self.contracting]
        return tuple(name for name in dict.fromkeys(n for s in steps for n in s) if all(name in s for s in steps))

    @property
    def products(self) -> tuple[Library, ...]:
        return tuple(step for step in self.steps if isinstance(step, Library))

    @property
    def contracting(self) -> tuple[Step, ...]:
        """The steps that contract."""
        kernels = (step for step in self.steps if isinstance(step, Step))
        return tuple(
            step
            for step in kernels
            if any(isinstance(plan, Gemv | Gemm | GemmTma | GemmRoles | GemmScaled) for plan in step.plans)
        )

    @property
    def is_for_vectors(self) -> bool:
        """Whether it is for single vectors alone."""
        return any(isinstance(step, Step) and step.is_for_vectors for step in self.steps)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A row-major tensor that an op allocates, or prepares, for its own use: shape by keys, `lead` all of `...`.

    That may lie `innermost` instead.
    """

    shape: str
    dtype: Any
    innermost: bool = False


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a table of measured choices is for: the number of `rows` together, extents, dtypes and tensors given.

    It counts for one text of the spec, by its hash. Chosen are the plans of the steps that write these `outputs`.
    """

    rows: str
    case: str
    outputs: str
    spec: Any = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """All plans of an op, and what its calls are called.

    `extents` are what its function of that name returns, `strides` the stored dimensions of every tensor: arguments,
    outputs and workspaces, in order. `sizes` computes what is beyond plain extents. `vec` has the extents and strides
    that say how wide an access may be. Where all tensors are gapless, `flat` axes are walked as one. Tensors of
    `repeats` may be the same along some axes. `prepare` makes workspaces of weights, and is `told` extents and dtypes
    that they do not tell. Weights in `cast`, each with what its dtype is called, are rounded to it before plans see
    them, if they come in another. Products and sums of `rounded` kernels are not contracted: a declared cast stands
    between. Kernels that are of several ops are launched for this `op`, which lacks the tensors and choices `absent`.

    The first of `partitions` that fits is taken, else `steps`, or the partition that takes every call where there are
    none; the steps `last` write what was `waiting`.
    """

    extents: str
    scalars: str = ""
    settings: str = ""
    mutated: str = ""
    strides: Mapping[str, str]
    sizes: Callable[..., Mapping[str, int]] | Name | None = None
    vec: str = ""
    flat: str = ""
    repeats: str = ""
    reduces_lead: bool = False
    rounded: tuple[Any, ...] = ()
    op: str = ""
    absent: str = ""
    workspace: Mapping[str, Workspace] = field(default_factory=dict)
    prepare: Any = None
    told: str = ""
    cast: Mapping[str, str] = field(default_factory=dict)
    tuned: Tuned | None = None
    partitions: tuple[Partition, ...] = ()
    steps: tuple[Step, ...] = ()
    waiting: str = ""
    last: tuple[Step, ...] = ()

    def of_values(self, tensors: str, extents: str) -> Plans:
        """The plans of an op that takes these `tensors`, and tells these `extents`: prepared values, and no weights."""
        dropped = set(self.prepare.weights)
        given = tensors.split()
        rest = [name for name in self.strides if name not in dropped.union(given)]
        told = {*extents.split(), *given}
        return replace(
            self,
            extents=extents,
            strides={name: self.strides[name] for name in (*given, *rest)},
            vec=" ".join(name for name in self.vec.split() if name.partition("_stride_")[0] not in dropped),
            absent=" ".join((*self.absent.split(), *sorted(dropped))),
            workspace={name: each for name, each in self.workspace.items() if name not in given},
            prepare=None,
            told="",
            tuned=self.tuned if self.tuned and told.issuperset(self.tuned.case.split()) else None,
            partitions=tuple(partition for partition in self.partitions if not partition.is_for_vectors),
            steps=(),
        )

    @property
    def whole(self) -> Partition | None:
        """The partition that takes every call, where the op has no `steps` that do."""
        found = (each for each in self.partitions if not each.products and not each.is_for_vectors)
        return next(found, None)

    def every(self) -> Iterator[Step]:
        """All steps of kernels, those of partitions first."""
        parts = (step for partition in self.partitions for step in partition.steps if isinstance(step, Step))
        for step in (*parts, *self.steps, *self.last):
            yield from step.every()
