"""Chains of views, look-ups, reductions and products, each a spec: a step takes what another one has made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

TENSORS = {
    "x": "M, D",
    "x2": "M, E",
    "h": "M, D/2",
    "h2": "F",
    "s": "M, R + R",
    "s2": "Q + R",
    "k": "A*D, M",
    "w": "D, L",
    "u": "E",
    "u2": "D/2",
    "u3": "E/2",
    "g": "P, D",
    "at": "M",
    "at2": "D",
}

RULES = ("D % 8 == 0", "E == D", "Q == D", "R == D", "F == D // 2")

EXTENTS = {"M": 3, "D": 8, "E": 8, "Q": 8, "R": 8, "F": 4, "X": 16, "P": 5, "L": 2, "A": 2, "New": 8}

SOURCES = {
    "x": "M D",
    "x2": "M E",
    "h": "M D/2",
    "s": "M R+R",
    "s2": "Q+R",
    "k": "M A D",
    "g[at]": "M D",
    "g[rename(at2, D -> E)]": "D E",
    "x * x2": "M D E",
    "x * u2": "M D D/2",
    "x + index(D)": "M D",
}


@dataclass(frozen=True)
class Step:
    """`text`, of the value `{}`, whose axes `taken` become `given`; `before` is a line of its own, `#` a number."""

    text: str
    taken: str
    given: str
    before: str = ""


def _of_halves(axis: str) -> Iterator[Step]:
    for apart, together in (("halves", "join"), ("pairs", "interleave")):
        before = f"a#, b# = {apart}({{}}, over={axis})"
        yield Step(f"{together}(-b#, 2 * a#, over={axis})", axis, axis, before)
        yield Step("a# + 2 * b#", axis, f"{axis}/2", before)
        yield Step(f"{together}({{}}, 3 - {{}}, over={axis})", f"{axis}/2", axis)
    yield Step(f"amax({{}}, over={axis})", axis, "")
    yield Step(f"{{}} - 2 * sum({{}}, over={axis})", axis, axis)
    yield Step(f"sum({{}}, over={axis}/2)", f"{axis}/2", "")


RENAMES = (
    *(("D", "E"), ("E", "D"), ("D", "R"), ("R", "D"), ("Q", "E"), ("D", "New")),
    *(("D/2", "F"), ("F", "D/2"), ("D/2", "E/2"), ("E/2", "D/2"), ("R + R", "X")),
)

STEPS = (
    *_of_halves("D"),
    *_of_halves("E"),
    *(Step(f"rename({{}}, {old} -> {new})", old.replace(" ", ""), new) for old, new in RENAMES),
    Step("a# + 2 * b#", "R+R", "R", "a#, b# = split({}, R, R)"),
    Step("b#", "R+R", "R", "a#, b# = split({}, R, R)"),
    Step("a# * b#", "Q+R", "Q R", "a#, b# = split({}, Q, R)"),
    Step("rename(a#, Q -> R) - b#", "Q+R", "R", "a#, b# = split({}, Q, R)"),
    Step("concat(-{}, {} * 2, over=R + R)", "R", "R+R"),
    Step("concat(rename({}, R -> Q), {} * 2, over=Q + R)", "R", "Q+R"),
    Step("sum({}, over=R + R)", "R+R", ""),
    Step("dot({}, w, over=D)", "D", "L"),
    *(Step(f"{{}} * {name}", "", axis) for name, axis in (("u", "E"), ("u2", "D/2"), ("u3", "E/2"), ("h2", "F"))),
)


@dataclass(frozen=True)
class Chain:
    """The lines of a spec so far, and the axes of its last value."""

    lines: tuple[str, ...]
    axes: frozenset[str]

    def then(self, step: Step) -> Chain | None:
        """The chain with one more step; None where the step does not fit."""
        taken, given = set(step.taken.split()), set(step.given.split())
        left = self.axes - taken
        if not taken <= self.axes or (taken and given & left):
            return None
        number = len(self.lines)
        before, text = (
            part.replace("{}", f"v{number - 1}").replace("#", str(number)) for part in (step.before, step.text)
        )
        line = f"{before}\n    v{number} = {text}" if before else f"v{number} = {text}"
        return Chain((*self.lines, line), left | given)

    @property
    def spec(self) -> str:
        """The op, with those parameters and conditions that it needs."""
        body = "\n    ".join(self.lines)
        used = {name: dims for name, dims in TENSORS.items() if name in re.findall(r"\w+", body)}
        axes = ", ".join(sorted(self.axes)).replace("+", " + ")
        known = sorted(set(re.findall(r"\b[A-Z]\b", f"{used} {body} {axes}")) - {"X"})
        rules = [rule for rule in RULES if set(re.findall("[A-Z]", rule)) <= set(known)]
        params = [f"{name}: {'i32' if name.startswith('at') else 'f32'}[{dims}]" for name, dims in used.items()]
        params += [f"size{axis}: dim({axis})" for axis in known]
        where = f"\nwhere {', '.join(rules)}" if rules else ""
        return f"op f({', '.join(params)}) -> y: f32[{axes}]{where}:\n    {body}\n    y = v{len(self.lines) - 1}\n"


def chains(steps: int) -> Iterator[Chain]:
    """All chains of at most so many steps."""
    found = [Chain((f"v0 = {text}",), frozenset(axes.split())) for text, axes in SOURCES.items()]
    for _ in range(steps):
        found = [longer for chain in found for step in STEPS if (longer := chain.then(step)) is not None]
        yield from found
