"""Chips: every figure of a device that rules, time model, resource gate and tuner go by, and no other file has one.

Figures of the H200 were measured: how, is in docs/row-tiles.md (rows), benchmarks/contractions/results/tuning (tiles of
gemms) and docs/time-model.md (rates). A test that needs many steps of small tiles passes a chip with small figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

WARP = 32
"""Threads of a warp."""

MMA = 16
"""The least rows, columns and steps of a tile that a tensor core multiplies."""

FP8_SINCE, TMA_SINCE, PDL_SINCE = 89, 90, 90
"""The first compute capability that converts f8, that has TMA, and whose kernels may begin before their turn."""

ROLES_ON = 90
"""The only one whose groups of warps multiply out of shared memory into registers, as gemms in roles have it."""


@dataclass(frozen=True, slots=True)
class Target:
    """What NVIDIA chips of a compute capability have alike: the resource gate holds every kernel to it.

    `shared_limit` is the shared memory of a block, in bytes. Tensor cores multiply digits with `scaled` groups, of the
    formats of both operands and their scales, as far as Triton has them do that.
    """

    name: str
    capability: int
    shared_limit: int
    scaled: tuple[str, ...] = ()


_EIGHT_BITS = ("e4m3", "e5m2")
_ALIKE = (*(f"{a} {b} e8m0" for a in _EIGHT_BITS for b in _EIGHT_BITS), "e2m1 e2m1 e8m0", "e2m1 e2m1 e4m3")
"""Operands of 8 bits, and operands of 4 bits: MXFP8, MXFP4 and NVFP4."""

_MIXED = tuple(text for each in _EIGHT_BITS for text in (f"{each} e2m1 e8m0", f"e2m1 {each} e8m0"))
"""One operand of 8 bits and one of 4. For sm_120 Triton 3.6 and 3.7 decode both, and multiply in bf16."""


TARGETS = {
    target.name: target
    for target in (
        Target("sm_80", 80, 163 * 1024),
        Target("sm_86", 86, 99 * 1024),
        Target("sm_89", 89, 99 * 1024),
        Target("sm_90", 90, 227 * 1024),
        Target("sm_100", 100, 227 * 1024, _ALIKE + _MIXED),
        Target("sm_120", 120, 99 * 1024, _ALIKE),
    )
}
"""Limits per block: CUDA C++ Programming Guide, table of technical specifications per compute capability."""


@dataclass(frozen=True, slots=True)
class Chip:
    """An H200, but for what is said to be otherwise.

    Sizes of rows are in elements, of registers in 32-bit words; times in microseconds, rates in units per microsecond.
    """

    # The chip
    name: str = "NVIDIA H200"
    """As its driver calls it."""
    capability: int = 90
    """Ten times the major number of its compute capability, and the minor one."""
    sms: int = 132
    smem: int = TARGETS["sm_90"].shared_limit
    """Bytes of shared memory of a program."""
    registers: int = 65536
    """Of an SM."""
    thread_registers: int = 248
    """Of a thread at most; the compiler keeps a few of 256 for itself."""
    warps: int = 64
    sm_programs: int = 32
    """That an SM runs at once."""
    register_unit: int = 256
    """Registers that a warp is given at a time."""
    reserved_smem: int = 1024
    """Bytes of shared memory that the system takes for each program."""

    # Rows
    short_row: int = 512
    """Rows up to this many padded elements share a program with others: a program should move 4 KB or more. Up to twice
    as many do where rows are many, and their accesses wide."""
    together: int = 8
    """Neighbours that such an access has at least."""
    small_row: int = 8192
    """The longest row that registers hold with enough rows under way on an SM to hide the wait for memory."""
    resident_row: int = 32768
    """The longest row of 16-bit elements that registers hold at all."""
    held_tile: int = 2048
    """Elements of a tile, of the several of one size that registers hold of a row."""
    apart_tile: int = 512
    """The same where elements are read one at a time, of rows that are not too long for so small ones."""
    most_tiles: int = 12
    """How many tiles of a row there are at most: a program has text for each."""
    held_words: int = 96
    """Words of such tiles that a thread holds at most."""
    vector_tiles: int = 11
    """The same where tiles begin with whole vectors though rows begin anywhere."""
    narrow_access: int = 2
    """Bytes of an access up to which whole vectors are better, though some of their lanes are outside of the row; twice
    as many where a row is needed twice only, and tiles of it gain less."""
    busy_warps: int = 16
    """Warps on an SM that such rows take at least."""
    tiled_row: int = 12288
    """Longer rows are as fast in a loop, which reads them again from the cache; where elements are read one at a time,
    rows of twice the length."""
    live_words: int = 49152
    """Words that the tiles of a program may take at once: 48 for each thread of 32 warps. It has 64 registers."""
    fewest_columns: int = 16
    most_columns: int = 64
    """How many rows share a program where neighbours in memory are of different rows: accesses of 32 bytes or more."""
    chunk: int = 4096
    """Elements of one step of a loop over a long row; twice as many for the longest rows."""
    few_rows: int = 264
    """With fewer long rows than this (two for each SM) a row is worth several programs."""
    long_row: int = 65536
    """Rows up to this length are not worth a second kernel, however few."""
    tile: int = 2048
    """Elements of a program that has nothing to reduce."""
    across_bytes: int = 128
    """Bytes of a side of its tile where some tensor lies along rows: whole lines of memory either way."""
    across_thread: int = 32
    """Elements of a thread there, which are exchanged with those of others."""
    most_splits: int = 1024
    split_elements: int = 4 * 2**20
    split_programs: int = 2048
    """Elements under way when rows are split: 8 MB of them hide the wait for memory of the whole chip; and programs."""
    row_tile: int = 1024
    """Elements of a program that several rows share; twice as many where rows are many."""
    thread_elements: int = 32
    """Of a thread where several tiles are in registers, with nothing to reduce."""
    shortest_run: int = 16
    """Neighbours in memory of a tile in pieces, of rows that lie between them: whole sectors of 32 bytes."""
    warp_bytes: int = 2048
    """Of an input in a warp: 64 a thread, half as many where rows are few."""
    program_warps: int = 32
    """Of a program at most; half as many where many rows with one input are resident."""
    row_bytes: int = 64 * 1024
    narrow_row_bytes: int = 80 * 1024
    """Of rows under way on an SM: enough for the rate of a copy, and where outputs have fewer bits than inputs."""
    most_programs: int = 24
    """Programs of rows that an SM runs at once at most."""

    column_warps: int = 8
    """Warps on an SM for rows with column sums, each thread with `thread_elements` of a row."""
    stages: int = 3
    """Steps of such a program whose loads are under way at once."""
    rows_at_once: int = 16
    """Short rows that it takes in a step at most."""
    column_block: int = 128
    """Columns of it where no row is needed whole."""

    # Gemms: which schedule
    library_work: int = 2**26
    """Multiplications from which on the library's faster product pays for the launches around it."""
    int8_work: int = 1 << 60
    """The same of integers of 8 bits, of which ours were faster wherever they were measured."""
    copying_work: int = 2**31
    """The same where scales of groups are copied for it first."""
    copying_in_roles: int = 2**35
    """The same where a gemm in roles reads them as they lie."""
    untiled_share: int = 1024
    several_share: int = 16
    """Such a part of it where kernels of ours do not multiply in tiles, and where they are several."""
    gemv_matrix: int = 2**25
    """Elements of a matrix up to which threads multiply a vector."""
    skinny: int = 16
    """Up to so many positions of an axis are the columns of a tile (swap-AB): it is as fast as the matrix is read."""
    vector_rows: int = 4
    """Rows of a matrix that a program multiplies with one vector, where each takes fewer bytes than that."""
    vector_step: int = 2048
    vector_thread: int = 64
    """Bytes of these rows that it takes at a time, and a thread of it."""
    vector_group_rows: int = 16
    vector_group_step: int = 8192
    vector_group_thread: int = 128
    vector_group_stages: int = 3
    """The same where groups of what is contracted are added up before they are scaled, and steps under way at once."""
    vector_group_programs: int = 2
    """For each SM; with fewer of them each has half as many rows, and more of each at a time."""
    most_again: int = 1
    """How often the matrix may be read for that."""

    # Gemms: tiles
    gemm_block: int = 128
    thread_block: int = 64
    """Rows or columns of a tile at most; of one that threads multiply, as all of f32."""
    gemm_block_k: int = 64
    """Of 16-bit operands; of f32 a half in tf32, and a quarter by threads, as a step takes twice the registers."""
    group_bytes: int = 256
    """Bytes of each row that a step has at most, where it has a group of what is contracted."""
    gemm_staged_bytes: int = 96 * 1024
    """Bytes of three steps under way at most; else there are two."""

    # Gemms: skinny tiles
    skinny_block_m: int = 64
    """Rows of a matrix that such a tile has, of all the matrices that share its columns."""
    skinny_block_n: int = 64
    """Its columns at most; half as many where threads multiply."""
    skinny_block_k: int = 256
    """Elements of each row that it multiplies at a time: half as many where every SM has several tiles.

    Where it is threads that multiply, as all of f32, it is an eighth.
    """
    skinny_step_bytes: int = 48 * 1024
    skinny_staged_bytes: int = 160 * 1024
    """Bytes of a step of it at most, and of all the steps under way."""
    few_tiles: int = 48
    """With fewer tiles than this several programs share each (split-K): it takes so many to read at full speed."""
    long_matrix: int = 48 * 2**20
    """Bytes of a matrix from which on it takes three times as many: there the second launch, of sums, pays."""
    most_split_k: int = 8
    """Programs that share a tile at most."""

    # Gemms: tiles of an operand that is unpacked in registers
    unpacked_columns: int = 64
    """Tokens up to which several programs share a tile."""
    unpacked_rows: int = 64
    """Rows of the matrix that a tile has: two programs of an SM unpack and multiply by turns.

    Of bytes it may have twice as many.
    """
    unpacked_step: int = 128
    """Elements of each row that it multiplies at a time."""
    unpacked_programs: int = 396
    """Three for each SM read a matrix at full speed; half as many where tokens are more than a few."""

    # Gemms: tiles of digits with scales. Not measured: nobody has run them
    scaled_rows: int = 128
    """Of a tile: tensor memory of sm_100 has as many, and Triton decodes the operands of any other."""
    scaled_columns: int = 128
    """Its columns at most."""
    scaled_numbers: int = 128
    """Of each row that it multiplies at a time. Twice as many of 4 bits would spill registers on sm_120."""

    # Gemms: persistent tiles
    tma_block_m: int = 128
    """Rows of a large tile; one of half as many is tried, too."""
    tma_block_k: int = 64
    """Twice as many where tiles are narrow, and few."""
    part: int = 128
    """Products of f8 that are a part of a sum."""
    role_registers: int = 168
    """Of a thread of a gemm in roles before these are given out."""
    role_stages: int = 6
    """Steps of it whose loads are under way at most."""
    accumulator_columns: int = 256
    """Columns of all accumulators of a program together: with 128 rows, all the registers of two warp groups."""
    group_m: int = 8
    """Tiles one below the other that are under way together: what they share is then in the cache."""

    # The time model: launches
    launch_us: float = 4.0
    overlapped_us: float = 1.2
    """What a launch costs; and one that begins before the launch in front of it has ended."""
    copy_bytes_per_us: float = 4.45e6
    hbm_bytes_per_us: float = 3.6e6
    """Of memory: by threads; and where TMA or the library reads operands of products."""
    sm_bytes_per_us: float = 95e3
    """Into and out of an SM, by TMA or by all that threads have under way."""
    thread_bytes_per_us: float = 190.0
    """Of one thread."""

    # The time model: persistent gemms, and the library
    parts_share: float = 0.58
    """Of the rate of the tensor core, where sums of f8 are added in f32 after a part of the products."""
    integers_share: float = 0.77
    """The same where products of integers are added, but for roles."""
    sm_mma_per_us: float = 3.2e6
    library_mma_per_us: float = 375e6
    """Multiplications of 16-bit numbers: of an SM, and of the library with the whole chip."""
    sm_bytes_per_us_by_two: float = 1.3 * 95e3
    """Of two small programs on one SM: one waits while the other one moves."""
    start_us: float = 4.0
    tile_us: float = 1.5
    """What is lost until the first tiles are under way, and at each tile."""
    epilogue_us: float = 8.0
    """Lost at each tile where more has to be read behind the products than they are, in a look by hand."""

    # The time model: gemms and gemvs
    ramp_us: float = 3.0
    """What is lost until enough is under way, and at the end."""
    loop_mma_per_us: float = 2.2e6
    """Multiplications of 16-bit numbers of an SM whose threads load what it multiplies."""
    loop_bytes_per_us: float = 71e3
    """Bytes that their loads move into an SM, where all of them read."""
    wait_us: float = 1.35
    turn_us: float = 0.34
    """The wait for a load, and the turn of a loop, with one load ahead."""
    accumulator_words: int = 128
    other_words: int = 40
    """Registers of a thread: for accumulators at most, half of all it has, and for all else beside them."""

    # The roofline
    flops: tuple[tuple[int, float], ...] = ((1, 1979e6), (2, 989e6), (4, 67e6), (8, 67e6))
    """Operations in a microsecond by the bytes of an operand, without sparsity: the data sheet."""
    tf32_flops: float = 494e6

    @property
    def target(self) -> str:
        """What kernels are compiled for, by its name in `TARGETS`."""
        return f"sm_{self.capability}"

    @property
    def scaled(self) -> frozenset[str]:
        """The formats of operands and scales that its tensor cores multiply."""
        return frozenset(TARGETS[self.target].scaled) if self.target in TARGETS else frozenset()


