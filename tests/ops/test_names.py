"""A spec may call its things by any name, also one that the generated file has for a thing of its own."""

from __future__ import annotations

import ast
import builtins
import keyword
import os
from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.diagnostics import Source, SpecError
from fusec.driver.compile import compile_source
from fusec.forcing import CHIPS, on_chip
from fusec.ir.kernel import VARIABLES
from fusec.ir.reserved import BUILTINS as USED
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.runtime.errors import ShapeMismatchError
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

SPEC = """op {op}(
    {x}: {T}[{M}, {N}], {table}: f32[{P}], {ids}: i64[{M}], {gain}: {T}[{N}] = 1.0, {scale}: f32 = 0.5,
    {count}: i32 = 2, {act}: {{silu, relu}} = silu
) -> ({y}: {T}[{M}, {N}], {z}: f32[{M}])
where {T} in {{f32, f64}}:
    {inner} = {x} * {gain} + {scale}
    {size} = mean({inner} * {inner}, over={N})
    {y} = {act}({inner}) * rsqrt(1.0 + {size})
    {z} = sum({x}, over={N}) * {count} + {table}[{ids}]

op second_{op}({x}: f16[..., {N}], {gain}: f32[{N}]) -> {y}: f16[..., {N}]:
    {inner} = {x} * {gain}
    {y} = {inner} / sum(exp({inner}), over={N})
"""
"""Two ops whose file has every part: all plans, look-ups, choices, scalars, leading axes and f64."""

SLOTS = ("op", "x", "table", "ids", "gain", "scale", "count", "act", "y", "z", "T", "M", "N", "P", "inner", "size")
PLAIN = {slot: f"{slot}x" for slot in SLOTS}

TURNS = int(os.environ.get("FUSEC_EXAMPLES", "1"))
"""How many slots each name is tried in."""

BUILTINS = tuple(name for name in dir(builtins) if name[0] != "_" and not keyword.iskeyword(name))
TAKEN = ("bool", "Ellipsis")
"""Builtins that are something else: a dtype, and the one name that PyTorch's schemas have no place for."""

PARTS = 8
LINE = "    {1} = {2}({3} * {4})\n    {0} = {1} + 1\n"


def words() -> list[str]:
    """The names in the generated file of the plain spec that are not its own, as far as a spec may have them."""
    (compiled, _) = compile_source(Source("plain.fuse", SPEC.format(**PLAIN)), None)
    nodes = list(ast.walk(ast.parse(compiled.text)))
    found = {getattr(node, field, None) for node in nodes for field in ("id", "arg", "name", "asname")}
    return sorted(name for name in found if isinstance(name, str) and is_allowed(name))


def is_allowed(name: str) -> bool:
    try:
        elaborate(load(Source("name.fuse", f"op f(x: f32[{name}]) -> y: f32[{name}]:\n    y = x\n"), None))
    except SpecError:
        return False
    return name not in PLAIN.values()


def specs() -> list[dict[str, str]]:
    """Names for the slots of the spec, so that each word comes in `TURNS` of them, builtins in every one.

    An op is called nothing private, and like no builtin that its file uses.
    """
    names = words()
    used = [name for name in names if name in BUILTINS]
    others = [name for name in names if name not in BUILTINS]
    turned = [(SLOTS[turn:] + SLOTS[:turn], batch) for turn in range(TURNS) for batch in batches(others)]
    turned += [(SLOTS[turn:] + SLOTS[:turn], batch) for turn in range(len(SLOTS)) for batch in batches(used)]
    found = [{**PLAIN, **dict(zip(slots, batch, strict=False))} for slots, batch in turned]
    return [{**names, "op": op_name(names["op"])} for names in found]


def batches(names: list[str]) -> list[list[str]]:
    return [names[first : first + len(SLOTS)] for first in range(0, len(names), len(SLOTS))]


def op_name(name: str) -> str:
    return name.lstrip("_") if name.strip("_") and name not in USED else PLAIN["op"]


