"""Batch correction on atlases with planted batches: they mix, and the cell types stay apart.

For every seed an atlas of two batches is simulated; each setting trains on it and its embedding
is measured: kBET acceptance and iLISI (mixing, among the cells of one type: means over types,
weighted by cells), label score (cell types), auROC per cell. Batches differ by their TFs
(``--batch-effect``), by peaks of their own (``--batch-shift``), and in their shares of the types
(``--batch-mix``). The same without a network, in seconds: ``batch_effects.py``.

The network is the published one at a quarter of its width, which learns such an atlas in a quarter
of the time; ``--full-size`` takes the published one.

    python benchmarks/batch_correction.py [--seeds 0 1 2] [--settings uncorrected "given state"]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import batch_effects
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
    "free": {"batch_key": "batch", "batch_effect": "free"},
    "given state": {"batch_key": "batch"},
    "given state, deviations": {"batch_key": "batch", "peak_l2": 10.0, "solve_l2": 30.0},
    "given state, no deviations": {"batch_key": "batch", "peak_deviations": False},
    "free, l2 1e-6": {"batch_key": "batch", "batch_effect": "free", "l2_cells": 1e-6},
    "given state, l2 1e-6": {"batch_key": "batch", "l2_cells": 1e-6},
}
"""Changes of the recipe."""
MEASURES = (
    "kbet_within_labels",
    "ilisi_within_labels",
    "label_score_k50",
    "auroc_per_cell",
    "seconds",
)


def simulated(folder: Path, seed: int, args: argparse.Namespace) -> str:
    """Return the URL of an atlas with two planted batches."""
    atlasstore.simulate(
        folder / "simulated",
        n_cells=args.cells,
        n_peaks=args.peaks,
        n_cell_types=4,
        n_motifs=8,
        n_batches=2,
        batch_effect=args.batch_effect,
        batch_shift=args.batch_shift,
        batch_mix=args.batch_mix,
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
    opened = atlasbasset.load_model(model)
    label, batch = (opened.obs[key].astype("category") for key in ("cell_type", "batch"))
    score, kbet, ilisi = batch_effects.measured(
        opened.cell_embedding, label.to_numpy(str), batch.cat.codes.to_numpy(np.int64)
    )
    per_cell = float(np.nanmean(atlasbasset.evaluate(opened, atlas).per_cell))
    return [kbet, ilisi, score, per_cell, seconds]


def run_seed(seed: int, args: argparse.Namespace) -> dict[str, list[float]]:
    """Return what each setting reaches on the atlas of one seed."""
    trunk = TrunkConfig() if args.full_size else SMALL_TRUNK
    with tempfile.TemporaryDirectory() as folder:
        atlas = simulated(Path(folder), seed, args)
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
    parser.add_argument("--batch-shift", type=float, default=0.0)
    parser.add_argument("--batch-mix", type=float, default=0.0)
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
