"""The paper's recipe up to its own stopping rule: embeddings and held-out auROC by epoch.

One run with a constant step size is stopped after each of `--epochs`, measured, and resumed, which
equals an undisturbed run. At each stop: the cells as the layer was trained, cells solved exactly on
the same trunk, and those with peaks that deviate from their sequences' own embeddings (two rounds,
`--weight`, cells' L2 30).

    python benchmarks/convergence.py sim.zarr --label-key cell_type --train MODELS --trunk small
        [--epochs 8 16 32 64 128 256 512 1000] [--seeds 0]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import harness
import numpy as np
from embedding_quality import TRUNKS, measures, predicted, read
from embedding_variants import Trained

import atlasbasset
from atlasbasset.engine.config import RECIPES, TrainConfig
from atlasbasset.metrics import SparseLabels
from atlasbasset.metrics.baselines import unit_rows
from atlasstore import Atlas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedding_quality import Data
    from embedding_variants import Cells

ROUNDS, L2 = 2, 30.0


def solved(model: Trained, weight: float) -> Iterator[Cells]:
    """Yield the trained cells, and cells solved on the same trunk."""
    yield model.own._replace(name="paper")
    yield model.cells("solved", model.h)
    *_, last = model.deviating(weight, ROUNDS, l2=L2, read_out=False)
    yield last._replace(name="solved, deviations")


def measured(model: Trained, data: Data, weight: float) -> Iterator[tuple[str, str, float]]:
    """Yield a solve's name, a measure's, and its value."""
    atlas = Atlas.open(data.name)
    held_out = SparseLabels(data.is_open[:, np.flatnonzero(atlas.var["split"] != "train")].T)
    for cells in solved(model, weight):
        values = predicted(model, cells, held_out) | measures(cells.embedding, data.types)
        cosine = measures(unit_rows(cells.embedding), data.types)
        for key, value in (values | {f"{key}, cosine": v for key, v in cosine.items()}).items():
            yield cells.name, key, value


def main() -> None:
    """Measure and append rows to results/convergence.csv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("atlas")
    parser.add_argument("--label-key", required=True)
    parser.add_argument("--train", metavar="FOLDER", required=True, help="of models")
    parser.add_argument("--trunk", choices=TRUNKS, default="small")
    parser.add_argument("--epochs", nargs="+", type=int, default=[2**i for i in range(3, 10)])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--weight", type=float, default=11.5, help="of the deviations")
    args = parser.parse_args()
    data = read(args.atlas, args.label_key)._replace(name=args.atlas)
    for seed in args.seeds:
        out = str(Path(args.train) / f"{Path(args.atlas).stem}-paper-{args.trunk}-seed{seed}.zarr")
        for epochs in args.epochs:
            changes = {"trunk": TRUNKS[args.trunk], "seed": seed, "epochs": epochs}
            began = time.perf_counter()
            report = atlasbasset.train(
                args.atlas, out=out, config=TrainConfig(**(RECIPES["paper"] | changes))
            )
            seconds = time.perf_counter() - began
            n_done = len(report.history)
            print(f"seed {seed}, epoch {n_done}: {report.history[-1]}, {seconds:.0f} s", flush=True)
            model = Trained.of(out, Atlas.open(args.atlas), data.is_open)
            harness.append("convergence", [
                harness.row("convergence", name, key, "1", n_done, [value],
                            atlas=Path(args.atlas).stem, trunk=args.trunk, seed=seed)
                for name, key, value in measured(model, data, args.weight)
            ])  # fmt: skip
            if n_done < epochs:
                break


if __name__ == "__main__":
    main()
