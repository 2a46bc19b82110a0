"""`fusec doctor`: what is installed, what device is there, and what works here, each thing tried and not assumed."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import torch
import triton
import typer

from fusec import __version__
from fusec.codegen.gate import Job, Verdict, measure
from fusec.codegen.variant import Variant
from fusec.commands.exits import Exit
from fusec.commands.outcome import DebugOption, JsonOption, print_json, reporting
from fusec.commands.table import Column, print_table
from fusec.commands.verify_package import probe_interpreter
from fusec.driver.store import default_folder
from fusec.runtime.select.chip import TARGETS

EPILOG = """[bold]Examples[/bold]

fusec doctor

fusec doctor --json

[bold]Exit codes[/bold]

0 ops can be built and run here · 3 something needed does not work · 4 a fault of fusec"""

PACKAGES = (
    *("torch", "triton", "numpy", "sympy", "lark", "jinja2", "hypothesis", "matplotlib"),
    *("liger-kernel", "quack-kernels", "flashinfer-python", "nvidia-cudnn-frontend"),
)

KERNEL = """
import triton
import triton.language as tl


@triton.jit
def scale(x, y, factor, n, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(x + place, mask=place < n)
    tl.store(y + place, values * factor, mask=place < n)
"""

VARIANT = Variant(
    "scale",
    "scale",
    (("x", "*fp32"), ("y", "*fp32"), ("factor", "fp32"), ("n", "i32"), ("BLOCK", "constexpr")),
    (("BLOCK", 256),),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: `works` is None where the thing is optional and absent."""

    what: str
    works: bool | None
    detail: str


def run(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Report the versions, the device, and what works on this machine."""
    with reporting(as_json, debug):
        findings = [*versions(), *devices(), interpreter(), *compilers(), store()]
        ok = all(finding.works is not False for finding in findings)
        if as_json:
            print_json({"ok": ok, "findings": [asdict(finding) for finding in findings]})
        else:
            words = {True: "yes", False: "NO", None: "-"}
            rows = [(finding.what, words[finding.works], finding.detail) for finding in findings]
            print_table((Column("what"), Column("works"), Column("detail")), rows)
        if not ok:
            raise typer.Exit(Exit.FAILED)


def versions() -> list[Finding]:
    """This compiler and what it is built on."""
    first = Finding("fusec", True, f"{__version__} on Python {platform.python_version()}, {platform.platform()}")
    return [first, *(_package(name) for name in PACKAGES)]


def devices() -> list[Finding]:
    """The GPUs, or that there is none: then kernels run in the interpreter."""
    if not torch.cuda.is_available():
        return [Finding("GPU", None, "none: kernels run in Triton's interpreter, on the CPU")]
    found = []
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        detail = f"{about.name}, sm_{about.major}{about.minor}, {about.total_memory / 2**30:.0f} GiB"
        found.append(Finding(f"GPU {number}", True, detail))
    return found


def interpreter() -> Finding:
    """Whether the interpreter, made exact, rounds as hardware does."""
    fault = probe_interpreter()
    return Finding("interpreter", fault is None, fault or "rounds every code of f8e4m3, f8e5m2, bf16 and f16 exactly")


def compilers() -> list[Finding]:
    """The assembler, and a kernel compiled for every target."""
    verdicts = measure(
        [Job("doctor", KERNEL, VARIANT, target) for target in TARGETS.values()], len(os.sched_getaffinity(0))
    )
    return [_assembler(), *map(_target, verdicts)]


def store() -> Finding:
    """Where results of earlier builds are kept, and how much room they take."""
    folder = default_folder()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    return Finding("cache", True, f"{folder}, {size / 2**20:.1f} MiB")


def _assembler() -> Finding:
    try:
        tool = triton.knobs.nvidia.ptxas
    except RuntimeError as error:
        return Finding("ptxas", False, str(error))
    return Finding("ptxas", True, f"{tool.version} at {tool.path}")


def _target(verdict: Verdict) -> Finding:
    detail = verdict.failure or "cross-compiles without a GPU"
    return Finding(verdict.target, verdict.failure is None, detail.splitlines()[0])


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, None, "not installed")
