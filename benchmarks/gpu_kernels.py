"""What the compiler makes of the loss's Triton kernel, read without a GPU.

The kernel is compiled ahead for a compute capability, by Triton and the assembler that comes with
it, and disassembled: registers, spills, shared memory, how many programs a multiprocessor holds,
and, loop by loop, the instructions and bytes of a program. With these counts and the sizes of an
atlas follows the least time of a training step's parts: by memory traffic, by arithmetic and by
the rate at which instructions are issued. Nothing here was run on a GPU.

    python benchmarks/gpu_kernels.py [--cells 1114621] [--peaks 118043] [--density 0.025]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from atlasbasset.core import _loss_triton

if TYPE_CHECKING:
    from triton.compiler import CompiledKernel

    from atlasbasset.core.loss_types import Products

PRODUCTS: tuple[Products, ...] = ("fp32", "bf16")
BATCH, E = 128, 32
TRUNK_FLOP = 2.8e9  # of a sequence, forward and backward (docs/method.md, "Cost of a pass")
TRAINED_SHARE = 0.9
"""Of the peaks; the others are held out."""
REGISTERS, SHARED_BYTES, WARPS_PER_SM = 65_536, {80: 163_840, 90: 232_448}, 64
"""Of a multiprocessor; as much shared memory as its programs may have together."""
PROGRAMS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


@dataclass(frozen=True, slots=True)
class Gpu:
    """Figures of a data sheet."""

    name: str
    capability: int
    memory_gb_s: float
    fp32_tflops: float
    """Without tensor cores."""
    bf16_tflops: float
    """Dense, with tensor cores."""
    multiprocessors: int
    clock_ghz: float

    @property
    def issued_per_s(self) -> float:
        """Instructions of a warp: four schedulers a multiprocessor, one a cycle each."""
        return 4 * self.multiprocessors * self.clock_ghz * 1e9


GPUS = (
    Gpu("A100 SXM 80 GB", 80, 2039, 19.5, 312, 108, 1.41),
    Gpu("H100 SXM", 90, 3350, 66.9, 989, 132, 1.98),
)


@dataclass(frozen=True, slots=True)
class Loop:
    """What a program does once per round of a loop, without the loops inside it."""

    instructions: int
    """Of a warp."""
    tensor: int
    """Matrix products of tensor cores among them."""
    read_bytes: int
    """From global memory, by all threads of the program, masked ones included."""
    written_bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """What was read from one compiled kernel."""

    registers: int
    """Of a thread."""
    spills: int
    """Instructions that move registers to or from a thread's own memory."""
    shared_bytes: int
    """Of a program."""
    warps: int
    loops: tuple[Loop, ...]
    """By depth: once a program, a tile of cells, 32 rows, an open pair of the tile."""

    def programs(self, capability: int) -> int:
        """Return how many programs a multiprocessor holds at once."""
        by_registers = REGISTERS // (-(-self.registers // 8) * 8 * 32 * self.warps)
        by_shared = SHARED_BYTES[capability] // (self.shared_bytes + 1024)
        return min(by_registers, by_shared, WARPS_PER_SM // self.warps)


def compile_loss(
    products: Products, capability: int, *, batches: bool = False, embedding_dim: int = E
) -> CompiledKernel:
    """Compile the loss's kernel as a launch does: tensors start at multiples of 16 bytes."""
    kernel = _loss_triton._fused_bce_kernel
    fixed: dict[str, Any] = _loss_triton._compiled_for(embedding_dim, products, batches=batches)
    options = {key: fixed.pop(key) for key in ("num_warps", "num_stages", "enable_fp_fusion")}
    if not batches:
        fixed |= dict.fromkeys(("batch", "batch_embedding", "batch_intercept"))
    kinds = dict.fromkeys(kernel.arg_names, "*fp32")
    kinds |= dict.fromkeys(("batch", "first", "row"), "*i64") | {"loss_part": "*fp64"}
    kinds |= dict.fromkeys(("n_rows", "n_cells", "tiles_each"), "i32") | {"scale": "fp32"}
    kinds |= dict.fromkeys(fixed, "constexpr")
    place = kernel.arg_names.index
    aligned = {
        (place(name),): [["tt.divisibility", 16]] for name in kinds if kinds[name].startswith("*")
    }
    at = {(place(name),): value for name, value in fixed.items()}
    source = ASTSource(fn=kernel, signature=kinds, constexprs=at, attrs=aligned)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def report(built: CompiledKernel) -> Report:
    """Read a compiled kernel's machine code."""
    cubin, warps = built.asm["cubin"], built.metadata.num_warps
    code = said_of(cubin, "nvdisasm", "-c")
    registers = re.search(r"REG:(\d+)", said_of(cubin, "cuobjdump", "-res-usage"))
    assert registers is not None
    return Report(
        registers=int(registers[1]),
        spills=len(re.findall(r"\b(?:LDL|STL)\b", code)),
        shared_bytes=built.metadata.shared,
        warps=warps,
        loops=loops_of(code, threads=32 * warps),
    )


def said_of(cubin: bytes, program: str, option: str) -> str:
    """Return what a program that comes with Triton prints of machine code."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(PROGRAMS / program), option, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def loops_of(code: str, *, threads: int) -> tuple[Loop, ...]:
    """Return what is done at each depth of loops; a loop ends at the last jump back to its start.

    Where several loops have one depth, their rounds are added: the compiler writes a loop over
    open pairs out more than once, for counts that are multiples and for the rest.
    """
    labels, lines, jumps = {}, [], []
    for line in code.splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            labels[label[1]] = len(lines)
        elif instruction := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;", line):
            lines.append(instruction[1])
            if to := re.search(r"\bBRA\b.*?(\.L_x_\d+)", instruction[1]):
                jumps.append((len(lines) - 1, to[1]))
    ends = {labels[to]: at for at, to in jumps if labels.get(to, at) < at}
    depths = [sum(start <= at <= end for start, end in ends.items()) for at in range(len(lines))]
    return tuple(
        _loop([line for line, of in zip(lines, depths, strict=True) if of == depth], threads)
        for depth in range(max(depths) + 1)
    )


def _loop(lines: list[str], threads: int) -> Loop:
    lines = [line for line in lines if not re.search(r"\bNOP\b", line)]
    return Loop(
        instructions=len(lines),
        tensor=sum(bool(re.search(r"\b\w*HG?MMA\b|\bHMMA", line)) for line in lines),
        read_bytes=threads * sum(_width(line, "LDG") for line in lines),
        written_bytes=threads * sum(_width(line, "STG") for line in lines),
    )


def _width(line: str, name: str) -> int:
    found = re.search(rf"\b{name}\b(?:\.\w+)*?(?:\.(64|128))?(?=\s)", line)
    return 0 if found is None else int(found[1] or 32) // 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Atlas:
    """What is trained on."""

    cells: int
    peaks: int
    density: float

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return int(self.peaks * TRAINED_SHARE) // BATCH


def loss_bytes(atlas: Atlas) -> float:
    """Return what the loss must move between the GPU and its memory, in a step.

    Each cell's row and its gradient, where its open pairs begin, the pairs, and the buffers of the
    rows' gradient: set to zero, written back and summed; in between they stay in the cache.
    """
    table = 2 * atlas.cells * (E + 1) * 4
    labels = atlas.cells * 8 + atlas.cells * BATCH * atlas.density * 8
    return table + labels + 3 * _loss_triton.MAX_PROGRAMS * BATCH * E * 4


def loss_instructions(found: Report, atlas: Atlas) -> float:
    """Return the instructions of all warps in a step.

    A tile's loop over open pairs takes as many rounds as its fullest cell has of them; taken as
    their mean and three standard deviations, once for each 32 rows.
    """
    mean = BATCH * atlas.density
    rounds = mean + 3 * mean**0.5
    tiles, chunks = atlas.cells / _loss_triton.TILE_CELLS, BATCH / 32
    _, tile, rows, *pairs = (loop.instructions for loop in found.loops)
    return found.warps * tiles * (tile + chunks * (rows + rounds * sum(pairs) / PAIRS_A_ROUND))


PAIRS_A_ROUND = 7
"""The loop over open pairs is written out for four, two and one of them."""


def step_ms(gpu: Gpu, products: Products, found: Report, atlas: Atlas) -> dict[str, float]:
    """Return the least time of each part of a step, in milliseconds."""
    memory, numbers = gpu.memory_gb_s * 1e9, atlas.cells * (E + 1)
    rate = gpu.bf16_tflops if products == "bf16" else gpu.fp32_tflops
    return {
        "trunk, products": 1e3 * BATCH * TRUNK_FLOP / (gpu.bf16_tflops * 1e12),
        "loss, memory": 1e3 * loss_bytes(atlas) / memory,
        "loss, products": 1e3 * 3 * 2 * BATCH * atlas.cells * E / (rate * 1e12),
        "loss, instructions": 1e3 * loss_instructions(found, atlas) / gpu.issued_per_s,
        "Adam of cells, memory": 1e3 * 7 * 4 * numbers / memory,
    }


def epoch_s(parts: dict[str, float], atlas: Atlas) -> float:
    """Return the least time of an epoch: of the loss, what takes longest."""
    loss = max(value for name, value in parts.items() if name.startswith("loss"))
    others = sum(value for name, value in parts.items() if not name.startswith("loss"))
    return atlas.steps * (loss + others) / 1e3


def kernel_table(reports: dict[tuple[Products, int, bool], Report]) -> list[str]:
    """Return the compiled variants as a table in Markdown."""
    rows = [
        "| products | sm | batches | registers | spills | shared bytes | programs per SM "
        "| instructions per tile; 32 rows | tensor | bytes read; written per tile | per 32 rows |",
        "|" + "---|" * 11,
    ]
    for (products, capability, batches), found in reports.items():
        _, tile, inner, *_ = found.loops
        cells = [
            *(products, capability, "yes" if batches else "no", found.registers, found.spills),
            *(f"{found.shared_bytes:,}", found.programs(capability)),
            f"{tile.instructions:,}; {inner.instructions:,}",
            *(inner.tensor, f"{tile.read_bytes:,}; {tile.written_bytes:,}"),
            f"{inner.read_bytes:,}; {inner.written_bytes:,}",
        ]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return rows


def time_table(reports: dict[tuple[Products, int, bool], Report], atlas: Atlas) -> list[str]:
    """Return the least times as a table in Markdown."""
    columns = {
        f"{gpu.name}, {products}": step_ms(
            gpu, products, reports[products, gpu.capability, False], atlas
        )
        for gpu in GPUS
        for products in PRODUCTS
    }
    parts = next(iter(columns.values()))
    epochs = [f"{epoch_s(each, atlas):.1f}" for each in columns.values()]
    rows = [
        ["ms per step", *columns],
        ["---"] * (len(columns) + 1),
        *([part, *(f"{each[part]:.2f}" for each in columns.values())] for part in parts),
        [f"epoch of {atlas.steps} steps, s", *epochs],
    ]
    return ["| " + " | ".join(row) + " |" for row in rows]


def main(words: list[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_114_621)
    parser.add_argument("--peaks", type=int, default=118_043)
    parser.add_argument("--density", type=float, default=0.025)
    asked = parser.parse_args(words)
    atlas = Atlas(cells=asked.cells, peaks=asked.peaks, density=asked.density)
    reports = {
        (products, gpu.capability, batches): report(
            compile_loss(products, gpu.capability, batches=batches)
        )
        for gpu in GPUS
        for products in PRODUCTS
        for batches in (False, True)
    }
    print("\n".join([*kernel_table(reports), "", *time_table(reports, atlas)]))


if __name__ == "__main__":
    main()
