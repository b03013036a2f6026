"""What a report of a million cells takes, beside one of twenty thousand of the same kind.

Both are simulated (12 types, two batches), preprocessed and trained for an epoch with a small
trunk, in FOLDER, where what is there is used again. Each report is a command of its own, with
labels, batches and predictions of held-out peaks.

    python benchmarks/report_scale.py FOLDER [--cells 20000 1000000] [--peaks 2000] [--density 0.03]

Rows go to results/report_scale.csv: the command's seconds, the most memory that it held, its page.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import harness
import pandas as pd

import atlasbasset
from atlasbasset.core.config import TrunkConfig
from atlasbasset.engine.config import TrainConfig
from atlasstore import preprocess
from atlasstore.events import ignore
from atlasstore.simulation import simulate

TRUNK = TrunkConfig(
    window_bp=384, stem_filters=48, tower_filters=(32,) * 6, prebottleneck_filters=32,
)  # fmt: skip
N_TYPES, N_BATCHES = 12, 2


def made(folder: Path, n_cells: int, n_peaks: int, density: float) -> tuple[Path, Path]:
    """Return atlas and model of so many cells."""
    place = folder / f"cells={n_cells}"
    if not (place / "simulated").exists():
        place.mkdir(parents=True, exist_ok=True)
        simulate(
            place / "simulated", n_cells=n_cells, n_peaks=n_peaks, n_cell_types=N_TYPES,
            n_batches=N_BATCHES, density=density, on_event=ignore,
        )  # fmt: skip
    atlas, model = place / "atlas.zarr", place / "model.zarr"
    if not atlas.exists():
        preprocess(
            place / "simulated" / "counts.h5ad", genome=place / "simulated" / "genome.fa",
            out=atlas, window_bp=TRUNK.window_bp, on_event=ignore,
        )  # fmt: skip
    config = TrainConfig.recipe("paper", epochs=1, trunk=TRUNK)
    atlasbasset.train(atlas, out=model, config=config, on_event=ignore)
    return atlas, model


def reported(atlas: Path, model: Path) -> dict[tuple[str, str], float]:
    """Return what `report` took, by metric and unit."""
    page = atlas.with_name("report.html")
    page.unlink(missing_ok=True)
    command = (
        Path(sys.executable).with_name("atlasbasset"), "report", model, atlas, "--out", page,
        "--label-key", "cell_type", "--batch-key", "batch",
    )  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"report ended with status {status}")
    return {
        ("time", "s"): time.perf_counter() - began,
        ("peak memory", "MB"): used.ru_maxrss * 1024 / 1e6,
        ("page", "MB"): page.stat().st_size / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", nargs="+", type=int, default=[20_000, 1_000_000])
    parser.add_argument("--peaks", type=int, default=2000)
    parser.add_argument("--density", type=float, default=0.03)
    args = parser.parse_args()
    sizes: dict[str, Any] = {"n_peaks": args.peaks, "density": args.density}
    stores = {n_cells: made(args.folder, n_cells, **sizes) for n_cells in args.cells}
    taken = {n_cells: reported(*paths) for n_cells, paths in stores.items()}
    print(pd.DataFrame(taken))
    harness.append(
        "report_scale",
        [
            harness.row("report_scale", "report", metric, unit, n_cells, [value], **sizes)
            for n_cells, found in taken.items()
            for (metric, unit), value in found.items()
        ],
    )


if __name__ == "__main__":
    main()
