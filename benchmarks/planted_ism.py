"""Whether mutagenesis finds the planted motif sites of a simulated atlas, by its known answers.

    atlasbasset demo --out DEMO
    python benchmarks/planted_ism.py DEMO [--peaks 100] [--split test]

DEMO holds ``simulated`` (with truth.json), ``atlas.zarr`` and ``model.zarr``. Peaks the model was
not trained on are mutated in silico in their central 300 bp, where the sites stand; then, for each
peak and cell type, the auROC of |importance| inside against outside

* the sites of motifs that are active in that cell type,
* as a control, the sites of motifs that are active in other cell types alone, or in none: sites of
  equal strength in the sequence, which a model that has learned no cell types would find as well.

A row holds the 20th, 50th and 80th percentile over peaks and the cell type as `x`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import harness
import numpy as np

import atlasstore
from atlasbasset.verbs.ism.ism import ism
from atlasstore.results.ism_result import IsmResult, importance
from atlasstore.simulation.auroc import auroc_rows
from atlasstore.simulation.peaks import CENTRAL_BP
from atlasstore.simulation.truth import Truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROVIDERS = ("active here", "active elsewhere or nowhere")


def site_mask(
    truth: Truth, peak: str, start: int, widths: NDArray[np.int64], wanted: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which of the central positions of a peak stand in sites of the wanted motifs."""
    sites = truth.sites
    at = np.flatnonzero((sites.peak == truth.peaks.index(peak)) & wanted[sites.motif])
    mask = np.zeros(CENTRAL_BP, bool)
    for site in at:
        first = int(sites.start[site]) - start
        mask[max(first, 0) : max(first + int(widths[sites.motif[site]]), 0)] = True
    return mask


def aurocs(
    found: IsmResult, truth: Truth, widths: NDArray[np.int64]
) -> dict[tuple[str, str], list[float]]:
    """Return (provider, cell type) -> auROC of every peak that has such sites."""
    columns = found.columns(truth.cell_types)
    measured: dict[tuple[str, str], list[float]] = {}
    for row in range(found.n_regions):
        region = found.regions.iloc[row]
        matters = np.abs(
            importance(found.scores(row, row + 1, columns), found.codes(row, row + 1))[0]
        )
        for column, kind in enumerate(truth.cell_types):
            active = truth.activities[column] != 0
            start = int(region["span_start"])
            here, not_here = (
                site_mask(truth, region.name, start, widths, wanted) for wanted in (active, ~active)
            )
            background = ~(here | not_here)
            for provider, mask in zip(PROVIDERS, (here, not_here), strict=True):
                kept = mask | background
                value = auroc_rows(matters[None, kept, column], mask[None, kept])[0]
                if np.isfinite(value):
                    measured.setdefault((provider, kind), []).append(float(value))
    return measured


def main() -> None:
    """Measure and append rows to results/planted_ism.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path)
    parser.add_argument("--peaks", type=int, default=100)
    parser.add_argument("--split", default="test")
    args = parser.parse_args()
    truth = Truth.load(args.demo / "simulated")
    motifs = atlasstore.genome.motifs.read_meme(args.demo / "simulated" / "motifs.meme")
    widths = np.array([{m.name: m.width for m in motifs}[name] for name in truth.motifs])
    atlas = atlasstore.Atlas.open(args.demo / "atlas.zarr")
    names = [str(name) for name in atlas.var.index[atlas.peak_rows(args.split)][: args.peaks]]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "ism.zarr"
        ism(
            args.demo / "model.zarr",
            atlas=atlas,
            peaks=names,
            out=out,
            span=CENTRAL_BP,
            group_by="cell_type",
        )
        measured = aurocs(IsmResult.open(out), truth, widths)
    rows = [
        harness.row(
            "planted_ism", provider, "auROC of |importance|", kind,
            truth.cell_types.index(kind), values,
            peaks=len(names), split=args.split, simulated=vars_of(truth), mean=np.mean(values),
        )
        for (provider, kind), values in sorted(measured.items())
    ]  # fmt: skip
    harness.append("planted_ism", rows)


def vars_of(truth: Truth) -> dict[str, int]:
    """Return the simulation's sizes."""
    config = truth.config
    return {"cells": config.n_cells, "peaks": config.n_peaks, "seed": config.seed}


if __name__ == "__main__":
    main()
