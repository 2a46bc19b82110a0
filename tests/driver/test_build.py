"""A folder of specs becomes a package in one step, or nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake import COMPILER

from fusec.codegen import gate
from fusec.codegen.kernel_source import kernel_sources
from fusec.diagnostics import InternalError, Severity, SpecError
from fusec.driver.build import Options, Phase, Report, Verification, build_folder
from fusec.driver.compile import compile_file
from fusec.driver.record import FileRecord, from_json, to_json
from fusec.driver.specs import Compiler, UnreadableError, read_specs
from fusec.driver.store import Store
from fusec.runtime.select.chip import TARGETS
from fusec.workers import Pool


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "one.fuse").write_text("alpha\n")
    (folder / "two.fuse").write_text("beta\ngamma\n")
    (folder / "calls").touch()
    return folder


@pytest.fixture(autouse=True)
def few_specs(monkeypatch: pytest.MonkeyPatch) -> None:
    """`jobs=2` starts processes for the handful of specs of a test, and they find the fake compiler."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr("fusec.driver.specs.SPECS_PER_PROCESS", 1)


def calls(specs: Path) -> list[str]:
    """The specs compiled since the last time this was asked."""
    text = (specs / "calls").read_text()
    (specs / "calls").write_text("")
    return sorted(text.split())


def build(specs: Path, **options: object) -> Report:
    return build_folder(specs, specs.parent / "ops", COMPILER, Options(**options))  # type: ignore[arg-type]


def contents(specs: Path) -> dict[str, str]:
    folder = specs.parent / "ops"
    return {path.name: path.read_text() for path in sorted(folder.iterdir())} if folder.exists() else {}


def test_a_build_writes_one_module_per_spec(specs: Path) -> None:
    report = build(specs)
    assert report.changes.added == ("__init__.py", "one.py", "py.typed", "two.py")
    assert set(contents(specs)) == {"__init__.py", "one.py", "py.typed", "two.py"}
    assert '__all__ = ["alpha", "beta", "gamma"]' in contents(specs)["__init__.py"]


def test_functions_that_others_use_make_no_module(tmp_path: Path) -> None:
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "doubling.fuse").write_text("fn doubled(x):\n    return x + x\n")
    (folder / "double.fuse").write_text(
        'use doubling\nop double(x: f32[N]) -> y: f32[N]:\n    """2 x."""\n    y = doubled(x)\n'
    )
    report = build_folder(folder, tmp_path / "ops", Compiler(compile_file, ""), Options(targets=()))
    assert not report.failures
    assert {path.stem for path in (tmp_path / "ops").glob("*.py")} == {"__init__", "double"}


def test_builds_are_byte_equal_however_many_processes_compile(specs: Path, tmp_path: Path) -> None:
    build(specs)
    alone = contents(specs)
    other = build_folder(specs, tmp_path / "again", COMPILER, Options(jobs=2))
    assert not other.failures
    assert {path.name: path.read_text() for path in (tmp_path / "again").iterdir()} == alone


