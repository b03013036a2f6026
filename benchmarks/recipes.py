"""What a recipe reaches in a number of epochs: held-out auROC, label score, seconds; with seeds.

Every variant trains the full-size model from each seed and is evaluated on the atlas's test peaks.

    python benchmarks/recipes.py ATLAS --label-key tissue --variants paper fast --epochs 4 8
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
from atlasbasset.engine.config import RECIPES, TrainConfig
from atlasstore import Atlas

SOLVED = {"final_solve": True, "per_cell_eps": True}
FAST = {name: getattr(TrainConfig(), name) for name in RECIPES["paper"]}
"""The fast recipe as changes of the paper's settings."""
VARIANTS: dict[str, dict[str, Any]] = {
    "fast": FAST,
    "paper": {},
    "paper+final solve": {"final_solve": True},
    "constant+svd+final solve": {**SOLVED, "cell_start": "svd"},
    "cosine+final solve": {**SOLVED, "schedule": "cosine"},
    "cosine+svd": {"schedule": "cosine", "cell_start": "svd", "per_cell_eps": True},
    "cosine+svd+final solve": {**SOLVED, "schedule": "cosine", "cell_start": "svd"},
    "cosine+svd+final solve lr 0.005": {
        **SOLVED, "schedule": "cosine", "cell_start": "svd", "learning_rate": 0.005,
    },
    "cosine+svd+final solve lr 0.02": {
        **SOLVED, "schedule": "cosine", "cell_start": "svd", "learning_rate": 0.02,
    },
    "cosine+svd+final solve lr 0.04": {
        **SOLVED, "schedule": "cosine", "cell_start": "svd", "learning_rate": 0.04,
    },
    "cosine+svd+final solve lr 0.02 batch 64": {
        **SOLVED, "schedule": "cosine", "cell_start": "svd", "learning_rate": 0.02,
        "batch_size": 64,
    },
    "cosine+svd+final solve batch 64": {
        **SOLVED, "schedule": "cosine", "cell_start": "svd", "batch_size": 64,
    },
    "cosine+svd+final solve batch 256": {
        **SOLVED, "schedule": "cosine", "cell_start": "svd", "batch_size": 256,
    },
    "cosine+svd+solves": {**SOLVED, "schedule": "cosine", "cell_start": "svd", "solve_every": 1},
    "average+svd+final solve": {**SOLVED, "cell_start": "svd", "average": 0.98},
    "fast 1/2 of the cells": {**FAST, "cells_per_step": 2},
    "fast 1/4 of the cells": {**FAST, "cells_per_step": 4},
    "fast 1/8 of the cells": {**FAST, "cells_per_step": 8},
    "paper 1/2 of the cells": {"cells_per_step": 2},
    "paper 1/4 of the cells": {"cells_per_step": 4},
    "paper 1/8 of the cells": {"cells_per_step": 8},
}  # fmt: skip
"""Changes of the paper's settings; `cells_per_step` is given as one in how many."""
MEASURES = ("auroc_per_cell", "auroc_per_peak", "label_score_k50", "train_loss", "seconds")


def settings(variant: str, epochs: int, seed: int, n_cells: int) -> TrainConfig:
    """Return a variant's settings."""
    changes = {**VARIANTS[variant], "epochs": epochs, "seed": seed}
    if one_in := changes.get("cells_per_step"):
        changes["cells_per_step"] = n_cells // one_in
    return TrainConfig(**(RECIPES["paper"] | changes))


def measure(atlas: str, label_key: str, config: TrainConfig) -> list[float]:
    """Train and evaluate once; return what `MEASURES` names."""
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "model.zarr")
        began = time.perf_counter()
        report = atlasbasset.train(atlas, out=model, config=config)
        seconds = time.perf_counter() - began
        found = atlasbasset.evaluate(model, atlas, label_key=label_key)
    assert found.labels is not None
    return [
        float(np.nanmean(found.per_cell)),
        float(np.nanmean(found.per_peak)),
        found.labels.mean[50],
        report.history[-1]["loss"],
        seconds,
    ]


def main() -> None:
    """Measure and append rows to results/recipes.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("atlas")
    parser.add_argument("--label-key", required=True)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["paper", "fast"])
    parser.add_argument("--epochs", nargs="+", type=int, default=[4])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    n_cells = Atlas.open(args.atlas).n_cells
    for epochs in args.epochs:
        for variant in args.variants:
            runs = [
                measure(args.atlas, args.label_key, settings(variant, epochs, seed, n_cells))
                for seed in args.seeds
            ]
            rows = [
                harness.row(
                    "recipes", variant, name, "s" if name == "seconds" else "1", epochs,
                    [run[i] for run in runs],
                    atlas=Path(args.atlas).stem, by_seed=[round(run[i], 4) for run in runs],
                    seeds=args.seeds,
                )
                for i, name in enumerate(MEASURES)
            ]  # fmt: skip
            harness.append("recipes", rows)


if __name__ == "__main__":
    main()