@pytest.mark.parametrize("names", specs(), ids=lambda names: names["op"])
def test_names_of_the_generated_file_are_free(names: dict[str, str], tmp_path: Path, device: torch.device) -> None:
    first, second = compiled(SPEC.format(**names), tmp_path)
    for number, limits in enumerate(CHIPS.values()):
        odd = number % 2
        whole = Case(
            op=first.name,
            seed=number,
            extents={names["M"]: 3, names["N"]: 21, names["P"]: 4},
            dtypes={names["T"]: "f64" if odd else "f32"},
            picks={names["act"]: "relu" if odd else "silu"},
            scalars={names["scale"]: 0.25, names["count"]: 3},
            omitted=(names["gain"],) if odd else (),
        )
        led = Case(op=second.name, seed=number, extents={names["N"]: 21}, lead=(2, 3))
        with on_chip(first.module, limits):
            run_and_compare(first.call, first.program.forms, whole, device=device)
            run_and_compare(second.call, second.program.forms, led, device=device)


def test_kernels_share_as_much_where_an_import_has_another_name() -> None:
    lines = "".join(f"    v{number + 1} = tanh(v{number}) * NAME\n" for number in range(20))
    spec = (
        f"op f(x: f32[M, N], NAME: f32[M, N]) -> y: f32[M, N]:\n    v0 = x + 1\n{lines}    y = v20 / sum(v20, over=N)\n"
    )

    def functions(name: str) -> list[int]:
        """How many arguments every function of kernels takes."""
        (compiled,) = compile_source(Source("named.fuse", spec.replace("NAME", name)), None)
        tree = ast.parse(compiled.text)
        return [len(node.args.args) for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list]

    assert functions("device") == functions("another")
    assert 2 * min(functions("another")) <= max(functions("another"))


def test_variables_of_templates_are_no_arguments_of_kernels(tmp_path: Path, device: torch.device) -> None:
    scalars, axes = sorted(VARIABLES), (*sorted(VARIABLES)[:3], "K")
    given = ", ".join(f"{name}_: f32" if name in axes else f"{name}: f32" for name in scalars)
    added = " + ".join(f"{name}_" if name in axes else name for name in scalars)
    m, n, batch, k = axes
    text = (
        f"op f(x: f16[{batch}, {m}, {k}], w: f16[{n}, {k}], {given}) -> y: f32[{batch}, {m}, {n}]:\n"
        f"    y = dot(x, w, over={k}) + {added}\n"
    )
    (op,) = compiled(text, tmp_path)
    written = ast.parse(Path(str(op.module.__file__)).read_text()).body
    kernels = [node for node in written if isinstance(node, ast.FunctionDef) and node.decorator_list]
    assert len(kernels) > 3
    assert {arg.arg for kernel in kernels for arg in kernel.args.args} & VARIABLES == set()
    x, w = torch.ones(2, 3, 4, dtype=torch.float16, device=device), torch.ones(5, 4, dtype=torch.float16, device=device)
    for chip in CHIPS.values():
        with on_chip(op.module, chip):
            found = op.call(x, w, *([1.0] * len(scalars)))
            assert torch.equal(found, torch.full_like(found, 4.0 + len(scalars)))


def free_builtins() -> list[list[str]]:
    """Every builtin that may be a name, in parts of one length: PyTorch takes 64 parameters, and each has three."""
    names = [name for name in BUILTINS if name not in TAKEN]
    names += [f"plain{number}" for number in range(-len(names) % PARTS)]
    return [names[first::PARTS] for first in range(PARTS)]


@pytest.mark.parametrize("turn", range(PARTS))
def test_builtins_are_free_in_every_role(turn: int, tmp_path: Path, device: torch.device) -> None:
    parts = free_builtins()
    tensors, scalars, choices, outputs, axes, types, inner, _ = parts[turn:] + parts[:turn]
    params = [f"{name}: {type}[{axis}]" for name, type, axis in zip(tensors, types, axes, strict=True)]
    params += [f"{name}: f32 = 0.5" for name in scalars]
    params += [f"{name}: {{silu, relu}} = silu" for name in choices]
    results = [f"{name}: {type}[{axis}]" for name, type, axis in zip(outputs, types, axes, strict=True)]
    (op,) = compiled(
        f"op many({', '.join(params)}) -> ({', '.join(results)})\n"
        f"where {', '.join(f'{name} in {{f32, f64}}' for name in types)}:\n"
        + "".join(map(LINE.format, outputs, inner, choices, tensors, scalars)),
        tmp_path,
    )
    given = {name: torch.randn(3, device=device) for name in tensors}
    given |= {scalars[0]: 2.0, choices[0]: "relu"}
    wanted = {name: torch.nn.functional.silu(given[name] * 0.5) + 1 for name in tensors}
    wanted[tensors[0]] = torch.relu(given[tensors[0]] * 2) + 1
    for call in (op.call, op.module.reference_many):
        torch.testing.assert_close(call(**given), tuple(wanted.values()))


