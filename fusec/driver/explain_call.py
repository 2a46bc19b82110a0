"""The plan of one call of an op that is given by its sizes: no GPU, no data, and no generated package takes part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from fusec.codegen.gate import Job, measure
from fusec.codegen.launched import variant_of
from fusec.diagnostics import Source
from fusec.driver.compile import compile_file
from fusec.driver.load import load_module
from fusec.driver.store import default_folder
from fusec.driver.telling import telling_calls
from fusec.extents.conditions import Formula
from fusec.extents.signature import Signature
from fusec.forcing import CHIPS as SMALL_CHIPS
from fusec.ir.arguments import layout_arguments
from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, TensorParam
from fusec.ir.types import DType, Lead, Storage, product_extent
from fusec.passes.pipeline import compile_graph
from fusec.reference.rounding import TORCH_DTYPES
from fusec.runtime import Chip, Launch, Op
from fusec.runtime.errors import FusecError
from fusec.runtime.explain.report import Report, report
from fusec.runtime.launch import Resources
from fusec.runtime.select.chip import CHIPS, TARGETS
from fusec.runtime.select.run import Decision

ROWS = "M"
"""Stands for all rows of an op (`...`), unless one of its axes is called so."""

DTYPE = "bf16"
"""What a type variable is that nobody chose, if it can be."""

MOST_ELEMENTS = 1 << 60
"""Of a tensor: more have no addresses, and PyTorch makes none."""


class CallError(ValueError):
    """A call that is not one of the op: the message says what is wrong, and what there is."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user says of a call: sizes, dtypes, layouts, choices (`NAME=VALUE` each), and optional tensors given."""

    sizes: Sequence[str] = ()
    dtypes: Sequence[str] = ()
    layouts: Sequence[str] = ()
    choices: Sequence[str] = ()
    given: Sequence[str] = ()
    device: str = "h200"
    plan: str | None = None
    registers: bool = False


def explain_call(source: Source, folder: Path, graph: Graph, wanted: Wanted) -> Report:
    """The plan of a call of `graph`, an op of the spec `source`. Raises `CallError`."""
    chip = chip_named(wanted.device)
    arguments = _Call(graph, wanted).arguments()
    module = load_module(source, folder, compile_file, default_folder())
    op = next(each for each in vars(module).values() if isinstance(each, Op) and each.name == graph.name)
    try:
        decision = op.decide(*arguments, plan=wanted.plan, chip=chip)
    except FusecError as error:
        raise CallError(str(error)) from error
    taken = compiled(decision, graph, module) if wanted.registers else {}
    return report(decision, lambda name: op.decide(*arguments, plan=name, chip=chip), op.plan_names, taken)


def compiled(decision: Decision, graph: Graph, module: ModuleType) -> dict[str, Resources]:
    """What the kernels of a plan take, compiled for its chip; some seconds, and no GPU. Raises `CallError`."""
    target = TARGETS[decision.call.chip.target]
    launches = {launch.kernel.__name__: launch for launch in decision.launches if isinstance(launch, Launch)}
    if any(not hasattr(launch.kernel, "params") for launch in launches.values()):
        raise CallError("--registers: kernels are interpreted here, and not compiled; unset TRITON_INTERPRET")
    scalars: Any = telling_calls(compile_graph(graph))["scalars"]
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    variants = [variant_of(launch, decision.dtypes, scalars) for launch in launches.values()]
    verdicts = measure([Job(module.__name__, text, variant, target) for variant in variants], 1)
    return {
        name: Resources(found.registers, found.shared, found.spills)
        for name, found in zip(launches, (verdict.resources for verdict in verdicts), strict=True)
        if found is not None
    }


def chip_named(name: str) -> Chip:
    """A chip by its name: one that is sold, or a small one of tests. Raises `CallError`."""
    known = {**CHIPS, **SMALL_CHIPS}
    if name not in known:
        small = f"{', '.join(SMALL_CHIPS)} (small ones, for tests, whose rules prefer that kind of plan)"
        raise CallError(f"--device {name}: there are {', '.join(CHIPS)}, and {small}")
    return known[name]


