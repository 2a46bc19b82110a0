"""`help` of a generated op says what a caller may give, what comes back, and what is raised."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from compiled import compiled

import fusec.runtime

SPEC = '''
op f(
    mut cache: T[P, N],
    x: T[M, H*N],
    distinct at: i32[M],
    bias: T[N] = 0.5,
    weight gain: f32[N] = 1,
    eps: f32 = 1e-6,
    count: i32 = 3,
    exact: bool = false,
    activation: {silu, relu} = silu,
    heads: dim(H) = infer,
    out_dtype: dtype(U) = f32,
) -> (y: U[M, N], scale: f32[M])
where T in {f16, bf16, f32}, U in {f16, f32}, N % 2 == 0:
    """Something
    in two lines."""
    y = cast(sum(activation(x), over=H) * gain + bias, U)
    scale = sum(x, over=(H, N)) + eps + count
    cache[at] = sum(x, over=H)
'''


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The parts of the documentation by their headings, each with its lines joined."""
    (op,) = compiled(SPEC, tmp_path_factory.mktemp("documented"))
    parts = (inspect.getdoc(op.call) or "").split("\n\n")
    headed = [re.split(r"(?<=:)\n| (?=N % 2)", part, maxsplit=1) for part in parts]
    return {part[0]: part[-1] for part in headed}


def entries(text: str) -> dict[str, str]:
    """`name: text.` for every entry of a list, which may be several lines long."""
    joined = re.sub(r"\n {8,}", " ", text)
    return dict(line.strip().split(": ", 1) for line in joined.splitlines())


def test_what_the_op_is_stands_first(sections: dict[str, str]) -> None:
    assert next(iter(sections.values())) == "Something\nin two lines."


def test_every_argument_says_what_it_may_be(sections: dict[str, str]) -> None:
    assert entries(sections["Args:"]) == {
        "cache": "T[P, N], written in place.",
        "x": "T[M, H*N].",
        "at": "i32[M], positions that differ from each other, as far as they are inside.",
        "bias": "T[N], 0.5 when None.",
        "gain": "f32[N], 1 when None.",
        "eps": "f32.",
        "count": "i32.",
        "exact": "bool.",
        "activation": 'one of "silu", "relu".',
        "heads": "extent H, solved from the tensors when None.",
        "out_dtype": "the dtype U, float16 or float32.",
    }


def test_results_and_conditions_are_told(sections: dict[str, str]) -> None:
    assert entries(sections["Returns:"]) == {"y": "U[M, N]", "scale": "f32[M]"}
    (where,) = (text for heading, text in sections.items() if heading.startswith("where"))
    for part in ("N % 2 == 0", "T is float16, bfloat16 or float32", "U is float16 or float32"):
        assert part in where


def test_what_is_raised_exists(sections: dict[str, str]) -> None:
    named = re.findall(r"\b\w+Error\b", sections["Raises:"])
    assert named
    assert all(issubclass(getattr(fusec.runtime, name), fusec.runtime.FusecError) for name in named)


OVERLOADED = """
op f(x: T[N]) -> y: T[N]
where T in {f32}:
    y = x * 2

op g(x: i32[N]) -> y: i32[N]:
    y = x * 2

op h(x: f32[M, N]) -> y: f32[M, N]:
    y = x * 2

overload g of f
overload h of f
"""


def test_other_ops_that_take_the_arguments_are_named(tmp_path: Path) -> None:
    told = {op.name: " ".join((inspect.getdoc(op.call) or "").split()) for op in compiled(OVERLOADED, tmp_path)}
    assert "that fit `g` or `h` are passed on to it" in told["f"]
    assert "passed on" not in told["g"] + told["h"]
