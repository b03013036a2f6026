"""New cells over new peaks: `map --solve-peaks off` and `on`, from one half of an atlas to another.

Half of the cells over half of the peaks are the reference that a model is trained on; the other
half over the other peaks is new. Sequences are all that the two have in common. How well new cells
of a type lie together (label score), beside LSI and SnapATAC2 of the new cells alone; and how many
get the right label from the reference, which no method without sequences can do.

    atlasbasset simulate sim --cells 1000 --peaks 3000 --cell-types 12 --density 0.03
    python benchmarks/other_peaks.py sim WORK [--epochs 32] [--seeds 0 1 2]

Models are trained where the folder WORK does not have them. Rows go to results/other_peaks.csv.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import harness
import numpy as np
from embedding_quality import Data, read, without_sequences

import atlasbasset
from atlasbasset.engine.config import TrainConfig
from atlasbasset.metrics import label_score
from atlasbasset.metrics.baselines import unit_rows
from atlasbasset.metrics.label_transfer import transfer_labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

KEY = "cell_type"
SHOWN = ("LSI less 1, unit", "SnapATAC2 spectral")


def halves(sim: Path, work: Path, seed: int) -> tuple[str, str]:
    """Return the atlases of the reference and of the new cells, made where they are not there."""
    counts = anndata.read_h5ad(sim / "counts.h5ad")
    rng = np.random.default_rng(seed)
    first = [rng.random(n) < 0.5 for n in counts.shape]
    urls = []
    for name, (cells, peaks) in (("reference", first), ("new", [~part for part in first])):
        url = work / f"{sim.name}-{name}{seed}.zarr"
        if not url.exists():
            half = url.with_suffix(".h5ad")
            counts[np.flatnonzero(cells), np.flatnonzero(peaks)].copy().write_h5ad(half)
            atlasbasset.preprocess(half, genome=sim / "genome.fa", out=url)
        urls.append(str(url))
    return urls[0], urls[1]


def measured(
    sim: Path, work: Path, seed: int, epochs: int
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield label scores of the new cells' embeddings, and accuracies of their labels."""
    reference, new = halves(sim, work, seed)
    url = str(work / f"{sim.name}-{epochs}-{seed}.zarr")
    atlasbasset.train(reference, out=url, config=TrainConfig(seed=seed, epochs=epochs))
    model = atlasbasset.load_model(url)
    data, known = read(new, KEY), read(reference, KEY)
    for name, table in without_sequences(data, skip=("PeakVI",)):
        if name in SHOWN:
            yield name, scores(data, table)
    for choice in ("off", "on"):
        out = f"{url.removesuffix('.zarr')}-{choice}.zarr"
        atlasbasset.map_cells(model, new, out=out, split="all", solve_peaks=choice)
        table = atlasbasset.load_model(out).cell_embedding
        found = transfer_labels(model.cell_embedding, known.types, table)
        right = float((found.label == data.types).mean())
        values = {"right labels": right, "confidence": float(found.confidence.mean())}
        yield f"solve peaks {choice}", scores(data, unit_rows(table)) | values


def scores(data: Data, table: NDArray[np.float32]) -> dict[str, float]:
    return {f"label score k={k}": v for k, v in label_score(table, data.types).mean.items()}


def main() -> None:
    """Measure and append rows to results/other_peaks.csv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sim", type=Path, help="what `simulate` wrote")
    parser.add_argument("work", type=Path)
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    found = defaultdict[tuple[str, str], list[float]](list)
    for seed in args.seeds:
        for name, values in measured(args.sim, args.work, seed, args.epochs):
            print(seed, name, {key: round(value, 3) for key, value in values.items()}, flush=True)
            for key, value in values.items():
                found[name, key].append(value)
    harness.append("other_peaks", [
        harness.row("other_peaks", name, key, "1", args.epochs, values, data=args.sim.name,
                    by_seed=[round(value, 4) for value in values], seeds=args.seeds)
        for (name, key), values in found.items()
    ])  # fmt: skip


if __name__ == "__main__":
    main()
