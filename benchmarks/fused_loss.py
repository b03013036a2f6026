"""What loss and gradients of one batch cost as cells grow: fused and sparse against dense.

Batch 128, 32 numbers per cell, 2 % positives. Ours is compiled by numba on a CPU and by Triton on a
GPU; "torch tiles" is what runs where these are missing. The dense layer is a matrix product and
BCE-with-logits under autograd, given its dense labels for nothing, and is left out where it would
not fit. Rows: seconds, and the peak of memory above what the inputs hold.

    python benchmarks/fused_loss.py [--cells 2000 10000 100000 1000000] [--repeats 7] [--threads 2]
"""

from __future__ import annotations

import argparse
import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

import harness
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from atlasbasset.core.loss import TILE_CELLS, _by_tiles, fused_bce
from atlasbasset.core.loss_types import CellTable, Positives

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlasbasset.core.loss_types import Products

BATCH, EMBEDDING, DENSITY = 128, 32, 0.02
DENSE_ARRAYS = 6
"""B x N float32 arrays that the dense computation holds at once, labels included."""


def positives(n_cells: int, device: torch.device, generator: torch.Generator) -> Positives:
    """Draw distinct pairs sorted by cell, without an array of all pairs."""
    count = int(BATCH * n_cells * DENSITY)
    flat = torch.randint(0, BATCH * n_cells, (count,), generator=generator).unique()
    return Positives((flat // BATCH).to(device), (flat % BATCH).to(device))


def fused(
    h: torch.Tensor, table: CellTable, found: Positives, products: Products
) -> Callable[[], None]:
    scale = 1 / (BATCH * table.embedding.shape[0])

    def call() -> None:
        fused_bce(h, table, found, scale=scale, products=products)
        wait(h.device)

    return call


def torch_tiles(h: torch.Tensor, table: CellTable, found: Positives) -> Callable[[], None]:
    """Return the way without numba and Triton."""
    scale = 1 / (BATCH * table.embedding.shape[0])

    def call() -> None:
        _by_tiles(h, table, found, scale, TILE_CELLS, "fp32")
        wait(h.device)

    return call


def dense(h: torch.Tensor, table: CellTable, found: Positives, *, bf16: bool) -> Callable[[], None]:
    leaves = [t.clone().requires_grad_() for t in (h, table.embedding, table.intercept)]
    labels = torch.zeros(h.shape[0], table.embedding.shape[0], device=h.device)
    labels[found.row, found.cell] = 1

    def call() -> None:
        with torch.autocast(h.device.type, torch.bfloat16, enabled=bf16):
            logits = torch.nn.functional.linear(leaves[0], leaves[1], leaves[2])
            loss = binary_cross_entropy_with_logits(logits, labels)
        torch.autograd.grad(loss, leaves)
        wait(h.device)

    return call


def providers(n_cells: int, device: torch.device) -> dict[str, Callable[[], None]]:
    """Return what is measured at one number of cells."""
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(BATCH, EMBEDDING, generator=generator).to(device)
    own = torch.randn(n_cells, EMBEDDING, generator=generator) / EMBEDDING**0.5
    table = CellTable(own.to(device), torch.full((n_cells,), -3.9, device=device))
    found = positives(n_cells, device, generator)
    calls = {
        "atlasbasset fp32": fused(h, table, found, "fp32"),
        "torch tiles": torch_tiles(h, table, found),
    }
    gpu = device.type == "cuda"
    if gpu:
        calls["atlasbasset bf16 products"] = fused(h, table, found, "bf16")
    if DENSE_ARRAYS * 4 * BATCH * n_cells < free_bytes(device):
        calls["dense fp32"] = dense(h, table, found, bf16=False)
        if gpu:
            calls["dense bf16 autocast"] = dense(h, table, found, bf16=True)
    else:
        print(f"dense left out at {n_cells} cells: it would not fit")
    return calls


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return kib("/proc/meminfo", "MemAvailable:") * 1024


def kib(file: str, field: str) -> int:
    """Return one figure of a /proc file."""
    lines = Path(file).read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def peak_mib(call: Callable[[], None], device: torch.device) -> float:
    """Return the peak of memory during a call above what is held before it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # else freed memory is used again unseen
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = kib("/proc/self/status", "VmRSS:")
    call()
    return (kib("/proc/self/status", "VmHWM:") - before) / 2**10


def main() -> None:
    """Measure and append rows to results/fused_loss.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[2_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = {
        "batch": BATCH, "density": DENSITY, "embedding": EMBEDDING, "repeats": args.repeats,
        "threads": torch.get_num_threads(), "torch": torch.__version__,
    }  # fmt: skip
    for n_cells in args.cells:
        calls = providers(n_cells, device)
        seconds = harness.take_turns(calls, repeats=args.repeats, warm_up=2)
        rows = []
        for name, call in calls.items():
            peaks = [peak_mib(call, device) for _ in range(3)]
            rows += [
                harness.row("fused_loss", name, "time", "s", n_cells, seconds[name], **config),
                harness.row("fused_loss", name, "peak memory", "MiB", n_cells, peaks, **config),
            ]
        harness.append("fused_loss", rows)


if __name__ == "__main__":
    main()
