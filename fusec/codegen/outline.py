"""Outline: what several kernels of a file do is one function of the file, called instead of written again.

A kernel is whole only as text, when its skeleton has its statements. So equal is what is the same text but for the
names of variables: runs of statements of one block. Where runs differ in places as well (where a tensor is read, along
which dimension a vector lies, with which hint), these are arguments: `d[None, :] + D // 2`. Triton inlines functions,
and what is compiled does not change.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache

from fusec.codegen.places import Place, pieces, with_names
from fusec.codegen.variables import LOOP, reads, targets, tokens
from fusec.codegen.wrap import wrapped

LONGEST = 60
"""Statements of a run."""

MOST_INPUTS, MOST_RESULTS = 12, 2
"""What a reader can still follow in a call."""

LEAST_GAIN = 8
"""Lines that a function has to save."""

_OPAQUE = ("_map",)
"""What stays in kernels: a tensor map is an argument of a launch."""


_LOOPS = frozenset({"TAIL", "start", "step", "pid", "split"})
"""Variables of a skeleton: what depends on them is a part of its loops."""

_PLACE = re.compile(r"program_id|tl\.arange| // | % |_mask|_row = ")
"""A line that says where a program is at work."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a kernel: its lines, and which of its names are of its parameters, which of these compile-time."""

    lines: tuple[str, ...]
    parameters: tuple[str, ...]
    compile_time: frozenset[str]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the file."""

    name: str
    parameters: tuple[str, ...]
    doc: str
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """Statements of a kernel that stand one after another in a block: the lines from `start` to `end`.

    Its `names` are its variables, and its places where these `differ` between runs.
    """

    kernel: str
    start: int
    end: int
    names: tuple[str, ...]
    differ: bool

    def of(self, kernels: Mapping[str, Body]) -> tuple[str, ...]:
        return kernels[self.kernel].lines[self.start : self.end]


@dataclass(frozen=True, slots=True)
class _Shared:
    """Runs that are the same but for their names, of which these are taken and given, by number."""

    runs: tuple[_Run, ...]
    inputs: tuple[int, ...]
    results: tuple[int, ...]
    gain: int


def outlined(kernels: Mapping[str, Body], taken: frozenset[str]) -> tuple[dict[str, Body], tuple[Function, ...]]:
    """The kernels, and the functions that they call from now on; whose names are not `taken`."""
    kernels, names, functions = dict(kernels), set(taken), []
    while (best := _best(kernels)) is not None:
        function = _function(kernels, best, names)
        names.add(function.name)
        functions.append(function)
        for run in sorted(best.runs, key=lambda run: run.start, reverse=True):
            kernels[run.kernel] = _replaced(kernels[run.kernel], run, best, function.name)
    return kernels, tuple(functions)


def _best(kernels: Mapping[str, Body]) -> _Shared | None:
    """What saves most lines as a function, if anything does."""
    alike: dict[int, list[_Run]] = {}
    for name, body in kernels.items():
        for run, form in _runs(name, body.lines, body.compile_time):
            alike.setdefault(form, []).append(run)
    groups = [runs for runs in map(_apart, alike.values()) if len(runs) > 1 and _is_apart(runs)]
    heights = {name: [_length([line]) for line in body.lines] for name, body in kernels.items()}
    most = [_most(heights, runs) for runs in groups]
    best: _Shared | None = None
    for place in sorted(range(len(groups)), key=lambda place: -most[place]):
        runs = groups[place]
        if most[place] <= (best.gain if best else LEAST_GAIN - 1):
            break
        shared = _shared(kernels, runs)
        if shared is not None and shared.gain > (best.gain if best else LEAST_GAIN - 1):
            best = shared
    return best


@lru_cache(maxsize=256)
def _runs(name: str, lines: tuple[str, ...], compile_time: frozenset[str]) -> list[tuple[_Run, int]]:
    """Every run of a kernel of more than two lines, and its form: the same for the same text but for names.

    They are asked for again after every function that other kernels get.
    """
    found: list[tuple[_Run, int]] = []
    for block in _blocks(lines, 0, len(lines)):
        for place, (start, _) in enumerate(block):
            forms = [_Form(compile_time, differ) for differ in (False, True)]
            for first, end in block[place : place + LONGEST]:
                if any(word in line for line in lines[first:end] for word in _OPAQUE):
                    break
                forms = [form for form in forms if form.takes(lines[first:end], _indent(lines[start]))]
                if end - start > 2:
                    found += ((_Run(name, start, end, tuple(form.numbers), form.differ), form.hash) for form in forms)
    return found


class _Form:
    """What runs have in common that are the same but for names, and for places where these `differ`."""

    def __init__(self, compile_time: frozenset[str], differ: bool) -> None:
        self.differ = differ
        self.hash = hash(differ)
        self.numbers: dict[str, int] = {}
        self._compile_time = compile_time
        self._made: set[str] = set()
        self._placed: set[str] = set()

    def takes(self, lines: Sequence[str], indent: int) -> bool:
        """Add a statement, unless it changes what a place before it goes by."""
        for line in lines:
            given = targets(line)
            if not given.isdisjoint(self._placed):
                return False
            self._made |= given
            words = pieces(line, frozenset(self._made)) if self.differ else tokens(line)
            self.hash = hash((self.hash, _indent(line) - indent, *map(self._word, words)))
        return True

    def _word(self, piece: Place | tuple[str, bool]) -> object:
        if isinstance(piece, Place):
            self._placed |= piece.names
            fixed = piece.names <= self._compile_time
            return self.numbers.setdefault(piece.text, len(self.numbers)), fixed
        token, is_name = piece
        return (self.numbers.setdefault(token, len(self.numbers)), token in self._compile_time) if is_name else token


def _blocks(lines: Sequence[str], start: int, end: int) -> Iterator[list[tuple[int, int]]]:
    """The statements of a block as lines from and to, then those of the blocks in it."""
    statements: list[tuple[int, int]] = []
    place = start
    while place < end:
        indent, last = _indent(lines[place]), place + 1
        while last < end and (_indent(lines[last]) > indent or lines[last].lstrip().startswith(("elif ", "else:"))):
            last += 1
        statements.append((place, last))
        place = last
    yield statements
    for first, last in statements:
        heads = [at for at in range(first, last) if _indent(lines[at]) == _indent(lines[first])]
        for head, after in zip(heads, [*heads[1:], last], strict=True):
            if after > head + 1:
                yield from _blocks(lines, head + 1, after)


def _apart(runs: list[_Run]) -> tuple[_Run, ...]:
    """The runs that do not overlap one before them."""
    kept: list[_Run] = []
    for run in runs:
        if not any(one.kernel == run.kernel and one.start < run.end and run.start < one.end for one in kept):
            kept.append(run)
    return tuple(kept)


def _is_apart(runs: tuple[_Run, ...]) -> bool:
    """Whether runs are no others than those that are the same in their places, too."""
    return not runs[0].differ or any(not name.isidentifier() for run in runs for name in run.names)


def _most(heights: Mapping[str, Sequence[int]], runs: tuple[_Run, ...]) -> int:
    """The lines that runs would save at most, where the lines of kernels take so many of the file."""
    length = sum(heights[runs[0].kernel][runs[0].start : runs[0].end])
    return (length - 1) * len(runs) - length - 6


def _shared(kernels: Mapping[str, Body], runs: tuple[_Run, ...]) -> _Shared | None:
    """The runs as a function, if they can be one that a reader follows."""
    inputs, results = set[int](), set[int]()
    for run in runs:
        found = _interface(kernels[run.kernel], run)
        if found is None:
            return None
        inputs |= {run.names.index(name) for name in found[0]}
        results |= {run.names.index(name) for name in found[1]}
    first = runs[0]
    lines = first.of(kernels)
    if len(inputs) > MOST_INPUTS or not 0 < len(results) <= MOST_RESULTS:
        return None
    if any(first.names[number] in _places(lines) for number in results):
        return None
    if any(name in _LOOPS for number in inputs for name, _ in tokens(first.names[number])):
        return None
    ordered = sorted(inputs, key=lambda number: (_kind(kernels[first.kernel], first.names[number]), number))
    shared = _Shared(runs, tuple(ordered), tuple(sorted(results)), 0)
    calls = sum(_length([_call(run, shared, "_a_function_name")]) for run in runs)
    length = sum(_length(run.of(kernels)) for run in runs)
    function = _function(kernels, shared, frozenset())
    head = _length([f"def _a_function_name({', '.join(function.parameters)}):"])
    gain = length - calls - _length(function.body) - head - 4
    return _Shared(runs, shared.inputs, shared.results, gain)


def _kind(body: Body, name: str) -> int:
    """Where a parameter stands: values first, then pointers, numbers, strides, and what is known at compile time."""
    if name.startswith('"') or name in body.compile_time:
        return 4
    if name not in body.parameters:
        return 0
    return 1 if name.endswith("_ptr") else 3 if "_stride_" in name else 2


def _interface(body: Body, run: _Run) -> tuple[set[str], set[str]] | None:
    """What a run reads of what was there before, and what it makes that is read elsewhere; None if that is not sure.

    What only a loop assigns is not there behind it, unless it was there before.
    """
    inside, places = _lines(body, run)
    inputs, made, surely = set[str](), set[str](), set[str]()
    loops: list[int] = []
    branches: list[int] = []
    looped, branched = set[str](), set[str]()
    for line in inside:
        depth = _indent(line)
        loops = [each for each in loops if each < depth]
        branches = [each for each in branches if each < depth]
        given, taken = targets(line), reads(line)
        inputs |= taken - made
        made |= given
        if loops:
            looped |= given
        elif branches:
            branched |= given
        elif not LOOP.match(line):
            surely |= given
        if LOOP.match(line):
            loops.append(depth)
            looped |= given
        elif line.lstrip().startswith(("if ", "elif ", "else:")):
            branches.append(depth)
    own = body.lines[run.start : run.end]
    within, every = Counter(name for line in own for name in reads(line)), _readers(body)
    read = {name for name in made if every[name] > within[name]}
    results = surely & read
    doubtful = (looped | branched) - surely
    before = {*body.parameters, *_visible(body.lines, run.start)} if doubtful else set()
    for name in doubtful:
        if name in before:
            inputs.add(name)
            results.add(name)
        elif name in read and name in branched and not _in_every_case(inside, name):
            return None
        elif name in read and name in branched:
            results.add(name)
        elif name in read and any("static_range" in line for line in inside):
            return None
    return {places.get(name, name) for name in inputs}, results


def _lines(body: Body, run: _Run) -> tuple[tuple[str, ...], dict[str, str]]:
    """The lines of a run, whose places have names where they differ, and what these stand for."""
    lines = body.lines[run.start : run.end]
    return with_names(lines) if run.differ else (lines, {})


@lru_cache(maxsize=64)
def _readers(body: Body) -> Counter[str]:
    """How many lines read each name."""
    return Counter(name for line in body.lines for name in reads(line))


def _visible(lines: Sequence[str], start: int) -> set[str]:
    """The names that are there before a line. What a loop assigns is gone behind it."""
    scopes: list[tuple[int, set[str]]] = [(0, set())]
    for line in lines[:start]:
        _leave(scopes, _indent(line))
        if LOOP.match(line):
            scopes.append((_indent(line) + 1, set(targets(line))))
        else:
            scopes[-1][1].update(targets(line))
    _leave(scopes, _indent(lines[start]))
    return set().union(*(names for _, names in scopes))


def _leave(scopes: list[tuple[int, set[str]]], indent: int) -> None:
    while scopes[-1][0] > indent:
        scopes.pop()


def _in_every_case(lines: Sequence[str], name: str) -> bool:
    """Whether a name is assigned in each case of the branches, the last of which is for all that is left."""
    heads = sum(line.lstrip().startswith(("if ", "elif ", "else:")) for line in lines)
    return any(line.lstrip() == "else:" for line in lines) and sum(name in targets(line) for line in lines) == heads


def _function(kernels: Mapping[str, Body], shared: _Shared, taken: Set[str]) -> Function:
    first = shared.runs[0]
    body = kernels[first.kernel]
    lines, places = _lines(body, first)
    indent = _indent(lines[0])
    named = _parameters(lines, places)
    results = [first.names[number] for number in shared.results]
    text = [*(_renamed(line[indent:], named) for line in lines), f"return {', '.join(results)}"]
    given = {text: named[name] for name, text in places.items()}
    parameters = [
        (first.names[number], given.get(first.names[number], first.names[number])) for number in shared.inputs
    ]
    stem = _common_stem([run.names[shared.results[-1]] for run in shared.runs])
    words = dict.fromkeys(" and ".join(f"`{run.names[number]}`" for number in shared.results) for run in shared.runs)
    name = f"_{stem}"
    name = f"{name}_{first.kernel.rpartition('_')[2]}" if name in taken else name
    while name in taken:
        name += "_"
    fixed = {own for text, own in parameters if text.startswith('"') or text in body.compile_time}
    typed = (f"{own}: tl.constexpr" if own in fixed else own for _, own in parameters)
    return Function(
        name,
        tuple(typed),
        f"Makes {' or '.join(words) if len(words) < 3 else f'one `{stem}`'}.",
        tuple(text),
    )


def _parameters(lines: Sequence[str], places: Mapping[str, str]) -> dict[str, str]:
    """A parameter for each place, called as what it goes by first."""
    taken = {token for line in lines for token, _ in tokens(line)}
    found: dict[str, str] = {}
    for name, text in places.items():
        stem = "EVICT" if text.startswith('"') else next(token for token, is_name in tokens(text) if is_name)
        own, number = stem, 1
        while own in taken:
            number += 1
            own = f"{stem}_{number}"
        taken.add(own)
        found[name] = own
    return found


def _renamed(line: str, names: Mapping[str, str]) -> str:
    return re.sub(r"\bplace\d+\b", lambda found: names.get(found[0], found[0]), line)


def _common_stem(names: list[str]) -> str:
    """A name for results of these names, whichever half each is of: what they begin with, or the first two of them."""
    stems = list(dict.fromkeys(re.sub(r"(_low|_high|_even|_odd)?(_\d+)?\Z", "", name) for name in names))
    begins = min(stems, key=len)
    return begins if all(f"{stem}_".startswith(f"{begins}_") for stem in stems) else "_or_".join(stems[:2])


def _places(lines: Sequence[str]) -> set[str]:
    """Indices, masks and pointers that lines make: where a program is at work, and no values."""
    return {name for line in lines if _PLACE.search(line) for name in targets(line)}


def _replaced(body: Body, run: _Run, shared: _Shared, name: str) -> Body:
    call = f"{' ' * _indent(body.lines[run.start])}{_call(run, shared, name)}"
    return Body((*body.lines[: run.start], call, *body.lines[run.end :]), body.parameters, body.compile_time)


def _call(run: _Run, shared: _Shared, name: str) -> str:
    given = ", ".join(run.names[number] for number in shared.inputs)
    results = ", ".join(run.names[number] for number in shared.results)
    return f"{results} = {name}({given})" if results else f"{name}({given})"


def _length(lines: Sequence[str]) -> int:
    """Lines of the file that some lines take."""
    return sum(len(wrapped(line, 1)) for line in lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
