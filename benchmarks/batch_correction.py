"""Batch correction on atlases with planted batches: they mix, and the cell types stay apart.

For every seed an atlas of two batches is simulated, whose TFs differ a little; each setting trains
on it and its embedding is measured: kBET acceptance and iLISI (mixing), label score (cell types),
auROC per cell. The network is the published one at a quarter of its width, which learns such an
atlas in a quarter of the time; ``--full-size`` takes the published one.

    python benchmarks/batch_correction.py [--seeds 0 1 2] [--settings uncorrected "l2 1e-6"]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np

import atlasbasset
import atlasstore
from atlasbasset.core.config import TrunkConfig
from atlasbasset.engine.config import TrainConfig

SMALL_TRUNK = TrunkConfig(
    stem_filters=72, tower_filters=(72, 80, 88, 96, 112, 128), prebottleneck_filters=64
)
SETTINGS: dict[str, dict[str, Any]] = {
    "uncorrected": {},
    "batch layer alone": {"batch_key": "batch"},
    "l2 1e-6": {"batch_key": "batch", "l2_cells": 1e-6},
    "l2 1e-5": {"batch_key": "batch", "l2_cells": 1e-5},
}
"""Changes of the recipe."""
MEASURES = ("kbet_acceptance", "ilisi", "label_score_k50", "auroc_per_cell", "seconds")


def simulated(folder: Path, seed: int, *, cells: int, peaks: int, batch_effect: float) -> str:
    """Return the URL of an atlas with two planted batches."""
    atlasstore.simulate(
        folder / "simulated",
        n_cells=cells,
        n_peaks=peaks,
        n_cell_types=4,
        n_motifs=8,
        n_batches=2,
        batch_effect=batch_effect,
        density=0.2,
        seed=seed,
    )
    atlasstore.preprocess(
        folder / "simulated" / "counts.h5ad",
        genome=folder / "simulated" / "genome.fa",
        out=folder / "atlas.zarr",
        seed=seed,
    )
    return str(folder / "atlas.zarr")


def measure(atlas: str, model: Path, config: TrainConfig) -> list[float]:
    """Train and evaluate once; return what `MEASURES` names."""
    began = time.perf_counter()
    atlasbasset.train(atlas, out=model, config=config)
    seconds = time.perf_counter() - began
    found = atlasbasset.evaluate(model, atlas, label_key="cell_type", batch_key="batch")
    assert found.kbet is not None
    assert found.ilisi is not None
    assert found.labels is not None
    per_cell = float(np.nanmean(found.per_cell))
    return [found.kbet.acceptance, found.ilisi.mean, found.labels.mean[50], per_cell, seconds]


def run_seed(seed: int, args: argparse.Namespace) -> dict[str, list[float]]:
    """Return what each setting reaches on the atlas of one seed."""
    trunk = TrunkConfig() if args.full_size else SMALL_TRUNK
    with tempfile.TemporaryDirectory() as folder:
        atlas = simulated(
            Path(folder), seed, cells=args.cells, peaks=args.peaks, batch_effect=args.batch_effect
        )
        found = {}
        for name in args.settings:
            common = {"seed": seed, "epochs": args.epochs, "batch_size": args.batch_size}
            config = TrainConfig.recipe(args.recipe, **common, **SETTINGS[name], trunk=trunk)
            found[name] = measure(atlas, Path(folder) / f"{name}.zarr", config)
            said = zip(MEASURES, found[name], strict=True)
            print(f"seed {seed}, {name}:", ", ".join(f"{m} {v:.3f}" for m, v in said), flush=True)
        return found


def main() -> None:
    """Measure and append rows to results/batch_correction.csv; x is the planted batch effect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--cells", type=int, default=600)
    parser.add_argument("--peaks", type=int, default=1500)
    parser.add_argument("--batch-effect", type=float, default=0.8)
    parser.add_argument("--full-size", action="store_true")
    args = parser.parse_args()
    runs = [run_seed(seed, args) for seed in args.seeds]
    rows = [
        harness.row(
            "batch_correction", name, measure, "s" if measure == "seconds" else "1",
            args.batch_effect, [run[name][i] for run in runs],
            by_seed=[round(run[name][i], 4) for run in runs],
            **{key: value for key, value in vars(args).items() if key != "settings"},
        )
        for name in args.settings
        for i, measure in enumerate(MEASURES)
    ]  # fmt: skip
    harness.append("batch_correction", rows)


if __name__ == "__main__":
    main()