H200 = Chip()

_H100_MEMORY = 3.35 / 4.8
_A100_MEMORY, _A100_TENSOR = 2.039 / 4.8, (312 / 108) / (989 / 132)
"""Rates of other chips as parts of those of an H200, of an SM where it is the tensor core: by the data sheets."""

H100 = replace(
    H200,
    name="NVIDIA H100 80GB HBM3",
    copy_bytes_per_us=H200.copy_bytes_per_us * _H100_MEMORY,
    hbm_bytes_per_us=H200.hbm_bytes_per_us * _H100_MEMORY,
)

A100 = replace(
    H200,
    name="NVIDIA A100-SXM4-80GB",
    capability=80,
    sms=108,
    smem=TARGETS["sm_80"].shared_limit,
    copy_bytes_per_us=H200.copy_bytes_per_us * _A100_MEMORY,
    hbm_bytes_per_us=H200.hbm_bytes_per_us * _A100_MEMORY,
    sm_mma_per_us=H200.sm_mma_per_us * _A100_TENSOR,
    loop_mma_per_us=H200.loop_mma_per_us * _A100_TENSOR,
    library_mma_per_us=H200.library_mma_per_us * 312 / 989,
    flops=((1, 624e6), (2, 312e6), (4, 19.5e6), (8, 19.5e6)),
    tf32_flops=156e6,
)

