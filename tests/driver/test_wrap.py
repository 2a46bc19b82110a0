"""Lines that are broken mean what they meant, and fit."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from random import Random

import pytest

from fusec.codegen.wrap import LIMIT, filled, split, wrapped

TEXTS = ("'a, (b'", '"c] + d"', "'it\\'s, so'", '"e, f"')


def expression(random: Random, depth: int) -> str:
    """An expression as generated code has them: calls with named arguments, tuples, lists, dicts, indices and sums."""
    if depth == 0:
        return random.choice(
            (*TEXTS, "x", "weight_stride_N", "1.5", "rows // BLOCK", "tl.load(x_ptr, mask=m)", "-n", "[]", "f()")
        )
    parts = [expression(random, depth - 1) for _ in range(random.randint(1, 5))]
    match random.randrange(8):
        case 0:
            return f"({', '.join(parts)},)"
        case 1:
            return f"[{', '.join(parts)}]"
        case 2:
            return f"({' + '.join(parts)})"
        case 3:
            return f"tensor[{parts[0]}]"
        case 4:
            return "{" + ", ".join(f"{name!r}: {part}" for name, part in zip("abcde", parts, strict=False)) + "}"
        case 5:
            return f"kernel[grid]({', '.join(parts)})"
        case _:
            named = ", ".join(f"name{number}={part}" for number, part in enumerate(parts))
            return f"runtime.Launch({parts[0]}, {named})"


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_broken_line_means_the_same(depth: int) -> None:
    random, broken = Random(depth), 0
    for _ in range(150):
        line = f"{random.choice(('result = ', 'return ', ''))}{expression(random, random.randint(1, 4))}"
        lines = wrapped(line, depth)
        # A bracket on the left or in the middle stands at the end of its line.
        text = "\n".join(lines).removeprefix("return ")
        assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(line.removeprefix("return "))), line
        broken += len(lines) > 1
        assert (lines == [line]) or len(line) + 4 * depth > LIMIT
    assert broken > 40


@pytest.mark.parametrize("item", ["[]", "()", "{}", "f()", "x[[]]", "f(a + [])"])
def test_what_stands_beyond_the_page_is_broken_no_further(item: str) -> None:
    for width in range(LIMIT - 20, LIMIT + 5):
        for line in (f"{' ' * width}{item},", f"{'name' * (width // 4)} = f({item}, {item})"):
            (told,) = ast.parse(f"f({line.strip()})" if line[0] == " " else line).body
            lines = "\n".join(wrapped(line))
            (found,) = ast.parse(f"f({lines.strip()})" if line[0] == " " else lines).body
            assert ast.dump(found) == ast.dump(told)


def test_calls_in_calls_fit() -> None:
    random = Random(0)
    for _ in range(100):
        line = "f(a, b)"
        for _ in range(random.randint(1, 8)):
            words = ", ".join(["word"] * random.randint(1, 20))
            line = f"f({line}, {random.choice(TEXTS)}, g({words}), h={words.partition(',')[0]})"
        assert all(len(each) + 4 <= LIMIT for each in wrapped(line, 1))


def test_lines_are_as_long_as_those_of_this_project_may_be() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["tool"]["ruff"]["line-length"] == LIMIT


def test_a_line_is_broken_from_the_first_character_that_is_too_much() -> None:
    line = f"f({'x' * (LIMIT - 6)}, y)"
    assert len(line) == LIMIT
    assert wrapped(line) == [line]
    assert wrapped(line, 1) == ["f(", f"    {'x' * (LIMIT - 6)},", "    y,", ")"]
    assert wrapped(f"{line[:-1]}1)") == [f"f({'x' * (LIMIT - 6)},", "  y1)"]


def test_as_many_items_stand_on_a_line_as_fit_aligned_or_indented() -> None:
    items = [f"{letter * 30}" for letter in "abcde"]
    assert wrapped(f"f({', '.join(items)}).g") == [f"f({', '.join(items[:3])},", f"  {', '.join(items[3:])}).g"]
    far = f"{'x' * 80} = f"
    assert wrapped(f"{far}({', '.join(items)}).g") == [
        f"{far}(",
        f"    {', '.join(items[:3])},",
        f"    {', '.join(items[3:])}).g",
    ]
    # Where what stands behind the bracket has no room there, it has a line of its own.
    tail = f").{'g' * 100}"
    assert wrapped(f"{far}({', '.join(items)}{tail}")[-2:] == [f"    {', '.join(items[3:])},", tail]


def test_sums_are_cut_before_a_sign_and_comments_between_words() -> None:
    terms = [f"{letter * 50}" for letter in "abc"]
    assert wrapped(f"    f({' + '.join(terms)})") == [f"    f({terms[0]} + {terms[1]}", f"      + {terms[2]})"]
    comment = wrapped(f"    # {' '.join(['word'] * 60)}", 2)
    assert all(line.startswith("    # word") and len(line) + 8 <= LIMIT for line in comment)
    assert len(comment[0]) + 8 + len(" word") > LIMIT
    assert " ".join(line.removeprefix("    # ") for line in comment).split() == ["word"] * 60


def test_as_many_parameters_stand_on_a_line_as_fit() -> None:
    lines = filled(["p" * 9] * 40, 2)
    assert "".join(lines).replace(" ", "") == "ppppppppp," * 40
    assert all(len(line) + 8 <= LIMIT for line in lines)
    assert all(len(line) + 8 + 11 > LIMIT for line in lines[:-1])
    assert filled([]) == []


def test_what_stands_in_brackets_and_texts_is_no_separator() -> None:
    assert split("a, f(b, c), 'd, e', [g, (h, i)], {'j': k, 'l': m},", ", ") == [
        "a",
        "f(b, c)",
        "'d, e'",
        "[g, (h, i)]",
        "{'j': k, 'l': m}",
    ]


def test_a_sum_that_gets_a_name_is_cut_in_brackets() -> None:
    terms = [f"{letter * 25} * ({letter} // 2 * 2)" for letter in "abcd"]
    assert wrapped(f"row = {' + '.join(terms)}", 1) == [
        f"row = ({terms[0]} + {terms[1]}",
        f"       + {terms[2]} + {terms[3]})",
    ]
    assert wrapped(f"row = {'a' * LIMIT}") == [f"row = {'a' * LIMIT}"]
