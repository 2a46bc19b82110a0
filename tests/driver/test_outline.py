"""Kernels that call functions do what they did, and read nothing that is not there.

Random kernels, whose statements are Python's: what they store is compared. A name that a loop assigns is gone behind it
in Triton, unless it was there before, and one of a branch may be; Python is more lenient, so that is looked at apart.
"""

from __future__ import annotations

from random import Random

import pytest

from fusec.codegen import outline
from fusec.codegen.outline import Body, Function, outlined
from fusec.codegen.places import Place, pieces
from fusec.codegen.variables import reads

PARAMETERS = ("a", "b", "c", "FLAG")


def statements(random: Random, names: list[str], depth: int, fresh: list[str]) -> list[str]:
    """A block that reads `names` and adds its own."""
    lines: list[str] = []
    for _ in range(random.randint(2, 6)):
        kind = random.randrange(10)
        if kind == 0 and depth < 2:
            lines.append(f"for {fresh[0]}_at in range(2):")
            total = random.choice([name for name in names if name not in PARAMETERS] or ["t0"])
            body = statements(random, [*names, f"{fresh.pop(0)}_at"], depth + 1, fresh)
            lines += [f"    {line}" for line in [*body, f"{total} += {random.choice(names)}"]]
        elif kind == 1 and depth < 2:
            name = fresh.pop(0)
            lines.append("if FLAG:")
            lines += [f"    {line}" for line in statements(random, [*names], depth + 1, fresh)]
            lines += [f"    {name} = {random.choice(names)} + 1", "else:", f"    {name} = {random.choice(names)}"]
            names.append(name)
        elif kind == 2:
            lines.append(f"store({random.choice(names)}, {random.choice(names)})")
        elif kind == 3:
            first, second = fresh.pop(0), fresh.pop(0)
            lines.append(f"{first}, {second} = {random.choice(names)} + 2, {random.choice(names)} * 3")
            names += [first, second]
        else:
            name = fresh.pop(0)
            lines.append(f"{name} = {random.choice(names)} * 2 - {random.choice(names)}")
            names.append(name)
    return lines


def kernels(random: Random) -> dict[str, Body]:
    """Three kernels which have some pieces in common."""
    drawn = random.random()
    made: dict[str, Body] = {}
    for number in range(3):
        same = Random(drawn)
        lines = [f"t0 = a + {number}"]
        lines += statements(random, [*PARAMETERS[:3], "t0"], 0, [f"own{number}_{each}" for each in range(200)])
        for piece in range(2):
            shared = [*PARAMETERS[:3], "t0"]
            fresh = [f"p{piece}_{each}" for each in range(400)]
            for _ in range(3):
                lines += statements(same, shared, 0, fresh)
            kept = random.sample(shared, 2)
            lines += [f"store({name}, {number})" for name in kept]
        assert consistent(lines, PARAMETERS)
        made[f"k{number}"] = Body(tuple(lines), PARAMETERS, frozenset({"FLAG"}))
    return made


def consistent(lines: list[str] | tuple[str, ...], known: tuple[str, ...]) -> bool:
    """Whether every name that is read is there: what a loop assigns is gone behind it."""
    scopes: list[tuple[int, set[str]]] = [(0, set(known))]
    for line in lines:
        indent, text = len(line) - len(line.lstrip()), line.strip()
        while scopes[-1][0] > indent:
            scopes.pop()
        there = set().union(*(names for _, names in scopes)) | {"store", "range"}
        if text.startswith("for "):
            scopes.append((indent + 4, {text.split()[1]}))
        elif text.startswith(("if ", "else:")):
            continue
        elif text.startswith(("store", "return")) or " = " not in text.replace("+=", "="):
            if not words(text.removeprefix("return")) <= there | CALLED:
                return False
        else:
            targets, _, value = text.partition(" += " if "+=" in text else " = ")
            if not words(value) <= there | CALLED or ("+=" in text and not words(targets) <= there):
                return False
            scopes[-1][1].update(words(targets))
    return True


CALLED: set[str] = set()


def words(text: str) -> set[str]:
    """The names in an expression."""
    letters = "".join(char if char.isalnum() or char == "_" else " " for char in text)
    return {word for word in letters.split() if not word[0].isdigit()}


def stored(name: str, body: Body, functions: tuple[Function, ...], flag: bool) -> list[tuple[int, ...]]:
    """What a kernel stores."""
    found: list[tuple[int, ...]] = []
    space = {"store": lambda *values: found.append(values)}
    for head, lines in [
        *((f"{each.name}({', '.join(p.partition(':')[0] for p in each.parameters)})", each.body) for each in functions),
        (f"{name}({', '.join(body.parameters)})", body.lines),
    ]:
        exec(f"def {head}:\n" + "\n".join(f"    {line}" for line in lines), space)
    space[name](3, 5, 7, flag)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_what_is_shared_is_called_and_means_the_same(seed: int) -> None:
    before = kernels(Random(seed))
    after, functions = outlined(before, frozenset())
    CALLED.update(each.name for each in functions)
    for name, body in before.items():
        for flag in (False, True):
            assert stored(name, after[name], functions, flag) == stored(name, body, (), flag)
        assert consistent(after[name].lines, body.parameters)
    for each in functions:
        assert consistent(each.body, tuple(p.partition(":")[0] for p in each.parameters))


