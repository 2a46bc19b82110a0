"""A call as the rules for plans see it: sizes and strides by name, the walks over leading axes, the chip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from math import prod
from types import FunctionType
from typing import Any, TypeVar

import torch
import triton

from fusec.ir.host.names import LEAD, SPLITS, block_name, even_name, stride_names
from fusec.ir.host.plans import Plans, Workspace
from fusec.ir.host.schedules import Matrix, Schedule, kernels
from fusec.runtime.errors import ScatteredRowsError
from fusec.runtime.launch import Launch
from fusec.runtime.layout import Lead, collapse, contiguous, repeat, squeeze
from fusec.runtime.overlap import overlaps
from fusec.runtime.plan import Buffer
from fusec.runtime.select.chip import PDL_SINCE, Chip
from fusec.runtime.select.sizes import index_type, is_few, is_flat, padded, together, vec_width
from fusec.runtime.select.tables import Choice

T = TypeVar("T", bound=Any)


@dataclass(frozen=True, slots=True)
class Tiled:
    """A tile that a plan asked for: the rule it comes from, what that was given by name, and the tile as it is."""

    rule: str
    facts: Mapping[str, Any]
    tile: Any


@dataclass
class Call:
    """What is known of a call, and what its plan has allocated so far.

    `sizes` has extents, strides and dtypes by name. `led` are the tensors that begin with `...`, in the order of their
    offsets in `walks`. The schedule that is planned, `planning` by name, `is_walked` if it is launched once for each of
    them. So many neighbours `together` are one access, as far as where rows begin and end allows. Of weights that are
    rounded before, `passed` has the dtype that they come in. Workspaces that would hold an argument as it lies are
    `aliases` of it.
    """

    op: str
    plans: Plans
    device: torch.device
    tensors: Mapping[str, torch.Tensor | None]
    outputs: Mapping[str, Buffer]
    settings: Mapping[str, Any]
    sizes: dict[str, Any]
    chip: Chip
    choice: Choice | None = None
    walks: Lead | None = None
    led: Mapping[str, int] = field(default_factory=dict)
    workspaces: dict[str, Buffer] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    partials: dict[str, int] = field(default_factory=dict)
    tiled: list[Tiled] = field(default_factory=list)
    common: dict[str, Any] = field(default_factory=dict)
    is_walked: bool = False
    planning: str = ""
    together: int = 16
    passed: Mapping[str, torch.dtype] = field(default_factory=dict)

    # Sizes

    def size(self, key: str) -> int:
        """The extent of an axis, a stride, or a number itself."""
        found: int = self.sizes[key] if key in self.sizes else int(key)
        return found

    def count(self, keys: str) -> int:
        """The product of several."""
        return prod(map(self.size, keys.split()))

    def padded(self, keys: str) -> int:
        """The elements of a tile that has these axes whole."""
        return prod(padded(self.size(key)) for key in keys.split())

    def row_length(self, keys: str) -> int:
        """Elements of a row: the first axis as it is, the others padded as their tiles are."""
        first, _, rest = keys.partition(" ")
        return self.padded(rest) * self.size(first)

    def itemsize(self, names: str) -> int:
        """Bytes of an element of the widest of these tensors and types."""
        return max(map(self._itemsize, names.split()))

    def _itemsize(self, name: str) -> int:
        if name.isdigit():
            return int(name)
        dtype = self.sizes[name] if name in self.sizes else self.dtype(name)
        return int(dtype.itemsize)

    def start(self, name: str) -> int:
        """How many elements behind a multiple of 16 bytes a tensor begins; what a call allocates begins at one."""
        tensor = self.tensors.get(name)
        return 0 if tensor is None else tensor.data_ptr() % 16 // tensor.element_size()

    def is_given(self, name: str) -> bool:
        """Whether a tensor is not left out."""
        return name not in self.tensors or self.tensors[name] is not None

    def dtype(self, name: str) -> torch.dtype:
        """The dtype of an argument, a result or a workspace."""
        if name in self.tensors:
            tensor = self.tensors[name]
            assert tensor is not None
            return tensor.dtype
        return self.outputs[name].dtype if name in self.outputs else self.workspace(name).dtype

    # Memory

    def workspace(self, name: str) -> Buffer:
        """A tensor of the op's own, as it is allocated."""
        found: Workspace = self.plans.workspace[name]
        return Buffer(self.shape(found.shape), self.sizes.get(found.dtype, found.dtype))

    def shape(self, keys: str) -> tuple[int, ...]:
        """A shape by its keys; `lead` stands for all sizes of `...`."""
        sizes: list[int] = []
        for key in keys.split():
            sizes += self.sizes["lead"] if key == "lead" else [self.size(key)]
        return tuple(sizes)

    def stride(self, matrix: str | Matrix, axis: str) -> int:
        """How far apart neighbours along an axis lie, in elements; 0 where a tensor lacks it."""
        if isinstance(matrix, Matrix):
            return self._sum(matrix.strides[axis]) if axis in matrix.strides else self.stride(matrix.tensor, axis)
        dims = tuple(self.plans.strides[matrix].split())
        return self.size(stride_names(matrix, dims)[dims.index(axis)]) if axis in dims else 0

    def offset(self, matrix: str | Matrix) -> int:
        """Where the first element is, in elements."""
        return self._sum(matrix.offset) if isinstance(matrix, Matrix) else 0

    def _sum(self, terms: Iterable[str]) -> int:
        return sum(map(self.count, terms))

    def lies_as(self, copy: str, name: str) -> bool:
        """Whether an argument lies as a workspace would that holds it once more."""
        tensor, keys = self.tensors.get(name), self.plans.strides[copy].split()
        if tensor is None or tensor.dtype != self.workspace(copy).dtype or self.start(name) or tensor.is_neg():
            return False
        if sorted(keys) != sorted(self.plans.strides[name].split()):
            return False
        return all(self.size(key) == 1 or self.stride(copy, key) == self.stride(name, key) for key in keys)

    def choose_index(self, *more: Buffer) -> None:
        """Count offsets in as many bits as the tensors of the call need, and what is allocated for it."""
        self.common["INDEX"] = index_type(*self.tensors.values(), *self.outputs.values(), *more)

    @property
    def is_wide(self) -> bool:
        """Whether offsets are counted in 64 bits."""
        return str(self.common["INDEX"]) == "int64"

    # Launches

    def enter(self, schedule: Schedule) -> None:
        """Begin to plan a schedule: one whose kernels use no tensor that begins with `...` is launched once."""
        self.planning = schedule.name
        self.is_walked = any(name in self.led for kernel in kernels(schedule) for name in pointers(kernel))

    def chosen(self, rule: str, facts: Mapping[str, Any], tile: T) -> T:
        """The tile that a rule makes, with the sizes and launch options that a choice of this schedule has for it."""
        choice = self.choice
        if choice is not None and choice.tile and choice.names(self.planning):
            own = {each.name for each in fields(tile)}
            changed: dict[str, Any] = {name: value for name, value in choice.tile if name in own}
            options = {name: value for name, value in choice.tile if name not in own}
            tile = replace(tile, **changed | ({"options": tuple(choice.fitting(options))} if options else {}))
        self.tiled.append(Tiled(rule, facts, tile))
        return tile

    def allocate(self, sums: Mapping[str, str], splits: int, integers: str = "") -> None:
        """Workspaces for partial results of so many splits, one for each walk over leading axes."""
        real = torch.float64 if self.common["REAL"] == triton.language.float64 else torch.float32
        walks = len(self.walks.offsets) if self.walks else 1
        for name, axes in sums.items():
            self.partials[name] = self.count(axes) * splits
            keys = (*axes.split(), SPLITS)
            steps = (self.count(" ".join(keys[place + 1 : -1])) for place in range(len(keys) - 1))
            self.sizes |= zip(stride_names(name, keys), (*steps, self.count(axes)), strict=True)
            dtype = torch.int64 if name in integers.split() else real
            self.workspaces[name] = Buffer((self.partials[name] * walks,), dtype)

    def tile_blocks(self, keys: str) -> dict[str, Any]:
        """The compile-time arguments of axes that are whole in a tile: padded sizes, and whether no lane is outside."""
        sizes = {key: self.size(key) for key in keys.split()}
        blocks: dict[str, Any] = {block_name(key): padded(size) for key, size in sizes.items()}
        return blocks | {even_name(key): padded(size) == size for key, size in sizes.items()}

    def launch(
        self, kernel: Any, programs: int, options: Iterable[Mapping[str, int]], blocks: Mapping[str, Any], **parts: Any
    ) -> list[Launch]:
        """The launches of a kernel by so many programs: one, or one for each walk over leading axes.

        It gets what it takes of `blocks`, of all sizes and strides, and of what is common to the launches of a call.
        """
        known = {**self._single(kernel), **self.sizes, **self.common, "PREFETCH": is_few(self.chip, programs), **blocks}
        arguments = {name: known[name] for name in kernel.arg_names if name in known}
        # A kernel of several ops has tensors, and axes of tensors, that this one lacks.
        arguments |= {name: 0 for name in kernel.arg_names if "_stride_" in name and name not in known}
        used = [name for name in pointers(kernel) if name in self.led or name in self.partials]
        contract = not any(kernel is each for each in self.plans.rounded)
        offsets = self.walks.offsets if self.walks and self.is_walked else ((),)
        return [
            Launch(kernel, (programs,), arguments, tuple(options), contract, self._moved(used, walk, at), **parts)
            for walk, at in enumerate(offsets)
        ]

    @staticmethod
    def _single(kernel: Any) -> dict[str, int]:
        """The strides between parts of products that are whole."""
        return {name: 0 for name in kernel.arg_names if name.endswith(f"_stride_{SPLITS}")}

    def _moved(self, names: Iterable[str], walk: int, at: tuple[int, ...]) -> dict[str, int]:
        """How far a walk moves each pointer; every walk has partial results of its own."""
        if not at:
            return {}
        return {name: at[self.led[name]] if name in self.led else walk * self.partials[name] for name in names}