_B200_MEMORY, _B200_TENSOR = 8.0 / 4.8, (2250 / 148) / (989 / 132)
_RTX_5090_MEMORY, _RTX_5090_TENSOR = 1.792 / 4.8, (209.5 / 170) / (989 / 132)

B200 = replace(
    H200,
    name="NVIDIA B200",
    capability=100,
    sms=148,
    copy_bytes_per_us=H200.copy_bytes_per_us * _B200_MEMORY,
    hbm_bytes_per_us=H200.hbm_bytes_per_us * _B200_MEMORY,
    sm_mma_per_us=H200.sm_mma_per_us * _B200_TENSOR,
    loop_mma_per_us=H200.loop_mma_per_us * _B200_TENSOR,
    library_mma_per_us=H200.library_mma_per_us * 2250 / 989,
    flops=((1, 4500e6), (2, 2250e6), (4, 75e6), (8, 37e6)),
    tf32_flops=1125e6,
)

RTX_5090 = replace(
    H200,
    name="NVIDIA GeForce RTX 5090",
    capability=120,
    sms=170,
    smem=TARGETS["sm_120"].shared_limit,
    warps=48,
    sm_programs=24,
    copy_bytes_per_us=H200.copy_bytes_per_us * _RTX_5090_MEMORY,
    hbm_bytes_per_us=H200.hbm_bytes_per_us * _RTX_5090_MEMORY,
    sm_mma_per_us=H200.sm_mma_per_us * _RTX_5090_TENSOR,
    loop_mma_per_us=H200.loop_mma_per_us * _RTX_5090_TENSOR,
    library_mma_per_us=H200.library_mma_per_us * 209.5 / 989,
    flops=((1, 419e6), (2, 209.5e6), (4, 104.8e6), (8, 1.64e6)),
    tf32_flops=104.8e6,
)

CHIPS = {"h200": H200, "h100": H100, "a100": A100, "b200": B200, "rtx5090": RTX_5090}
"""Chips by the names that the command line has for them."""