def test_kernels_share_functions() -> None:
    found = [outlined(kernels(Random(seed)), frozenset())[1] for seed in range(40)]
    assert sum(map(bool, found)) > 20


def test_names_of_functions_are_taken_by_nothing_else() -> None:
    lines = tuple(f"x{number} = a * b + {number}" for number in range(12))
    body = Body((*lines, "store(x11)"), PARAMETERS, frozenset())
    _, (function,) = outlined({"k": body, "l": body, "m": body}, frozenset({"_x11"}))
    assert function.name != "_x11"


@pytest.mark.parametrize("count", [2, 3, 5])
def test_what_saves_little_is_written_again(count: int) -> None:
    """A function is made where it saves 8 lines, its own head and the space around it among what it costs."""
    for number in range(1, 30):
        lines = tuple(f"x{place} = a * b + {place}" for place in range(number))
        body = Body((*lines, f"store(x{number - 1})"), PARAMETERS, frozenset())
        before = {f"k{each}": body for each in range(count)}
        after, functions = outlined(before, frozenset())
        # Two lines around a function, a decorator, its first line and its documentation; its last one returns.
        written = sum(len(each.lines) for each in after.values()) + sum(5 + len(each.body) for each in functions)
        saved = sum(len(each.lines) for each in before.values()) - written
        if functions:
            assert 8 <= saved < 8 + count - 1
            return
    raise AssertionError("nothing is shared")


def test_kernels_twice_as_long_take_no_more_than_twice_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains of reductions have long kernels alike: with every line read for every run, 30 took two minutes."""
    asked: list[str] = []
    monkeypatch.setattr(outline, "reads", lambda line: asked.append(line) or reads(line))

    def lines_read(length: int) -> int:
        lines = [f"    v{at + 1} = tl.exp(v{at}) * {'x' if at % 7 else 'y'}" for at in range(length)]
        lines += [f"    s{at} = tl.sum(v{at}, 0)" for at in range(0, length, 5)]
        lines += [f"    tl.store(y_ptr, {' + '.join(f's{at}' for at in range(0, length, 5))})"]
        body = Body(tuple(lines), ("x", "y", "v0", "y_ptr"), frozenset())
        asked.clear()
        outlined({f"k{place}": body for place in range(2)}, frozenset())
        return len(asked)

    short, long = lines_read(80), lines_read(160)
    assert 0 < long < 2.6 * short


def reading(place: str, made: str) -> tuple[str, ...]:
    """Twelve statements that read at a place, of which some go by what one of them makes."""
    lines = [f"own = a + {made}", "x0 = own"]
    at_place = (place if at == 6 else "own" for at in range(12))
    lines += [
        f"x{at} = x{at - 1} * {at} + load(c + {where} * c_stride_N) - {made}" for at, where in enumerate(at_place) if at
    ]
    return (*lines, "store(x11, own)")


def test_places_of_tensors_are_arguments() -> None:
    """What is read at other places is one function, which is told these: not those that go by what it makes."""
    parameters = ("a", "b", "c", "d", "c_stride_N")
    places = {"k": "d", "l": "(d + 2 * a)", "m": "(a + tl.cast(d, INDEX))"}
    before = {name: Body(reading(place, "b"), parameters, frozenset()) for name, place in places.items()}
    after, (function,) = outlined(before, frozenset())
    for name, place in places.items():
        (call,) = (line for line in after[name].lines if f" {function.name}(" in line)
        assert place.removeprefix("(").removesuffix(")") in call
    space = {"load": lambda at: at * at, "tl": type("tl", (), {"cast": lambda value, _: value}), "INDEX": None}
    for name, body in before.items():
        found = []
        for bodies, functions in ((before, ()), (after, (function,))):
            kept: list[tuple[int, ...]] = []
            scope = {**space, "store": lambda *values, kept=kept: kept.append(values)}
            for head, lines in [
                *((f"{each.name}({', '.join(each.parameters)})", each.body) for each in functions),
                (f"{name}({', '.join(body.parameters)})", bodies[name].lines),
            ]:
                exec(f"def {head}:\n" + "\n".join(f"    {line}" for line in lines), scope)
            scope[name](3, 5, 7, 11, 13)
            found.append(kept)
        assert found[0] == found[1]


@pytest.mark.parametrize(
    ("line", "made", "found"),
    [
        ("x = tl.load(x_row + d[None, :] * x_stride_D, mask=m)", "", ["d[None, :]"]),
        ("x = tl.load(x_row[:, None] + (d[None, :] + D) * x_stride_D)", "", ["x_row[:, None]", "d[None, :] + D"]),
        ("x = tl.load(x_row[:, None] + (d[None, :] + D) * x_stride_D)", "d", ["x_row[:, None]"]),
        ("x = tl.load(p + (d + tl.cast(D, INDEX) * H) * x_stride_D, eviction_policy=\"evict_last\")", "",
         ["d + tl.cast(D, INDEX) * H", '"evict_last"']),
        ("x = tl.load(p + f(d) * x_stride_D) + y[None]", "", ["y[None]"]),
        ("p = x_ptr + hq * D * x_stride_D", "", []),
    ],
)  # fmt: skip
def test_places_in_a_line(line: str, made: str, found: list[str]) -> None:
    told = [each.text for each in pieces(line, frozenset(made)) if isinstance(each, Place) and not each.is_name]
    assert told == found