def pointers(kernel: Any) -> list[str]:
    """The buffers whose pointers a kernel takes."""
    return [name.removesuffix("_ptr") for name in kernel.arg_names if name.endswith("_ptr")]


def call_of(
    op: str,
    plans: Plans,
    tensors: tuple[torch.Tensor | None, ...],
    settings: tuple[Any, ...],
    extents: tuple[Any, ...],
    outputs: tuple[Buffer, ...],
    chip: Chip,
) -> Call:
    """A call with everything that no plan decides. Raises `ScatteredRowsError`."""
    sizes = dict(zip(plans.extents.split(), extents, strict=True))
    dims = {name: tuple(keys.split()) for name, keys in plans.strides.items()}
    names = list(dims)
    device = next(tensor.device for tensor in tensors if tensor is not None)
    given = {
        name: tensor if dims[name][:2] == LEAD else squeeze(tensor, len(dims[name]))
        for name, tensor in zip(names, tensors, strict=False)
    }
    made = dict(zip(names[len(tensors) :], outputs, strict=False))
    chosen = dict(zip(plans.settings.split(), settings, strict=True))
    call = Call(op, plans, device, given, made, chosen, sizes, chip)
    _derive(call)
    for name in plans.repeats.split():
        shape = call.shape(" ".join(dims[name]).replace(" ".join(LEAD), "lead"))
        given[name] = repeat(given[name], shape)
    _collapse(call, dims)
    if plans.flat and is_flat(*given.values()):
        _flatten(call)
    for name, keys in dims.items():
        sizes |= dict(zip(stride_names(name, keys), _strides(call, name, keys), strict=True))
    wide = torch.float64 in [*(t.dtype for t in given.values() if t is not None), *chosen.values()]
    call.common |= {name.upper(): value for name, value in chosen.items() if isinstance(value, str)}
    aligned = [call.size(name) for name in plans.vec.split()]
    call.together = together(*aligned, *(call.start(name) for name in call.led))
    call.common |= {"OP": plans.op, **dict.fromkeys(plans.absent.split())}
    call.common |= {
        "VEC": vec_width(*aligned),
        "REAL": triton.language.float64 if wide else triton.language.float32,
        "OVERLAP": chip.capability >= PDL_SINCE and overlaps(device),
    }
    call.workspaces |= {name: call.workspace(name) for name in plans.waiting.split()}
    call.choose_index(*call.workspaces.values())
    return call


