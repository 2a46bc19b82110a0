"""The resource gate compiles for chips that are not here, and outlives a compiler that does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from fusec.codegen import gate
from fusec.codegen.gate import Job, Resources, Verdict, compilers, judge, measure, measure_in, unsupported
from fusec.codegen.variant import MOST_OF_HALF, MOST_OF_ONE_TILE, MOST_REGISTERS, Variant
from fusec.runtime.select.chip import TARGETS, Target
from fusec.workers import worker_pool

KERNEL = """
import triton
import triton.language as tl


@triton.jit
def double(x, y, n, BLOCK: tl.constexpr, INDEX: tl.constexpr):
    columns = tl.arange(0, BLOCK).to(INDEX)
    values = tl.load(x + columns, mask=columns < n, other=0.0).to(tl.float32)
    total = tl.sum(values, 0)
    tl.store(y + columns, (values * total).to(y.dtype.element_ty), mask=columns < n)
"""

DOUBLE = Variant(
    label="double f16",
    kernel="double",
    signature=(("x", "*fp16"), ("y", "*fp16"), ("n", "i32"), ("BLOCK", "constexpr"), ("INDEX", "constexpr")),
    constexprs=(("BLOCK", 1024), ("INDEX", "tl.int64")),
    divisible=("x", "y"),
)


def job(variant: Variant = DOUBLE, target: str = "sm_90", text: str = KERNEL) -> Job:
    return Job("double", text, variant, TARGETS[target])


Measured: TypeAlias = Callable[..., tuple[Verdict, ...]]


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    """`measure`, by one process for all tests that look at no process."""
    with compilers(1) as pool:
        yield lambda jobs, every=False: measure_in(pool, jobs, lambda _: None, every=every)


def test_every_target_gets_its_figures() -> None:
    heard: list[int] = []
    verdicts = measure([job(target=target) for target in TARGETS], workers=2, done=heard.append, every=True)
    assert [verdict.target for verdict in verdicts] == list(TARGETS)
    assert sum(heard) == len(TARGETS)
    for verdict in verdicts:
        assert verdict.failure is None
        assert verdict.resources is not None
        assert 8 < verdict.resources.registers < 128
        assert (verdict.resources.spills, verdict.resources.stack) == (0, 0)
        assert 0 < verdict.resources.shared < 1024


def test_figures_follow_the_kernel_whatever_was_compiled_before(measured: Measured) -> None:
    small = replace(DOUBLE, label="small", constexprs=(("BLOCK", 128), ("INDEX", "tl.int32")))
    large = replace(DOUBLE, label="large", constexprs=(("BLOCK", 8192), ("INDEX", "tl.int32")))
    other = KERNEL + "\n\n# Another file: what stands in one file stands for nothing of another.\n"
    one_way = [verdict.resources for verdict in measured([job(small), job(large, text=other)])]
    other_way = [verdict.resources for verdict in measure([job(large, text=other), job(small)], workers=1)]
    assert None not in one_way
    assert one_way == other_way[::-1]
    assert one_way[0] != one_way[1]


def sized(block: int, warps: int = 4) -> Variant:
    options = ((("num_warps", warps), ("num_stages", 1)),)
    return replace(DOUBLE, label=str(block), constexprs=(("BLOCK", block), ("INDEX", "tl.int64")), options=options)


def test_a_heavy_variant_that_leaves_registers_free_stands_for_lighter_ones(measured: Measured) -> None:
    jobs = [job(sized(block), target) for block in (128, 2048, 512) for target in ("sm_80", "sm_90")]
    verdicts = measured(jobs)
    assert [verdict.like for verdict in verdicts] == ["2048", "2048", "2048", None, "2048", "2048"]
    assert [verdict.resources is None for verdict in verdicts] == [True, True, True, False, True, True]
    assert [verdict.failure for verdict in verdicts] == [None] * 6


def test_a_heavy_variant_that_leaves_few_stands_for_none(measured: Measured) -> None:
    jobs = [job(replace(sized(block), multiplies=True)) for block in (16384, 8192)]
    (heavy, light) = measured(jobs)
    assert heavy.resources is not None
    assert light.resources is not None
    assert light.resources.registers < heavy.resources.registers
    assert heavy.resources.registers > MOST_REGISTERS


def test_a_heavy_variant_stands_for_what_holds_half_as_much_with_fewer_registers_free(measured: Measured) -> None:
    (heavy, half, as_much) = measured([job(sized(16384)), job(sized(8192)), job(sized(8192, 2))])
    assert heavy.resources is not None
    assert MOST_REGISTERS < heavy.resources.registers <= MOST_OF_HALF
    assert (half.like, as_much.like) == ("16384", None)


def test_the_next_heavy_variant_may_stand_for_what_the_heaviest_does_not(measured: Measured) -> None:
    jobs = [job(replace(sized(block), multiplies=True)) for block in (2048, 16384, 8192, 512)]
    verdicts = measured(jobs)
    assert [verdict.resources is None for verdict in verdicts] == [False, False, False, True]
    assert [verdict.like for verdict in verdicts] == [None, None, None, "2048"]


def test_one_stands_for_others_of_its_kernel_and_file_alone(measured: Measured) -> None:
    other = KERNEL.replace("def double", "def triple")
    renamed = replace(sized(128), kernel="triple")
    jobs = [job(sized(2048)), job(renamed, text=KERNEL + other)]
    assert [verdict.like for verdict in measured(jobs)] == [None] * 2


def test_products_of_tensor_cores_are_measured_on_every_chip(measured: Measured) -> None:
    jobs = [job(replace(sized(2048), multiplies=True), target) for target in ("sm_80", "sm_90")]
    assert [verdict.like for verdict in measured(jobs)] == [None] * 2
    by_threads = [replace(each, variant=replace(each.variant, in_f32=True)) for each in jobs]
    assert [verdict.like for verdict in measured(by_threads)] == ["2048", None]


def test_a_chip_with_little_shared_memory_is_measured_where_another_needs_much(measured: Measured) -> None:
    small = replace(TARGETS["sm_80"], shared_limit=8)
    jobs = [job(), replace(job(), target=small)]
    found = measured(jobs)
    assert [verdict.like for verdict in found] == [None] * 2
    assert "shared memory" in str(found[1].failure)


def test_what_products_multiply_and_in_which_tiles_is_measured_apart() -> None:
    tile = replace(DOUBLE, multiplies=True, constexprs=(("BLOCK_M", 64), ("BLOCK_N", 64)))
    other = replace(tile, signature=(("x", "*fp32"), ("y", "*fp16")))
    assert tile.family != other.family
    assert replace(tile, multiplies=False).family == replace(other, multiplies=False).family
    held, not_held = (replace(DOUBLE, constexprs=(("BLOCK", 64), ("HELD", flag))) for flag in (True, False))
    assert held.family != not_held.family
    long = replace(tile, constexprs=(("BLOCK_M", 16), ("BLOCK_N", 128)))
    assert tile.registers_to_stand_for(long) == 0
    whole, part = replace(tile, multiplies=False), replace(long, multiplies=False)
    assert whole.registers_to_stand_for(part) == MOST_OF_HALF
    more = replace(part, constexprs=(("BLOCK_M", 24), ("BLOCK_N", 128)))
    assert whole.registers_to_stand_for(more) == MOST_REGISTERS
    assert part.registers_to_stand_for(whole) == 0


def test_what_is_held_of_smaller_elements_stands_for_what_is_of_larger_ones() -> None:
    bytes8, bytes4, none = (
        replace(DOUBLE, constexprs=(("BLOCK", 64), ("HELD", held), ("VECTOR", vector)))
        for held, vector in ((8, 8), (4, 4), (0, 0))
    )
    assert bytes8.family == bytes4.family != none.family
    shifted = replace(bytes8, constexprs=(("BLOCK", 64), ("HELD", 8), ("VECTOR", -8)))
    assert bytes8.family != shifted.family


def test_one_op_stands_for_others_of_a_kernel_without_products() -> None:
    one, other = (replace(DOUBLE, constexprs=(("BLOCK", 64), ("OP", op))) for op in ("one", "other"))
    assert one.family == other.family
    assert replace(one, multiplies=True).family != replace(other, multiplies=True).family


def test_one_stands_for_others_of_its_tile_with_fewer_registers_free() -> None:
    tile = replace(DOUBLE, multiplies=True, constexprs=(("BLOCK_M", 64), ("FULL_STEPS", 8)))
    half = replace(tile, signature=tuple((name, kind.replace("fp16", "bf16")) for name, kind in tile.signature))
    assert tile.family == half.family
    assert tile.registers_to_stand_for(half) == MOST_OF_ONE_TILE
    assert tile.registers_to_stand_for(replace(tile, constexprs=(("BLOCK_M", 64),))) == MOST_OF_ONE_TILE
    assert tile.registers_to_stand_for(replace(tile, constexprs=(("BLOCK_M", 32),))) == MOST_REGISTERS
    fewer = (((("num_warps", 2), ("num_stages", 1)),),)[0]
    assert tile.registers_to_stand_for(replace(tile, options=fewer)) == 0


def test_a_light_variant_passes_the_front_end(measured: Measured) -> None:
    text = KERNEL.replace("columns =", "tl.static_assert(BLOCK != 256)\n    columns =")
    (heavy, light, wrong) = measured([job(sized(block), text=text) for block in (2048, 512, 256)])
    assert [heavy.failure, light.failure, light.like] == [None, None, "2048"]
    assert "does not compile" in str(wrong.failure)
    assert wrong.like is None


def test_the_front_end_sees_two_steps_of_many(measured: Measured) -> None:
    text = KERNEL.replace("BLOCK: tl.constexpr", "BLOCK: tl.constexpr, FULL_STEPS: tl.constexpr")
    text = text.replace("columns =", "tl.static_assert(FULL_STEPS < 3 or BLOCK > 1024)\n    columns =")
    heavy, light = (sized(block) for block in (2048, 128))
    signature = (*DOUBLE.signature, ("FULL_STEPS", "constexpr"))
    of_steps = [
        replace(each, signature=signature, constexprs=(*each.constexprs, ("FULL_STEPS", 9))) for each in (heavy, light)
    ]
    assert [verdict.failure for verdict in measured([job(each, text=text) for each in of_steps])] == [None] * 2
    one = replace(light, signature=signature, constexprs=(*light.constexprs, ("FULL_STEPS", 1)))
    assert one.in_front != of_steps[1].in_front


def test_a_choice_is_a_compile_time_text(measured: Measured) -> None:
    text = KERNEL.replace(
        "INDEX: tl.constexpr):", "INDEX: tl.constexpr, MODE: tl.constexpr):\n    tl.static_assert(MODE == 'a')"
    )
    for mode, fine in (("a", True), ("b", False)):
        chosen = replace(
            DOUBLE,
            signature=(*DOUBLE.signature, ("MODE", "constexpr")),
            constexprs=(*DOUBLE.constexprs, ("MODE", mode)),
        )
        (verdict,) = measured([job(chosen, text=text)])
        assert (verdict.failure is None) == fine


def test_a_spill_fails_the_variant(measured: Measured) -> None:
    few = ((("num_warps", 1), ("num_stages", 1), ("maxnreg", 32)),)
    wide = replace(DOUBLE, label="wide", constexprs=(("BLOCK", 2048), ("INDEX", "tl.int32")), options=few)
    (verdict,) = measured([job(wide)])
    assert verdict.resources is not None
    assert verdict.resources.spills > 0
    assert verdict.failure == f"spills {verdict.resources.spills} bytes of registers"


HANG = "import time\ntime.sleep(60)\n"
DEATH = """
import os, signal, sys
print("last words", file=sys.stderr, flush=True)
os.kill(os.getpid(), signal.SIGSEGV)
"""
NOISE = "import os\nos.write(1, b'{}\\n')\nprint('{}')\n"


def test_a_compiler_that_hangs_is_ended() -> None:
    (verdict,) = measure([job(text=HANG)], workers=1, limit=2)
    assert verdict.failure == "the compiler took more than 2 s"


@pytest.mark.parametrize(
    ("target", "kilobytes"),
    [("sm_80", 163), ("sm_86", 99), ("sm_89", 99), ("sm_90", 227), ("sm_100", 227), ("sm_120", 99)],
)
def test_a_block_has_the_shared_memory_of_its_chip(target: str, kilobytes: int) -> None:
    held, missed = (Resources(128, 0, 0, 1024 * kilobytes + more) for more in (0, 1))
    assert judge(DOUBLE, TARGETS[target], held).failure is None
    assert judge(DOUBLE, TARGETS[target], missed).failure is not None
    assert str(TARGETS[target].capability) == target.removeprefix("sm_")


def test_tensor_maps_and_casts_wait_for_the_chips_that_have_them() -> None:
    tiled = replace(DOUBLE, signature=(("x_map", "tensordesc<fp16[64, 64]>"), ("y", "*fp16")))
    cast = replace(DOUBLE, casts=("fp16", "fp8e4nv"))
    assert [unsupported(tiled, TARGETS[name]) is None for name in ("sm_80", "sm_89", "sm_90", "sm_120")] == [0, 0, 1, 1]
    assert [unsupported(cast, TARGETS[name]) is None for name in ("sm_80", "sm_86", "sm_89", "sm_90")] == [0, 0, 1, 1]
    assert all(unsupported(DOUBLE, target) is None for target in TARGETS.values())


def test_faults_of_one_kernel_do_not_reach_the_next() -> None:
    unknown = KERNEL.replace("tl.sum(values, 0)", "tl.no_such_function(values)")
    texts = [DEATH, "import os\nos._exit(7)\n", "x = ", unknown, NOISE + KERNEL]
    failures = [verdict.failure for verdict in measure([job(text=text) for text in texts], workers=1)]
    assert failures[:2] == [
        "the compiler died with signal SIGSEGV: last words",
        "the compiler died with exit code 7",
    ]
    assert "SyntaxError" in str(failures[2])
    assert "no_such_function" in str(failures[3])
    assert failures[4] is None


def test_the_interpreter_is_switched_off_in_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(gate, "worker_pool", worker_pool)
    (verdict,) = measure([job()], workers=1)
    assert verdict.failure is None
    assert verdict.resources is not None


def test_eight_bit_floats_wait_for_the_chip_that_has_them(measured: Measured) -> None:
    quantise = replace(
        DOUBLE,
        signature=(("x", "*fp16"), ("y", "*fp8e4nv"), ("n", "i32"), ("BLOCK", "constexpr"), ("INDEX", "constexpr")),
    )
    assert unsupported(quantise, TARGETS["sm_80"]) == "fp8e4nv needs sm_89 or later"
    assert unsupported(quantise, TARGETS["sm_89"]) is None
    old, new = measured([job(quantise, "sm_80"), job(quantise, "sm_90")])
    assert old.skipped
    assert old.failure is None
    assert new.resources is not None


@pytest.mark.parametrize(
    ("resources", "failure"),
    [
        (Resources(128, 0, 0, 100), None),
        (Resources(128, 0, 16, 100), None),
        (Resources(255, 8, 8, 100), "spills 8 bytes of registers"),
        (Resources(128, 0, 0, 101), "needs 101 bytes of shared memory, tiny has 100"),
        (Resources(255, 8, 8, 101), "spills 8 bytes of registers; needs 101 bytes of shared memory, tiny has 100"),
    ],
)
def test_what_fails_a_variant(resources: Resources, failure: str | None) -> None:
    assert judge(DOUBLE, Target("tiny", 80, 100), resources) == Verdict(
        "double f16", "double", "tiny", resources, failure=failure
    )


def test_no_jobs_no_verdicts() -> None:
    assert measure([], workers=4) == ()


def test_a_kernel_overlaps_others_only_where_the_chip_can(measured: Measured) -> None:
    text = KERNEL.replace("INDEX: tl.constexpr", "INDEX: tl.constexpr, OVERLAP: tl.constexpr").replace(
        "    columns =", "    if OVERLAP:\n        tl.extra.cuda.gdc_wait()\n    columns ="
    )
    signature, constexprs = (*DOUBLE.signature, ("OVERLAP", "constexpr")), (*DOUBLE.constexprs, ("OVERLAP", True))
    variant = replace(DOUBLE, signature=signature, constexprs=constexprs)
    verdicts = measured([job(variant, target, text) for target in ("sm_80", "sm_90")], every=True)
    assert [verdict.failure for verdict in verdicts] == [None, None]


def test_every_dtype_that_a_caller_may_choose_is_compiled_and_a_cap_is_a_line_of_text() -> None:
    script = Path(__file__).with_name("chosen_variants.py")
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    found = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    *kinds, first, second = found.stdout.splitlines()
    assert set(kinds) == {"*fp16", "*bf16", "*fp32"}
    assert (first, second) == ("sm_80 True", "sm_90 True")
