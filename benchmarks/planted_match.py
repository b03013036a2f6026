"""Whether `match` tells motifs that act in a cell type from those that do not, by known answers.

    atlasbasset demo --out DEMO
    python benchmarks/planted_match.py DEMO [--peaks 700] [--split train]

The central 300 bp of peaks are mutated in silico by cell type and matched with the simulation's
motifs. For each motif and cell type, a row has

* the share of its sites with p < 0.05, whether it acts there or not;
* its sites with q < 0.05, and of these the share that stands on a planted site of it (`planted`).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import harness
import numpy as np
import pandas as pd
from planted_ism import vars_of

import atlasbasset
import atlasstore
from atlasstore.simulation.peaks import CENTRAL_BP
from atlasstore.simulation.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Iterator


def matched(args: argparse.Namespace) -> pd.DataFrame:
    """Return all sites, whatever their p."""
    atlas = atlasstore.Atlas.open(args.demo / "atlas.zarr")
    names = [str(name) for name in atlas.var.index[atlas.peak_rows(args.split)][: args.peaks]]
    with tempfile.TemporaryDirectory() as folder:
        result, out = Path(folder) / "ism.zarr", Path(folder) / "sites.parquet"
        atlasbasset.ism(
            args.demo / "model.zarr",
            atlas=atlas,
            peaks=names,
            out=result,
            span=CENTRAL_BP,
            group_by="cell_type",
        )
        motifs = args.demo / "simulated" / "motifs.meme"
        atlasbasset.match(result, motifs, out=out, max_p=1.0, seed=args.seed)
        return pd.read_parquet(out)


def planted_at(truth: Truth) -> set[tuple[str, str, int]]:
    """Return (TF, chromosome, start) of every planted site."""
    sites = truth.sites
    chroms = [name.split(":")[0] for name in truth.peaks]
    return {
        (truth.motifs[motif], chroms[peak], int(start))
        for motif, peak, start in zip(sites.motif, sites.peak, sites.start, strict=True)
    }


def measured(found: pd.DataFrame, truth: Truth) -> Iterator[tuple[str, str, str, float, int]]:
    """Yield motif, cell type, measure, value and how many sites it stands on."""
    planted = planted_at(truth)
    is_planted = [
        key in planted for key in zip(found["tf"], found["chrom"], found["start"], strict=True)
    ]
    found = found.assign(planted=is_planted)
    for (motif, kind), sites in found.groupby(["tf", "group"]):
        yield motif, kind, "share of p < 0.05", (sites["p"] < 0.05).mean(), len(sites)
        kept = sites[sites["q"] < 0.05]
        yield motif, kind, "sites with q < 0.05", len(kept), len(sites)
        if len(kept):
            yield motif, kind, "planted of q < 0.05", kept["planted"].mean(), len(kept)


def main() -> None:
    """Measure and append rows to results/planted_match.csv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demo", type=Path)
    parser.add_argument("--peaks", type=int, default=700)
    parser.add_argument("--split", default="train")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    truth = Truth.load(args.demo / "simulated")
    found = matched(args)
    acts = truth.activities != 0
    rows = [
        harness.row(
            "planted_match", motif, name, "1", truth.cell_types.index(kind), [value],
            acts=bool(acts[truth.cell_types.index(kind), truth.motifs.index(motif)]),
            n_sites=n_sites, peaks=args.peaks, split=args.split, simulated=vars_of(truth),
        )
        for motif, kind, name, value, n_sites in measured(found, truth)
    ]  # fmt: skip
    harness.append("planted_match", rows)
    shares = np.round(
        found.assign(p=found["p"] < 0.05).pivot_table(index="tf", columns="group", values="p"), 2
    )
    where = [str(np.flatnonzero(acts[:, truth.motifs.index(tf)]) + 1) for tf in shares.index]
    print(shares.assign(acts=where))


if __name__ == "__main__":
    main()
