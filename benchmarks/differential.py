"""Calibration and power of `differential` on simulated truth, beside Wilcoxon tests on raw counts.

Two cell types are compared. A peak is null where it has no site of a TF whose activity differs
between the two. In half of the runs the cells of the first type are thinned to half of their
fragments, as a sample that was sequenced less. A third comparison has no truth to find: cells of
one type are dealt to two groups by chance, deep cells to the first one more often. Motifs are null
where they were never planted. Planted TFs whose activity does not differ are counted by themselves:
a peak has one leading TF, so their sites stand where sites of other TFs do not.

    python benchmarks/differential.py FOLDER [--seeds 0 1 2] [--cells 1000] [--peaks 2400]
        [--density 0.3] [--parts peaks motifs]

Simulations and models are kept in FOLDER and made where it has none. Rows go to
results/differential.csv: the null p-values below 0.05, the false discoveries and the power at
q < 0.05, and the power where the truth would hold the false discoveries to 5 %.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anndata
import harness
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import false_discovery_control, mannwhitneyu

import atlasbasset
from atlasbasset.core.config import TrunkConfig
from atlasbasset.engine.config import TrainConfig
from atlasstore import preprocess
from atlasstore.events import ignore
from atlasstore.simulation import Truth, simulate
from atlasstore.simulation.builtin_motifs import builtin_motifs

if TYPE_CHECKING:
    from collections.abc import Iterator

TRUNK = TrunkConfig(
    stem_filters=96, tower_filters=(96, 108, 121, 136, 152, 171), prebottleneck_filters=96
)
"""A third of the published trunk's width."""
GROUP, REFERENCE = "type1", "type2"
TESTS = ("differential", "Wilcoxon, counts", "Wilcoxon, counts per depth")


class Run(NamedTuple):
    """One simulation with its model."""

    folder: Path
    truth: Truth
    counts: anndata.AnnData
    thinned: bool
    seed: int


def run_of(
    folder: Path, seed: int, n_cells: int, n_peaks: int, density: float, *, thinned: bool
) -> Run:
    """Simulate, thin, preprocess and train, where that has not been done."""
    place = folder / f"seed{seed}{'-thinned' if thinned else ''}"
    if not (place / "simulated").exists():
        simulate(
            place / "simulated", n_cells=n_cells, n_peaks=n_peaks, n_cell_types=4, n_motifs=12,
            density=density, seed=seed, on_event=ignore,
        )  # fmt: skip
    counts = anndata.read_h5ad(place / "simulated" / "counts.h5ad")
    counts.X = sparse.csr_array(counts.X)
    if thinned:
        counts = half_as_deep(counts, np.random.default_rng(seed))
    counts.obs["half"] = halves(counts, np.random.default_rng(seed))
    if not (place / "model.zarr").exists():
        genome = place / "simulated" / "genome.fa"
        preprocess(counts, genome=genome, out=place / "atlas.zarr", min_cell_fraction=0.0)
        config = TrainConfig.recipe("fast", epochs=4, batch_size=16, trunk=TRUNK, seed=seed)
        atlasbasset.train(place / "atlas.zarr", out=place / "model.zarr", config=config)
    return Run(place, Truth.load(place / "simulated"), counts, thinned, seed)


def make_activities(run: Run) -> None:
    """Insert motifs, and shuffled copies of them, where that has not been done."""
    for name, shuffled in (("activity", 0), ("shuffled", 12)):
        if not (run.folder / f"{name}.zarr").exists():
            atlasbasset.motif_activity(
                run.folder / "model.zarr", run.folder / "atlas.zarr", motifs=builtin_motifs(),
                out=run.folder / f"{name}.zarr", n_backgrounds=200, shuffled=shuffled,
            )  # fmt: skip


def half_as_deep(counts: anndata.AnnData, rng: np.random.Generator) -> anndata.AnnData:
    """Keep each fragment of the group's cells with probability one half."""
    matrix = counts.X.copy()
    in_group = np.repeat(counts.obs["cell_type"] == GROUP, np.diff(matrix.indptr))
    matrix.data = np.where(in_group, rng.binomial(matrix.data, 0.5), matrix.data)
    matrix.eliminate_zeros()
    counts.X = matrix
    return counts


def halves(counts: anndata.AnnData, rng: np.random.Generator) -> pd.Categorical:
    """Deal the reference's cells to two groups, the deeper ones to the first more often."""
    depth = np.log(np.asarray(counts.X.sum(axis=1)).ravel())
    odds = 1 / (1 + np.exp(-2 * (depth - depth.mean()) / depth.std()))
    drawn = np.where(rng.random(len(depth)) < odds, "one", "two")
    return pd.Categorical(np.where(counts.obs["cell_type"] == REFERENCE, drawn, None))