def test_only_what_changed_is_compiled_again(specs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    build(specs, store=store)
    assert calls(specs) == ["one", "two"]
    first = contents(specs)
    assert not build(specs, store=store).changes
    assert calls(specs) == []
    (specs / "two.fuse").write_text("beta\n")
    build(specs, store=store)
    assert calls(specs) == ["two"]
    (specs / "two.fuse").write_text("beta\ngamma\n")
    build(specs, store=store)
    assert calls(specs) == []
    assert contents(specs) == first


def test_a_spec_is_compiled_again_when_a_file_it_may_use_changed(specs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (specs / "one.fuse").write_text("use two\nalpha\n")
    build(specs, store=store)
    calls(specs)
    (specs / "two.fuse").write_text("beta\n")
    build(specs, store=store)
    assert calls(specs) == ["one", "two"]


def test_a_damaged_store_is_no_store(specs: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    build(specs, store=store)
    for path in (tmp_path / "store").rglob("*.json"):
        path.write_text("{")
    calls(specs)
    build(specs, store=store)
    assert calls(specs) == ["one", "two"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_mistakes_of_all_specs_come_together_and_nothing_is_written(specs: Path, jobs: int) -> None:
    build(specs)
    before = contents(specs)
    (specs / "one.fuse").write_text("alpha\nwrong\nwrong\n")
    (specs / "three.fuse").write_text("broken\n")
    (specs / "two.fuse").write_text("wrong\n")
    with pytest.raises(SpecError) as caught:
        build(specs, jobs=jobs)
    places = [str(fault.span).removeprefix(specs.as_posix()) for fault in caught.value.diagnostics]
    assert places == ["/one.fuse:2:1", "/one.fuse:3:1", "/two.fuse:1:1"]
    assert contents(specs) == before


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_fault_of_the_compiler_keeps_its_step_and_its_dump(specs: Path, jobs: int) -> None:
    (specs / "three.fuse").write_text("broken\n")
    with pytest.raises(InternalError) as caught:
        build(specs, jobs=jobs)
    assert (caught.value.step, caught.value.dump) == ("passes/schedule/fake", "the graph it was given")
    assert contents(specs) == {}


def test_a_compiler_process_that_dies_is_reported(specs: Path) -> None:
    (specs / "three.fuse").write_text("dies\n")
    with pytest.raises(InternalError, match="a process that compiled specs died"):
        build(specs, jobs=2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("three", "alpha\n", "`alpha` is defined in two files"),
        ("three", "two\n", "`two` is also the name of another file"),
        ("class", "delta\n", "a file called class.fuse cannot become a module"),
        ("a-b", "delta\n", "a file called a-b.fuse cannot become a module"),
        ("__init__", "delta\n", "a file called __init__.fuse cannot become a module"),
    ],
)
def test_names_that_cannot_stand_in_one_package(specs: Path, name: str, text: str, message: str) -> None:
    (specs / f"{name}.fuse").write_text(text)
    with pytest.raises(SpecError) as caught:
        build(specs)
    assert [fault.message for fault in caught.value.diagnostics] == [message]
    assert contents(specs) == {}


def test_a_spec_that_is_no_text(specs: Path) -> None:
    (specs / "one.fuse").write_bytes("alpha\n# é".encode() + b" \xff\n")
    with pytest.raises(SpecError) as caught:
        build(specs)
    (fault,) = caught.value.diagnostics
    assert fault.message == "this is not UTF-8"
    assert fault.span.source.position(fault.span.start) == (2, 5)


def test_a_folder_without_specs(tmp_path: Path) -> None:
    (tmp_path / "folder.fuse").mkdir()
    with pytest.raises(UnreadableError, match=r"no \.fuse files"):
        read_specs(tmp_path)


def test_specs_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"there is no file or folder .*nowhere"):
        read_specs(tmp_path / "nowhere")
    (tmp_path / "link.fuse").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UnreadableError, match=r"cannot read .*link\.fuse: No such file"):
        read_specs(tmp_path)


def test_checking_writes_nothing(specs: Path) -> None:
    assert build(specs, check=True).changes
    assert contents(specs) == {}
    build(specs)
    assert not build(specs, check=True).changes
    (specs / "one.fuse").write_text("delta\n")
    before = contents(specs)
    assert build(specs, check=True).changes.changed == ("__init__.py", "one.py")
    assert contents(specs) == before


def test_a_kernel_that_spills_is_told_and_written_unless_strict(specs: Path, tmp_path: Path) -> None:
    (specs / "one.fuse").write_text("alpha 2048 32\n")
    store = Store(tmp_path / "store")
    for strict in (True, False):
        report = build(specs, targets=(TARGETS["sm_80"], TARGETS["sm_90"]), jobs=2, store=store, strict=strict)
        told, others = (report.failures, report.warnings) if strict else (report.warnings, report.failures)
        assert [message.split(" bytes")[0].rsplit(" ", 1)[0] for message in told] == [
            "alpha: alpha f32 on sm_80: spills",
            "alpha: alpha f32 on sm_90: spills",
        ]
        assert others == ()
        assert [len(report.verdicts[op]) for op in ("alpha", "beta", "gamma")] == [2, 2, 2]
        assert (contents(specs) == {}) == strict


def test_known_figures_are_not_measured_again(specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"targets": (TARGETS["sm_90"],), "store": Store(tmp_path / "store")}
    first = build(specs, **options)
    monkeypatch.setattr("fusec.workers._Worker.ask", None)
    assert build(specs, **options).verdicts == first.verdicts


def test_a_kernel_is_measured_again_only_where_its_own_text_changed(
    specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def watched(pool: Pool, jobs: Sequence[gate.Job], *more: Any) -> tuple[gate.Verdict, ...]:
        measured.extend(job.module for job in jobs)
        return made(pool, jobs, *more)

    made = gate.measure_in
    monkeypatch.setattr(gate, "measure_in", watched)
    options = {"targets": (TARGETS["sm_90"],), "store": Store(tmp_path / "store")}
    first = build(specs, **options)
    assert set(measured) == {"one", "two"}
    measured.clear()
    (specs / "one.fuse").rename(specs / "three.fuse")
    assert build(specs, **options).verdicts["alpha"] == first.verdicts["alpha"]
    assert measured == []
    (specs / "three.fuse").write_text("alpha 512\n")
    build(specs, **options)
    assert measured == ["three"]


def test_what_a_kernel_is_made_of() -> None:
    text = """
import triton.language as tl
SIZE = 4
def shared(x):
    return x + SIZE
@jit(early=4)
def one(x):
    return shared(x)
def two(x):
    return tl.abs(x)
"""
    kernels = ("shared", "one", "two")
    found = kernel_sources(text, (*kernels, "three"))
    assert found.keys() == {*kernels}
    for change, unlike in (
        ("SIZE = 4", {"shared", "one"}),
        ("x + SIZE", {"shared", "one"}),
        ("early=4", {"one"}),
        ("tl.abs", {"two"}),
    ):
        changed = text.replace(change, change.replace("4", "5").replace("+", "-").replace("abs", "exp"))
        other = kernel_sources(changed, kernels)
        assert {name for name, own in found.items() if other[name] != own} == unlike


def test_a_wrong_op_is_not_written(specs: Path) -> None:
    seen: list[str] = []

    def verify(
        package: Path,
        files: Sequence[tuple[Path, FileRecord]],
        jobs: int,
        progress: Callable[[int, int], None],
        store: Store,
    ) -> tuple[Verification, ...]:
        assert [(path.stem, jobs) for path, _ in files] == [(record.module, 1) for _, record in files]
        seen.extend(sorted(path.name for path in package.iterdir()))
        progress(1, 1)
        return (Verification("alpha", "here", 1.5, "off by 1.5 times its bound"), Verification("beta", "here", 0.5))

    heard: list[tuple[Phase, int, int]] = []
    report = build_folder(specs, specs.parent / "ops", COMPILER, Options(), verify, lambda *event: heard.append(event))
    assert seen == ["__init__.py", "one.py", "py.typed", "two.py"]
    assert report.failures == ("alpha on here: off by 1.5 times its bound",)
    assert contents(specs) == {}
    assert heard[-1] == (Phase.VERIFY, 1, 1)
    assert [event for event in heard if event[0] is Phase.COMPILE] == [(Phase.COMPILE, done, 2) for done in (0, 1, 2)]


def test_a_record_survives_the_store(specs: Path) -> None:
    (specs / "two.fuse").write_text("beta\ndoubtful\n")
    sources = read_specs(specs)
    records = build(specs).files
    assert [len(record.warnings) for record in records] == [0, 1]
    for source, record in zip(sources.values(), records, strict=True):
        assert from_json(to_json(record), source) == record


def test_a_warning_from_the_store_tells_where_the_spec_lies_now(specs: Path, tmp_path: Path) -> None:
    (specs / "two.fuse").write_text("beta\ndoubtful\n")
    store = Store(tmp_path / "store")
    (first,) = build(specs, store=store).files[1].warnings
    assert first.render() == f"{specs}/two.fuse:2:1: warning: this is doubtful\n 2 | doubtful\n   | ^^^^^^^^"
    calls(specs)
    moved = specs.rename(specs.with_name("elsewhere"))
    (again,) = build(moved, store=store).files[1].warnings
    assert calls(moved) == []
    assert again.render() == first.render().replace(str(specs), str(moved))


def test_a_warning_stands_among_the_mistakes_of_other_specs(specs: Path) -> None:
    (specs / "one.fuse").write_text("alpha\ndoubtful\n")
    (specs / "two.fuse").write_text("wrong\n")
    with pytest.raises(SpecError) as caught:
        build(specs)
    told = [(diagnostic.severity, diagnostic.message) for diagnostic in caught.value.diagnostics]
    assert told == [(Severity.WARNING, "this is doubtful"), (Severity.ERROR, "this is wrong")]
