"""Tables that fit the terminal, and break no word for it."""

from __future__ import annotations

from collections import Counter

import pytest

from fusec.commands import build
from fusec.commands.table import Column, layout

COLUMNS = (
    Column("op, plan"),
    Column("kernels", numbers=True),
    Column("bytes moved", elsewhere="elsewhere it is"),
    Column("above least"),
    Column("error\n/ bound", numbers=True),
)

ROWS = (
    ("a_name_that_is_longer", "", "", "", "0.25"),
    ("  resident", "1", "x + weight + scale + y", "x + scale", ""),
)

TOLD = "No room for bytes moved: elsewhere it is"


def test_a_table_that_has_room() -> None:
    assert layout(COLUMNS, ROWS, 100) == (
        [
            "op, plan    kernels  bytes moved             above least    error",
            "                                                          / bound",
        ],
        [
            "a_name_that_is_longer                                        0.25",
            "  resident        1  x + weight + scale + y  x + scale",
        ],
    )


def test_text_is_wrapped_between_words() -> None:
    rows = (ROWS[0], ("  resident", "1", "x", "weight + scale + weight_of_the_norm", ""))
    assert layout(COLUMNS, rows, 61) == (
        [
            "op, plan    kernels  bytes moved  above least           error",
            "                                                      / bound",
        ],
        [
            "a_name_that_is_longer                                    0.25",
            "  resident        1  x            weight + scale +",
            "                                  weight_of_the_norm",
        ],
    )


def test_a_column_that_is_told_elsewhere_makes_room() -> None:
    head, body = layout(COLUMNS, ROWS, 50)
    assert head == ["op, plan    kernels  above least    error", "                                  / bound"]
    assert body[-1] == TOLD


def test_titles_and_numbers_are_never_cut() -> None:
    assert layout(COLUMNS, ROWS, 5) == layout(COLUMNS, ROWS, 41)


PLANS = [
    ("rmsnorm_of_the_whole_thing", *[""] * 6, "97%", "0.93"),
    ("  resident", "1", "x + residual + weight + total + q + scale", "-", "168", "0", "12288", "", "0.93"),
    (
        "  streamed",
        "12",
        "2 x + 2 gate_weight + total + q + scale",
        "gate_weight + residual + weight",
        "32",
        "0",
        "0",
        "",
        "not run",
    ),
    ("  library persistent", "1", "x + projected_weights + y", "-", "-", "-", "-", "", "0.20"),
]


def test_the_table_of_a_build_fits_and_breaks_no_word() -> None:
    for width in range(56, 170):
        head, body = layout(build.COLUMNS, PLANS, width)
        assert max(map(len, head + body)) <= max(width, 58)
        assert not any(line != line.rstrip() for line in head + body)
        kept = [at for at, column in enumerate(build.COLUMNS) if column.title.split("\n")[0] in head[0]]
        shown = [[row[at] for at in kept] for row in PLANS]
        told = [line for line in body if not line.startswith("No room for ")]
        assert len(told) + len(build.COLUMNS) - len(kept) == len(body)
        words = Counter(word for row in shown for cell in row for word in cell.split())
        assert Counter(" ".join(told).split()) == words


@pytest.mark.parametrize(("width", "lines"), [(80, 6), (100, 5), (120, 6), (160, 4)])
def test_the_table_of_a_build_has_few_lines(width: int, lines: int) -> None:
    _, body = layout(build.COLUMNS, PLANS, width)
    assert len([line for line in body if not line.startswith("No room")]) <= lines


def test_a_heading_longer_than_all_cells_behind_it_is_not_broken() -> None:
    rows = (("n" * 60, "", "", "", "0.25"), ROWS[1])
    head, body = layout(COLUMNS, rows, 50)
    assert body[0].split() == ["n" * 60, "0.25"]
    assert len(body[0]) == max(map(len, head)) == 69
