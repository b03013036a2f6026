"""Train the trunk on a tenth of the cells and solve all others, against training on all of them.

    python benchmarks/map_the_rest.py counts.h5ad --genome genome.fa --label-key cell_type \
        [--epochs 4] [--one-in 10] [--seeds 0 1]

Peaks, split and recipe (fast) are the same on both sides; measured are the held-out peaks in all
cells.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import harness
import numpy as np

import atlasbasset
import atlasstore
from atlasbasset.engine.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Callable

MEASURES = ("auroc_per_cell", "auroc_per_peak", "label_score_k50", "seconds")


def measured(make: Callable[[], str], atlas: str, label_key: str) -> list[float]:
    """Make a model of the whole atlas and evaluate it."""
    began = time.perf_counter()
    model = make()
    seconds = time.perf_counter() - began
    found = atlasbasset.evaluate(model, atlas, label_key=label_key)
    assert found.labels is not None
    per = float(np.nanmean(found.per_cell)), float(np.nanmean(found.per_peak))
    return [*per, found.labels.mean[50], seconds]


def one_seed(args: argparse.Namespace, seed: int, folder: Path) -> dict[str, list[float]]:
    """Measure both ways from one seed."""
    whole = anndata.read_h5ad(args.counts)
    some = np.sort(np.random.default_rng(seed).permutation(whole.n_obs)[:: args.one_in])
    whole[some].write_h5ad(folder / "some.h5ad")
    genome = {"genome": args.genome, "min_cell_fraction": 0.0, "holdout": args.holdout}
    atlases = [str(folder / f"{name}.zarr") for name in ("all", "some")]
    for source, out in zip((args.counts, folder / "some.h5ad"), atlases, strict=True):
        atlasstore.preprocess(source, out=out, **genome)
    config = TrainConfig.recipe("fast", epochs=args.epochs, seed=seed)

    def train_all() -> str:
        atlasbasset.train(atlases[0], out=folder / "all-model.zarr", config=config)
        return str(folder / "all-model.zarr")

    def train_some() -> str:
        atlasbasset.train(atlases[1], out=folder / "some-model.zarr", config=config)
        out = folder / "mapped.zarr"
        atlasbasset.map_cells(folder / "some-model.zarr", atlases[0], out=out)
        return str(out)

    return {
        "trained on all": measured(train_all, atlases[0], args.label_key),
        f"trained on 1/{args.one_in}, rest mapped": measured(
            train_some, atlases[0], args.label_key
        ),
    }


def main() -> None:
    """Measure and append rows to results/map_the_rest.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts")
    parser.add_argument("--genome", required=True)
    parser.add_argument("--label-key", required=True)
    parser.add_argument("--holdout", nargs="*", default=[])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--one-in", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    args = parser.parse_args()
    found = []
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder:
            found.append(one_seed(args, seed, Path(folder)))
    rows = [
        harness.row(
            "map_the_rest", provider, name, "s" if name == "seconds" else "1", args.epochs,
            [run[provider][i] for run in found],
            counts=Path(args.counts).parent.name, seeds=args.seeds,
        )
        for provider in found[0]
        for i, name in enumerate(MEASURES)
    ]  # fmt: skip
    harness.append("map_the_rest", rows)


if __name__ == "__main__":
    main()
