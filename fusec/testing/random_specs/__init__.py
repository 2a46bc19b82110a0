"""Random specs: well-typed ops in the language, one per seed, to be compiled and compared with their reference.

They are tame: what is divided by is at least 1, what an exponential is taken of is bounded, so that the error bound
stays narrow and a comparison with it means something. `text(seed)` gives the same spec every time; with
`pytest --spec-seed N` the tests of random specs run on that one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

from fusec.testing.random_specs import arithmetic, dots, lookups, parameters, reductions, views
from fusec.testing.random_specs.axes import random_axes
from fusec.testing.random_specs.draft import Draft
from fusec.testing.random_specs.outputs import return_some

STEPS: Mapping[Callable[[Draft], None], int] = {
    arithmetic.unary: 5,
    arithmetic.binary: 4,
    arithmetic.position: 1,
    arithmetic.integer: 4,
    arithmetic.with_integer: 1,
    arithmetic.truth: 2,
    arithmetic.function: 1,
    reductions.reduce: 4,
    reductions.within: 4,
    reductions.integers: 1,
    parameters.gain: 3,
    parameters.selecting: 1,
    parameters.normalised: 1,
    parameters.scalar: 1,
    parameters.choice: 2,
    views.halves: 3,
    views.joined: 2,
    views.rotated: 1,
    views.gated: 3,
    views.parts: 2,
    views.concatenated: 1,
    views.renamed: 3,
    views.table_renamed: 1,
    lookups.gather: 3,
    lookups.gather_again: 1,
    lookups.write_in_place: 1,
    lookups.write_at: 1,
    dots.by_weight: 4,
    dots.of_values: 2,
    dots.narrow: 1,
    dots.twice: 2,
    dots.taken_apart: 2,
}
"""What a spec is made of, and how often."""

_TYPES: tuple[tuple[str, ...], ...] = (("f16", "bf16", "f32"),) * 12 + (
    ("f64",),
    ("f64", "f32"),
    ("f8e4m3", "bf16"),
    ("f8e5m2",),
)


def text(seed: int) -> str:
    """The spec of `seed`: one op called `random_SEED`."""
    random = Random(seed)
    draft = Draft(random, random_axes(random))
    types = random.choice(_TYPES)
    options = tuple(sorted(random.sample(types, random.randint(1, len(types)))))
    draft.values.append(draft.tensor("x", "T", draft.axes.ordered({*draft.axes.kept, *draft.axes.inner})))
    draft.params.extend(draft.axes.solving)
    draft.params.append("eps: f32 = 1e-5")
    wanted = random.randint(3, 7)
    for _ in range(30):
        if len(draft.lines) + len(draft.writes) < wanted:
            random.choices(list(STEPS), list(STEPS.values()))[0](draft)
    return_some(draft)
    return _written(f"random_{seed}", draft, options)


def _written(name: str, draft: Draft, options: tuple[str, ...]) -> str:
    signature = " ".join((*draft.params, *draft.lines, *draft.writes, *draft.outputs))
    there = set(re.findall(r"\w+", signature))
    # A tensor that a call may leave out tells no extent, nor does a `rename` of what no output needs.
    optional = set(re.findall(r"\w+", " ".join(param for param in draft.params if "] = " in param)))
    unsaid = [each for each in draft.axes.unsaid if each.partition(" ")[0] in optional]
    about = [each for each in (*draft.axes.declared, *unsaid) if set(re.findall(r"[A-Z]\w*", each)) <= there]
    conditions = ", ".join([f"T in {{{', '.join(options)}}}", *about])
    # Parameters with a default come last, as in Python.
    params = sorted(draft.params, key=lambda param: "=" in param)
    results = ", ".join(draft.outputs)
    body = "".join(f"    {line}\n" for line in (*draft.lines, *draft.writes))
    return (
        f"{''.join(draft.functions)}op {name}({', '.join(params)})\n"
        f"  -> {f'({results})' if len(draft.outputs) > 1 else results}\n"
        f"where {conditions}:\n{body}"
    )
