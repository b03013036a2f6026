"""Everything that is measured on a GPU, by one command; needs torch, numpy and scipy only.

1. That the numbers are right there: loss and gradients against float64 on the CPU.
2. One training step at 2 thousand to 4 million cells: ours eager and compiled, plain torch.
3. One whole epoch of the paper's largest atlas (118,043 peaks x 1,114,621 cells, 2.5 % open,
   random labels on the device), next to the least it could take by arithmetic.
4. Where the time of a step goes, kernel by kernel.

    python benchmarks/gpu.py [--device cuda] [--cells ...] [--epoch-cells 1114621] \
        [--epoch-peaks 118043]

From a checkout without an installation: ``PYTHONPATH=platform:storage python benchmarks/gpu.py``.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import harness
import numpy as np
import peers
import torch

from atlasbasset.core.cell_adam import CellAdam
from atlasbasset.core.cells import CellLayer
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.loss import fused_bce
from atlasbasset.core.loss_types import CellTable, Positives
from atlasbasset.core.runtime import LocalRuntime
from atlasbasset.core.step import Batch, Learner, StepPace
from atlasbasset.core.trunk import Trunk
from atlasbasset.engine.labels.device import DeviceLabels

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH, FLANK, E = 128, 3, 32
TRUNK_FLOP = 2.8e9  # of a sequence, forward and backward (docs/method.md, "Cost of a pass")


class Block:
    """A range of cells, as `atlasstore.zarrio.blocks.CellBlock`: that package may be absent."""

    def __init__(self, index: int, start: int, stop: int) -> None:
        self.index, self.start, self.stop = index, start, stop
        self.n_cells = stop - start


class Rows:
    """CSR rows of one block, as `atlasstore.atlas.atlas.LabelRows` is."""

    def __init__(self, indptr: np.ndarray, indices: np.ndarray) -> None:
        self.indptr, self.indices = indptr, indices


def synthetic_labels(
    n_cells: int, n_peaks: int, density: float, device: torch.device
) -> DeviceLabels:
    """Put random labels on the device: one block's rows, used again for every block."""
    block_cells = min(65_536, n_cells)
    starts = range(0, n_cells, block_cells)
    blocks = [Block(i, a, min(a + block_cells, n_cells)) for i, a in enumerate(starts)]
    rng = np.random.default_rng(0)
    whole = random_rows(block_cells, n_peaks, density, rng)
    last = random_rows(blocks[-1].n_cells, n_peaks, density, rng)
    rows = [*[whole] * (len(blocks) - 1), last]
    total = sum(len(r.indices) for r in rows)
    return DeviceLabels(blocks, rows, n_positives=total, device=device)


def random_rows(n_cells: int, n_peaks: int, density: float, rng: np.random.Generator) -> Rows:
    """Draw rows of ascending cells: every row the same number, spread by random gaps."""
    n_open = max(1, round(density * n_cells))
    gaps = rng.random((min(n_peaks, 4096), n_open + 1), dtype=np.float32) + 0.1
    edges = np.cumsum(gaps, axis=1)
    cells = (edges[:, :-1] / edges[:, -1:] * (n_cells - n_open)).astype(np.int64)
    cells += np.arange(n_open)  # distinct
    drawn = cells.astype(np.uint16)
    picked = rng.integers(0, len(drawn), n_peaks)
    return Rows(np.arange(n_peaks + 1) * n_open, drawn[picked].ravel())


def learner_of(n_cells: int, device: torch.device, *, compiled: bool) -> Learner:
    """Return a full-size learner as training makes it."""
    trunk = Trunk.initialised(TrunkConfig(), seed=0).to(device)
    cells = CellLayer(n_cells, E).to(device)
    torch.nn.init.normal_(cells.embedding, std=0.25)
    adam = {"betas": (0.95, 0.9995), "eps": 1e-7}
    return Learner(
        trunk=trunk,
        cells=cells,
        optimizer=torch.optim.Adam(trunk.parameters(), lr=0.01, fused=True, **adam),
        cell_optimizer=CellAdam(cells, **adam),
        n_cells_total=n_cells,
        compute_dtype=torch.bfloat16,
        compiled=compiled,
    )


def batch_of(labels: DeviceLabels, peaks: np.ndarray, codes: torch.Tensor) -> Batch:
    """Assemble a batch on the device."""
    device, n_rows = codes.device, len(peaks)
    return Batch(
        codes=codes[torch.from_numpy(peaks).to(device)],
        shift=torch.randint(-FLANK, FLANK + 1, (n_rows,), device=device),
        reverse=torch.rand(n_rows, device=device) < 0.5,
        keep=torch.rand(n_rows, E, device=device) > 0.2,
        positives=labels.positives(peaks),
    )


def random_codes(n_peaks: int, device: torch.device) -> torch.Tensor:
    return torch.randint(0, 4, (n_peaks, 1344 + 2 * FLANK), dtype=torch.uint8, device=device)