HIDDEN = """op hidden(ValueError: {silu, relu}, abs: f32, max: f32, min: f32, round: f32, x: f32[N], _max: f32)
-> y: f32[N]:
    y = ValueError(x) * abs(maximum(abs, max) - minimum(min, round(round))) + _max
"""


def test_a_reference_uses_builtins_that_its_parameters_hide(tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(HIDDEN, tmp_path)
    x = torch.randn(3, device=device)
    for call in (op.call, op.module.reference_hidden):
        found = call(ValueError="relu", abs=-3.0, max=1.0, min=4.0, round=2.5, x=x, _max=0.25)
        torch.testing.assert_close(found, torch.relu(x) + 0.25)
    with pytest.raises(ValueError, match="unknown ValueError: 'gelu'"):
        op.module.reference_hidden("gelu", 1.0, 1.0, 1.0, 1.0, x, 1.0)


EXTENTS = """op extents(
    x: f32[..., size], lead: f32[size], lead0: f32 = 0.5, lead1: {silu, relu} = silu, n: dim(size) = infer
) -> y: f32[..., size]
where size % 2 == 0:
    a, b = halves(x, over=size)
    turned = join(b, a, over=size)
    y = lead1(turned + lead * lead0) / size
"""


def test_extents_and_leading_axes_have_no_names_of_their_own(tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(EXTENTS, tmp_path)
    x, lead = torch.randn(2, 3, 6, device=device), torch.randn(6, device=device)
    for given in ({"n": 6}, {"lead0": 0.25, "lead1": "relu"}):
        turned = x.roll(3, -1) + lead * given.get("lead0", 0.5)
        wanted = torch.relu(turned) if "lead1" in given else torch.nn.functional.silu(turned)
        for call in (op.call, op.module.reference_extents):
            torch.testing.assert_close(call(x, lead, **given), wanted / 6)
    with pytest.raises(ShapeMismatchError, match="size % 2 == 0"):
        op.call(x[..., :5], lead[:5])


COMPOSED = (
    ("x: f32[M, P + Q], p: dim(P), z: f32[M, P_Q]", "P_Q", "P + Q", {"P": 6, "Q": 4, "P_Q": 5}),
    ("x: f32[M, N + 1], z: f32[M, N_1]", "N_1", "N + 1", {"N": 5, "N_1": 4}),
    ("x: f32[M, 1 + N], z: f32[M, N]", "N", "1 + N", {"N": 5}),
    ("x: f32[M, 2*N], z: f32[M, N], h: f32[N/2]", "N", "N/2", {"N": 6}),
    ("x: f32[M, Nn], z: f32[M, NN]", "NN", "Nn", {"Nn": 5, "NN": 7}),
)
"""Axes of which one is called much like what another one is made of."""


@pytest.mark.parametrize(("params", "one", "other", "extents"), COMPOSED)
def test_axes_that_are_called_alike_are_two(
    params: str, one: str, other: str, extents: dict[str, int], tmp_path: Path, device: torch.device
) -> None:
    second = "h * sum(x, over=2*N)" if "h:" in params else f"x * sum(x, over={other})"
    conditions = "\nwhere N % 2 == 0" if "h:" in params else ""
    text = f"op f({params}) -> y: f32[M, {one}, {other}]{conditions}:\n    y = ({second}) * sum(z, over={one}) + z\n"
    (op,) = compiled(text, tmp_path)
    case = Case(op="f", seed=1, extents={"M": 3, **extents})
    for chip in CHIPS.values():
        with on_chip(op.module, chip):
            run_and_compare(op.call, op.program.forms, case, device=device)


@pytest.mark.parametrize("axis", ["1 + N", "N + 1", "2 + N", "N/2"])
def test_sums_of_splits_have_any_axes(axis: str, tmp_path: Path, device: torch.device) -> None:
    """What programs that share a tile leave lies along the axes of a product, by whatever these are called."""
    text = f"op f(x: f32[K, {axis}], w: bf16[K, F], n: f32[N]) -> y: bf16[{axis}, F]\nwhere N % 2 == 0:\n"
    (op,) = compiled(text + "    y = dot(x, w, over=K)\n", tmp_path)
    case = Case(op="f", seed=1, extents={"K": 70, "N": 6, "F": 5})
    for chip in CHIPS.values():
        with on_chip(op.module, chip):
            run_and_compare(op.call, op.program.forms, case, device=device)