def _derive(call: Call) -> None:
    """What is beyond plain extents."""
    sizes = call.plans.sizes
    if isinstance(sizes, FunctionType):
        code = sizes.__code__
        call.sizes |= sizes(*map(call.sizes.__getitem__, code.co_varnames[: code.co_argcount]))


def _collapse(call: Call, dims: Mapping[str, tuple[str, ...]]) -> None:
    """The leading axes of all tensors as the two axes a kernel walks."""
    led = [name for name, keys in dims.items() if keys[:2] == LEAD]
    if not any(name in call.tensors for name in led):
        return
    sizes = call.sizes["lead"]
    rank = len(sizes)
    walks = collapse(sizes, *(_lead_strides(call, name, rank) for name in led))
    if call.plans.reduces_lead and len(walks.offsets) > 1:
        raise ScatteredRowsError(
            f"{call.op}: it reduces over the leading axes, and in memory they are more than two axes apart; pass the "
            "arguments as .contiguous()"
        )
    if call.plans.reduces_lead and walks.inner == 1 and walks.count:
        # A loop over both takes steps along the inner one.
        walks = replace(walks, inner=walks.count, strides=tuple((inner, outer) for outer, inner in walks.strides))
    call.walks, call.led = walks, {name: place for place, name in enumerate(led)}
    call.sizes |= {"lead1": walks.count // walks.inner, "lead0": walks.inner}


def _flatten(call: Call) -> None:
    """The axes of gapless tensors as one, which is the last of them."""
    *outer, last = call.plans.flat.split()
    count = call.count(call.plans.flat)
    call.sizes |= {last: count, **dict.fromkeys(outer, 1)}
    if call.walks is not None and last == LEAD[-1]:
        call.walks = replace(call.walks, inner=count, strides=tuple((count, 1) for _ in call.walks.strides))
    _derive(call)


def _lead_strides(call: Call, name: str, rank: int) -> tuple[int, ...]:
    if name not in call.tensors:
        made = call.outputs[name] if name in call.outputs else call.workspace(name)
        return contiguous(made.shape[:rank] if _has_lead_innermost(call, name) else made.shape)[:rank]
    tensor = call.tensors[name]
    return tuple(tensor.stride()[:rank]) if tensor is not None else (0,) * rank


def _has_lead_innermost(call: Call, name: str) -> bool:
    return name in call.plans.workspace and call.plans.workspace[name].innermost


def _strides(call: Call, name: str, keys: tuple[str, ...]) -> list[int]:
    """The stride of each stored dimension: as a tensor lies, or row-major where the op allocates it."""
    lead = list(call.walks.strides[call.led[name]]) if name in call.led and call.walks else []
    rest = keys[len(lead) :]
    if name not in call.tensors:
        between = prod(call.sizes["lead"]) if _has_lead_innermost(call, name) else 1
        return [*lead, *(between * call.count(" ".join(rest[place + 1 :])) for place in range(len(rest)))]
    tensor = call.tensors[name]
    if tensor is None:
        return [*lead, *(0 for _ in rest)]
    return [*lead, *tensor.stride()[tensor.dim() - len(rest) :]]
