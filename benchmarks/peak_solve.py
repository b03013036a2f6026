"""What a solve of the peaks costs as cells grow: time a peak, memory beside the cells' table.

Peaks of a planted model, 3 % open: 32 numbers a cell, deviations of a tenth of h, the weight that
`train --peak-deviations` takes for as many cells and 100,000 peaks. The sums that are a peak's
labels to the solver are drawn before the clock starts.

    python benchmarks/peak_solve.py [--cells 10000 100000 1000000] [--peaks 256] [--threads 1]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import harness
import torch

from atlasbasset.core.deviation_choice import noise_norm
from atlasbasset.core.peak_deviations import SolvedPeaks, solve_peaks

EMBEDDING, SHARE, CELLS_L2, ALL_PEAKS = 32, 0.03, 30.0, 100_000
TILE = 8192
"""Cells whose labels are drawn at once."""


def planted(
    n_cells: int, n_peaks: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return w, intercepts, the sums over open cells, and h."""
    w = 0.2 * torch.randn(n_cells, EMBEDDING, generator=generator)
    intercept = torch.full((n_cells,), SHARE).logit()
    h = torch.randn(n_peaks, EMBEDDING, generator=generator)
    x = h + 0.1 * torch.randn(n_peaks, EMBEDDING, generator=generator)
    sums = torch.zeros(n_peaks, EMBEDDING + 1, dtype=torch.float64)
    for rows, offset in zip(w.split(TILE), intercept.split(TILE), strict=True):
        chance = (x @ rows.T + offset).sigmoid_()
        is_open = (torch.rand(chance.shape, generator=generator) < chance).float()
        sums += is_open @ torch.cat([rows, torch.ones(len(rows), 1)], 1)
    return w, intercept, sums, h


def measure(n_cells: int, n_peaks: int) -> tuple[float, float, SolvedPeaks]:
    """Return seconds, the rise of peak memory in MB, and what was found."""
    table = planted(n_cells, n_peaks, torch.Generator().manual_seed(n_cells))
    weight = noise_norm(ALL_PEAKS, n_cells, SHARE) ** 2 / CELLS_L2
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
    before, began = memory("VmRSS"), time.perf_counter()
    solved = solve_peaks(*table, l2=weight)
    return time.perf_counter() - began, memory("VmHWM") - before, solved


def memory(name: str) -> float:
    """Return a line of this process's status, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1000


def main() -> None:
    """Measure and append rows to results/peak_solve.csv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--peaks", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    measure(1000, args.peaks)
    for n_cells in args.cells:
        seconds, grown, solved = measure(n_cells, args.peaks)
        steps, share = solved.iterations.double().mean(), solved.converged.double().mean()
        values = {
            "time": ("ms per peak", 1000 * seconds / args.peaks),
            "memory beside the cells' table": ("MB", grown),
            "Newton steps": ("1", float(steps)),
            "converged": ("1", float(share)),
        }
        harness.append("peak_solve", [
            harness.row("peak_solve", "solve_peaks", name, unit, n_cells, [value],
                        peaks=args.peaks, threads=args.threads)
            for name, (unit, value) in values.items()
        ])  # fmt: skip


if __name__ == "__main__":
    main()
