"""Tables that fit the terminal."""

from __future__ import annotations

from fusec.commands.table import layout

COLUMNS = (("op, plan", False), ("kernels", True), ("bytes moved", False), ("error\n/ bound", True))

ROWS = (
    ("a_name_that_is_longer", "", "", "0.25"),
    ("  resident", "1", "x + weight + scale + y", ""),
)


def test_a_table_that_has_room() -> None:
    assert layout(COLUMNS, ROWS, 100) == (
        [
            "op, plan    kernels  bytes moved               error",
            "                                             / bound",
        ],
        [
            "a_name_that_is_longer                           0.25",
            "  resident        1  x + weight + scale + y",
        ],
    )


def test_text_is_wrapped_where_room_is_short() -> None:
    assert layout(COLUMNS, ROWS, 42) == (
        [
            "op, plan    kernels  bytes moved     error",
            "                                   / bound",
        ],
        [
            "a_name_that_is_longer                 0.25",
            "  resident        1  x + weight +",
            "                     scale + y",
        ],
    )


def test_titles_and_numbers_are_never_cut() -> None:
    assert layout(COLUMNS, ROWS, 5) == layout(COLUMNS, ROWS, 41)
