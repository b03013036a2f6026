"""Whether a model trained on a simulated atlas finds what was planted in it.

TF part: every built-in motif is inserted, those planted and those never planted alike, and ranked
in each cell type by how far its activity there is above its mean over all cells: raw (on the
linear scale), and as z-scores. The types' own TFs should be first. The TFs that act alike in all
types should be first by mean activity over all cells; those that were planted and do nothing should
be last, which counts among the planted motifs only.

    atlasbasset demo --out demo0
    python benchmarks/planted_truth.py demo0 [demo1 ...] [--backgrounds 1000] [--threads 2]
        [--scale linear sigmoid] [--both-strands]

With both scales the two are compared: what differs is whether the mean over backgrounds is taken
before or after the sigmoid.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import harness
import numpy as np
import pandas as pd
import torch

from atlasbasset.verbs.motifs.motifs import motif_activity
from atlasstore.simulation import Truth
from atlasstore.simulation.builtin_motifs import builtin_motifs

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Scores:
    """Activities of one demo."""

    truth: pd.DataFrame
    """What was planted, cell types x planted motifs."""
    raw: pd.DataFrame
    """Mean over a type's cells of the activity less that of all cells, types x all motifs."""
    z: pd.DataFrame
    """The same of z-scores."""
    mean: pd.Series
    """Mean activity of each motif over all cells."""


def scores(demo: Path, n_backgrounds: int, scale: str, *, both_strands: bool) -> Scores:
    with tempfile.TemporaryDirectory() as folder:
        motif_activity(
            demo / "model.zarr",
            demo / "atlas.zarr",
            motifs=builtin_motifs(),
            out=Path(folder) / "activity.zarr",
            n_backgrounds=n_backgrounds,
            scale=scale,
            both_strands=both_strands,
        )
        found = anndata.read_zarr(Path(folder) / "activity.zarr")
    found.var_names = list(found.var["motif"])
    types = found.obs["cell_type"].astype(str).to_numpy()
    table = pd.DataFrame(found.X, columns=found.var_names)
    truth = Truth.load(demo / "simulated")
    return Scores(
        truth=pd.DataFrame(truth.activities, index=truth.cell_types, columns=truth.motifs),
        raw=(table * found.var["sd"]).groupby(types).mean(),
        z=table.groupby(types).mean(),
        mean=found.var["mean"],
    )


def ranks(found: Scores) -> Iterator[dict[str, Any]]:
    """Yield a row for every planted TF of a type, every shared one and every silent one."""
    planted = found.truth.to_numpy() > 0
    for t, cell_type in enumerate(found.truth.index):
        for m in np.flatnonzero(planted[t] & ~planted.all(axis=0)):
            motif = found.truth.columns[m]
            yield {
                "of": cell_type,
                "TF": motif,
                "planted": found.truth.iloc[t, m],
                "rank, raw": rank(found.raw.loc[cell_type], motif),
                "rank, z": rank(found.z.loc[cell_type], motif),
                "among": found.raw.shape[1],
            }
    for m in np.flatnonzero(planted.all(axis=0)):
        motif = found.truth.columns[m]
        place = rank(found.mean, motif)
        yield {
            "of": "all types",
            "TF": motif,
            "planted": found.truth.iloc[0, m],
            "rank, raw": place,
            "among": found.raw.shape[1],
        }
    spread = (found.raw.max() - found.raw.min())[found.truth.columns]
    for m in np.flatnonzero(~planted.any(axis=0)):
        motif = found.truth.columns[m]
        yield {
            "of": "none (spread between types)",
            "TF": motif,
            "planted": 0.0,
            "rank, raw": rank(spread, motif),
            "among": len(spread),
        }


def rank(values: pd.Series, name: str) -> int:
    """Return the place of `name`, 1 for the largest value."""
    return int((values > values[name]).sum()) + 1


def main() -> None:
    """Print a rank table for every demo and append rows to results/planted_truth.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demos", type=Path, nargs="+", metavar="DEMO")
    parser.add_argument("--backgrounds", type=int, default=1000)
    parser.add_argument("--scale", nargs="+", default=["linear"], choices=["linear", "sigmoid"])
    parser.add_argument("--both-strands", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for demo, scale in product(args.demos, args.scale):
        found = scores(demo, args.backgrounds, scale, both_strands=args.both_strands)
        table = pd.DataFrame(ranks(found))
        print(f"{demo}, {scale}\n{table.round(2).to_string(index=False)}\n")
        seed = Truth.load(demo / "simulated").config.seed
        own = table[table["of"].isin(found.truth.index)]
        rows += [
            harness.row(
                "planted_truth",
                f"{column} of the types' own TFs",
                "rank",
                "of " + str(found.raw.shape[1]),
                seed,
                own[column].tolist(),
                backgrounds=args.backgrounds,
                ranks=own[column].tolist(),
                demo=demo.name,
                scale=scale,
                both_strands=args.both_strands,
            )
            for column in ("rank, raw", "rank, z")
        ]
    harness.append("planted_truth", rows)


if __name__ == "__main__":
    main()