class _Call:
    def __init__(self, graph: Graph, wanted: Wanted) -> None:
        self._graph = graph
        self._signature = Signature.of(graph)
        self._wanted = wanted
        self._extents, self._lead = self._sizes()
        self._dtypes = self._types()
        self._layouts = _pairs("--layout", wanted.layouts, "TENSOR=LAYOUT, for instance x=transposed or x=8192x1")
        _check("--layout", "tensor", self._layouts, [tensor.name for tensor in graph.tensors])
        self._choices = _pairs("--choose", wanted.choices, "NAME=OPTION")
        _check("--choose", "choice", self._choices, [p.name for p in graph.params if isinstance(p, ChoiceParam)])
        _check("--with", "optional tensor", wanted.given, [t.name for t in graph.tensors if t.optional])

    def arguments(self) -> list[Any]:
        """The tensors, without data, and the settings of the call, in the order that plans take them in."""
        return [self._argument(name) for name in layout_arguments(self._graph)]

    # Sizes

    def _sizes(self) -> tuple[dict[str, int], tuple[int, ...]]:
        signature, op = self._signature, self._graph.name
        extents, lead = sizes_of(self._wanted.sizes)
        axes = (*signature.free, *signature.bound)
        if ROWS in extents and ROWS not in axes and signature.has_lead:
            lead = lead or (extents.pop(ROWS),)
        names = (*axes, *(["..."] if signature.has_lead else []))
        unknown = [name for name in extents if name not in axes] + (["..."] if lead and not signature.has_lead else [])
        if unknown:
            raise CallError(f"{op} has no axis {', '.join(unknown)}; it has {', '.join(names)}")
        missing = [name for name in signature.free if name not in extents]
        if signature.has_lead and lead is None:
            missing.insert(0, "...")
        if missing:
            added = " ".join(f"{ROWS}=16" if name == "..." else f"{name}=4096" for name in missing)
            rows = f"; {ROWS} stands for all of `...`, which ...=8x2048 gives in parts" if "..." in missing else ""
            raise CallError(f"{op} needs the size of {', '.join(missing)} too: add {added}{rows}")
        found = {name: value(extents) for name, value in signature.bound.items()}
        for name, value in found.items():
            if extents.get(name, value) != value:
                raise CallError(f"{op}: {name} follows from other sizes and is {value} then, not {extents[name]}")
        if self._signature.elements({**extents, **found}) * prod(lead or ()) > MOST_ELEMENTS:
            raise CallError(f"{op}: a tensor of these sizes has more than 2**60 elements; make them smaller")
        return {**extents, **found}, lead or ()

    # Types

    def _types(self) -> dict[str, str]:
        found = {v.name: _preferred([option.name for option in v.options]) for v in self._graph.variables}
        options = {v.name: [option.name for option in v.options] for v in self._graph.variables}
        for text in self._wanted.dtypes:
            name, given, value = text.rpartition("=")
            taking = [name] if given else [each for each, known in options.items() if value in known]
            if not taking or taking[0] not in options or value not in options[taking[0]]:
                known = "; ".join(f"{each} is one of {', '.join(names)}" for each, names in options.items())
                raise CallError(f"--dtype {text}: {known or f'{self._graph.name} has no type variable'}")
            found |= dict.fromkeys(taking, value)
        return found

    def _dtype(self, storage: Storage) -> torch.dtype:
        return TORCH_DTYPES[storage.name if isinstance(storage, DType) else self._dtypes[storage.name]]

    # Arguments

    def _argument(self, name: str) -> Any:
        param = self._graph.param(name)
        match param:
            case TensorParam(optional=True) if name not in self._wanted.given:
                return None
            case TensorParam():
                return self._tensor(param)
            case ChoiceParam(options=options):
                chosen = self._choices.get(name, param.default or options[0])
                if chosen not in options:
                    raise CallError(f"--choose {name}={chosen}: it is one of {', '.join(options)}")
                return chosen
            case DTypeParam():
                return self._dtype(param.variable)
            case DimParam() if not param.inferred:
                return self._extents[param.axis.name]
        return None

    def _tensor(self, param: TensorParam) -> torch.Tensor:
        shape: list[int] = []
        for dim in param.dims:
            shape += self._lead if dim == (Lead(),) else [int(Formula.of(product_extent(dim))(self._extents))]
        strides = strides_of(param.name, shape, self._layouts.get(param.name, "contiguous"))
        return torch.empty_strided(shape, strides, dtype=self._dtype(param.element), device="meta")


def sizes_of(texts: Iterable[str]) -> tuple[dict[str, int], tuple[int, ...] | None]:
    """`N=4096` and `...=8x2048`, several with blanks between, as extents and the extents of `...`."""
    extents: dict[str, int] = {}
    lead: tuple[int, ...] | None = None
    for part in (part for text in texts for part in text.split()):
        name, _, value = part.partition("=")
        if not name or not re.fullmatch(r"\d+(x\d+)*", value):
            raise CallError(f"--size {part}: write AXIS=EXTENT, for instance N=4096 or ...=8x2048")
        numbers = tuple(map(int, value.split("x")))
        if name == "...":
            lead = numbers
        else:
            extents[name] = prod(numbers)
    return extents, lead


def strides_of(name: str, shape: Sequence[int], layout: str) -> list[int]:
    """The strides of a tensor in a layout by its name, or as numbers: `8192x1`."""
    rows = [prod(shape[place + 1 :]) for place in range(len(shape))]
    if layout == "contiguous":
        return rows
    if layout == "transposed" and len(shape) > 1:
        *outer, _, _ = rows
        return [*outer, 1, shape[-2]]
    if layout == "sliced" and shape:
        # A part of rows twice as long: as of two tensors that one matrix has made side by side.
        return [*(2 * step for step in rows[:-1]), 1]
    if re.fullmatch(r"\d+(x\d+)*", layout):
        steps = list(map(int, layout.split("x")))
        if len(steps) == len(shape):
            return steps
        raise CallError(f"--layout {name}={layout}: {name} is {list(shape)}, so it has {len(shape)} strides")
    forms = ["contiguous", *(["sliced"] if shape else []), *(["transposed"] if len(shape) > 1 else [])]
    strides = f"strides in elements, such as {'x'.join(map(str, rows))}" if shape else "nothing"
    raise CallError(f"--layout {name}={layout}: it is one of {', '.join(forms)}, or {strides}")


def _preferred(options: list[str]) -> str:
    return DTYPE if DTYPE in options else options[0]


def _pairs(option: str, texts: Sequence[str], form: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, given, value) in zip(texts, pairs, strict=True):
        if not (name and given and value):
            raise CallError(f"{option} {text}: write {form}")
    return {name: value for name, _, value in pairs}


def _check(option: str, what: str, wanted: Iterable[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise CallError(f"{option} {name}: there is no {what} {name}; there are {', '.join(known) or 'none'}")