def synchronised(call: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """Return `call` followed by waiting for the device."""

    def whole() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return whole


def check_numbers(device: torch.device) -> None:
    """Compare loss and gradients with float64 on the CPU."""
    generator = torch.Generator().manual_seed(1)
    n_cells = 50_003
    h = torch.randn(BATCH, E, generator=generator)
    table = CellTable(
        torch.randn(n_cells, E, generator=generator) / 4, torch.randn(n_cells, generator=generator)
    )
    pairs = torch.randint(0, BATCH * n_cells, (100_000,), generator=generator).unique()
    found = Positives(pairs // BATCH, pairs % BATCH)
    exact = fused_bce(h.double(), CellTable(*(t.double() for t in table[:2])), found)
    on_device = CellTable(*(t.to(device) for t in table[:2]))
    ours = fused_bce(h.to(device), on_device, Positives(*(t.to(device) for t in found)))
    for name in ("loss_sum", "h", "embedding", "intercept"):
        a, b = getattr(ours, name).double().cpu(), getattr(exact, name)
        print(f"{name}: largest error over largest value {(a - b).abs().max() / b.abs().max():.1e}")


def step_table(cells: list[int], device: torch.device, repeats: int) -> None:
    """Measure one step at each number of cells."""
    for n_cells in cells:
        labels = synthetic_labels(n_cells, 4 * BATCH, 0.02, device)
        codes = random_codes(4 * BATCH, device)
        rng = np.random.default_rng(0)

        def ours(learner: Learner, labels=labels, codes=codes, rng=rng) -> Callable[[], None]:
            def step() -> None:
                batch = batch_of(labels, rng.choice(4 * BATCH, BATCH, replace=False), codes)
                learner.step(batch, LocalRuntime(device), StepPace(0.01, visits=1))

            return synchronised(step, device)

        calls = {"atlasbasset": ours(learner_of(n_cells, device, compiled=False))}
        if device.type == "cuda":
            calls["atlasbasset compiled"] = ours(learner_of(n_cells, device, compiled=True))
        if n_cells <= 1_000_000:
            dense = torch.zeros(BATCH, n_cells, device=device)
            onehot = torch.nn.functional.one_hot(codes[:BATCH, FLANK:-FLANK].long(), 4)
            onehot = onehot.float().permute(0, 2, 1).contiguous()
            plain = peers.plain_step(onehot, dense, bf16=True, device=device)
            calls["plain torch bf16 autocast"] = synchronised(plain, device)
        seconds = harness.take_turns(calls, repeats=repeats, warm_up=3)
        rows = []
        for name, call in calls.items():
            rates = [BATCH / s for s in seconds[name]]
            rows.append(harness.row("gpu_step", name, "throughput", "sequences/s", n_cells, rates))
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
                call()
                gib = [torch.cuda.max_memory_allocated(device) / 2**30]
                rows.append(harness.row("gpu_step", name, "peak memory", "GiB", n_cells, gib))
        harness.append("gpu", rows)


def epoch(n_cells: int, n_peaks: int, device: torch.device, *, compiled: bool) -> None:
    """Train for one whole epoch on labels and sequences that are on the device."""
    labels, codes = synthetic_labels(n_cells, n_peaks, 0.025, device), random_codes(n_peaks, device)
    learner, runtime = learner_of(n_cells, device, compiled=compiled), LocalRuntime(device)
    order = np.random.default_rng(0).permutation(n_peaks)
    steps = [part for part in np.split(order, range(BATCH, n_peaks, BATCH)) if len(part) == BATCH]

    def run(some: list[np.ndarray]) -> None:
        for peaks in some:
            learner.step(batch_of(labels, peaks, codes), runtime, StepPace(0.01, visits=1))

    synchronised(lambda: run(steps[:5]), device)()
    began = time.perf_counter()
    synchronised(lambda: run(steps), device)()
    seconds = time.perf_counter() - began
    flop = len(steps) * BATCH * (TRUNK_FLOP + 3 * 2 * n_cells * E)
    least = flop / matmul_rate(device)
    config = {"compiled": compiled, "peaks": n_peaks, "by_arithmetic_s": round(least, 3)}
    rows = [harness.row("gpu_epoch", "atlasbasset", "epoch", "s", n_cells, [seconds], **config)]
    if device.type == "cuda":
        gib = [torch.cuda.max_memory_allocated(device) / 2**30]
        rows.append(
            harness.row("gpu_epoch", "atlasbasset", "peak memory", "GiB", n_cells, gib, **config)
        )
    harness.append("gpu", rows)
    print(
        f"{least:.2f} s at this device's rate of large bf16 products: {least / seconds:.0%} of it"
    )
    profile(lambda: run(steps[:10]), device)


def matmul_rate(device: torch.device) -> float:
    """Return the measured FLOP/s of large bfloat16 products."""
    n = 8192 if device.type == "cuda" else 1024
    a = torch.randn(n, n, dtype=torch.bfloat16, device=device)
    call = synchronised(lambda: [a @ a for _ in range(5)], device)
    call()
    began = time.perf_counter()
    call()
    return 5 * 2 * n**3 / (time.perf_counter() - began)


def profile(call: Callable[[], None], device: torch.device) -> None:
    """Print the kernels that take longest."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profiled(activities=activities) as found:
        synchronised(call, device)()
    order = "self_cuda_time_total" if gpu else "self_cpu_time_total"
    print(found.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=60))


def main() -> None:
    """Do all of it; rows go to results/gpu.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    default = [2_000, 10_000, 100_000, 1_000_000, 4_000_000]
    parser.add_argument("--cells", type=int, nargs="+", default=default)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--epoch-cells", type=int, default=1_114_621)
    parser.add_argument("--epoch-peaks", type=int, default=118_043)
    args = parser.parse_args()
    device = torch.device(args.device)
    check_numbers(device)
    step_table(args.cells, device, args.repeats)
    for compiled in (False, True) if device.type == "cuda" else (False,):
        epoch(args.epoch_cells, args.epoch_peaks, device, compiled=compiled)


if __name__ == "__main__":
    main()