def p_values(run: Run, key: str, group: str, reference: str) -> dict[str, np.ndarray]:
    """Return each test's p-value of each peak, NaN where it was not tested by `differential`."""
    table = run.folder / f"{key}.parquet"
    if not table.exists():
        atlasbasset.differential(
            run.folder / "model.zarr", run.folder / "atlas.zarr", group_by=key, groups=[group],
            reference=reference, out=table,
        )  # fmt: skip
    ours = pd.read_parquet(table).set_index("peak").reindex(run.counts.var_names)
    side = run.counts.obs[key].astype(object).to_numpy()
    raw = run.counts.X.toarray().astype(float)
    scaled = np.log1p(raw / raw.sum(axis=1, keepdims=True) * np.median(raw.sum(axis=1)))
    found = {TESTS[0]: ours["p"].to_numpy()}
    for name, values in ((TESTS[1], raw), (TESTS[2], scaled)):
        p = mannwhitneyu(values[side == group], values[side == reference]).pvalue
        found[name] = np.where(np.isnan(found[TESTS[0]]), np.nan, p)
    return found


def judged(p: np.ndarray, is_null: np.ndarray) -> dict[str, float]:
    """Return what p-values are worth, given which peaks are null."""
    known = ~np.isnan(p)
    p, is_null = p[known], is_null[known]
    found = {"null p below 0.05": float((p[is_null] < 0.05).mean())}
    found["null p below 0.001"] = float((p[is_null] < 0.001).mean())
    if not (~is_null).any():
        return found
    called = false_discovery_control(p) < 0.05
    order = np.argsort(p, kind="stable")
    n_false = np.cumsum(is_null[order])
    allowed = np.flatnonzero(n_false <= 0.05 * np.arange(1, len(p) + 1))
    n_right = 0 if not allowed.size else allowed[-1] + 1 - n_false[allowed[-1]]
    return found | {
        "false discoveries at q < 0.05": float((called & is_null).sum() / max(called.sum(), 1)),
        "power at q < 0.05": float((called & ~is_null).sum() / (~is_null).sum()),
        "power at 5 % false": float(n_right / (~is_null).sum()),
    }


def measures(run: Run) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield comparison, test and figures."""
    truth, types = run.truth, run.truth.cell_types
    difference = truth.activities[types.index(GROUP)] - truth.activities[types.index(REFERENCE)]
    peaks = pd.Index(truth.peaks).get_indexer(run.counts.var_names)
    is_null = (abs(truth.site_counts()[peaks]) @ np.abs(difference)) == 0
    for name, p in p_values(run, "cell_type", GROUP, REFERENCE).items():
        yield "types", name, judged(p, is_null)
    for name, p in p_values(run, "half", "one", "two").items():
        yield "halves of a type", name, judged(p, np.ones(len(p), bool))


def motif_measures(run: Run) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield the same for motifs, held to shuffled copies and not."""
    truth, types = run.truth, run.truth.cell_types
    pair = truth.activities[[types.index(GROUP), types.index(REFERENCE)]]
    table = pd.DataFrame(pair.T, index=truth.motifs, columns=["group", "reference"])
    make_activities(run)
    for name, shuffled in (("motifs", run.folder / "shuffled.zarr"), ("motifs, cells alone", None)):
        out = run.folder / f"{name}.parquet"
        if not out.exists():
            atlasbasset.differential(
                run.folder / "model.zarr", run.folder / "atlas.zarr", group_by="cell_type",
                groups=[GROUP], reference=REFERENCE, motifs=run.folder / "activity.zarr",
                shuffled=shuffled, out=out,
            )  # fmt: skip
        motifs = pd.read_parquet(out).set_index("motif")
        planted = table.reindex(motifs.index)
        is_alike = planted["group"] == planted["reference"]
        rest = motifs[~is_alike]
        figures = judged(rest["p"].to_numpy(), planted.loc[rest.index, "group"].isna().to_numpy())
        share = float((motifs.loc[is_alike, "q"] < 0.05).mean())
        yield name, TESTS[0], figures | {"found of those that act alike in both": share}


PARTS = {"peaks": measures, "motifs": motif_measures}


def rows_of(runs: list[Run], parts: list[str], **sizes: float) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str, bool], list[float]] = {}
    for run in runs:
        for comparison, test, figures in (row for part in parts for row in PARTS[part](run)):
            for metric, value in figures.items():
                found.setdefault((comparison, test, metric, run.thinned), []).append(value)
    seeds = sorted({run.seed for run in runs})
    return [
        harness.row(
            "differential", f"{test}: {comparison}", metric, "1", 0.5 if thinned else 1.0, values,
            seeds=seeds, **sizes, each=[round(value, 4) for value in values],
        )
        for (comparison, test, metric, thinned), values in found.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--peaks", type=int, default=2400)
    parser.add_argument("--density", type=float, default=0.3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    args = parser.parse_args()
    runs = [
        run_of(args.folder, seed, args.cells, args.peaks, args.density, thinned=thinned)
        for seed in args.seeds
        for thinned in (False, True)
    ]
    harness.append(
        "differential",
        rows_of(runs, args.parts, density=args.density, cells=args.cells, peaks=args.peaks),
    )


if __name__ == "__main__":
    main()
