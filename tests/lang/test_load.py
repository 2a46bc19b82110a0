"""Files that use files."""

from __future__ import annotations

from pathlib import Path

from fusec.diagnostics import Source
from fusec.lang.load import MAX_CHAIN, load


def test_a_text_without_a_folder_uses_nothing() -> None:
    program = load(Source("text", "use library\n\nop f(x: f32[N]) -> y: f32[N]:\n    y = g(x)\n"), None)
    (fault,) = program.faults
    assert "cannot use another file" in fault.message
    assert program.incomplete


def test_own_functions_hide_those_of_the_standard_library_in_their_file_only(tmp_path: Path) -> None:
    (tmp_path / "library.fuse").write_text("fn soft(x, over):\n    return softmax(x, over)\n", encoding="utf-8")
    text = "use library\n\nfn softmax(x, over):\n    return x\n"
    program = load(Source("spec.fuse", text), tmp_path)
    assert program.faults == ()
    own = program.visible[program.file.source]
    library = program.visible[own["soft"].span.source]
    assert own["softmax"].span.source == program.file.source
    assert library["softmax"].span.source == program.standard


def test_used_functions_are_not_handed_on(tmp_path: Path) -> None:
    (tmp_path / "a.fuse").write_text("use b\n\nfn f(x):\n    return g(x)\n", encoding="utf-8")
    (tmp_path / "b.fuse").write_text("fn g(x):\n    return x\n", encoding="utf-8")
    program = load(Source("spec.fuse", "use a\n"), tmp_path)
    assert program.faults == ()
    assert "f" in program.visible[program.file.source]
    assert "g" not in program.visible[program.file.source]


def test_unreadable_files_and_long_chains(tmp_path: Path) -> None:
    (tmp_path / "binary.fuse").write_bytes(b"\xff\xfe\x00")
    (fault,) = load(Source("spec.fuse", "use binary\n"), tmp_path).faults
    assert "cannot be read" in fault.message
    for number in range(MAX_CHAIN + 5):
        (tmp_path / f"f{number}.fuse").write_text(f"use f{number + 1}\n", encoding="utf-8")
    (fault,) = load(Source("spec.fuse", "use f0\n"), tmp_path).faults
    assert fault.span.source.name == f"f{MAX_CHAIN - 1}.fuse"


def test_sources_carry_the_folder_the_user_named(tmp_path: Path) -> None:
    (tmp_path / "a.fuse").write_text("fn f(x):\n    return )\n", encoding="utf-8")
    (fault,) = load(Source("specs/spec.fuse", "use a\n"), tmp_path).faults
    assert str(fault.span) == "specs/a.fuse:2:12"
