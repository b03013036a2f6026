"""Calibration and power of `differential` on simulated truth, beside Wilcoxon tests.

Two cell types are compared. A peak is null where it has no site of a TF whose activity differs
between the two; a motif is null where it was never planted. Planted TFs whose activity does not
differ are counted by themselves: a peak has one leading TF, so their sites stand where sites of
other TFs do not. Peaks are also compared with the cells of the first type thinned to half of their
fragments, as a sample that was sequenced less. A third comparison has no truth to find: cells of
one type are dealt to two groups by chance, deep cells to the first one more often (motifs: 20
times). Wilcoxon tests are on raw counts, on counts per depth, and on the motifs' activities.

    python benchmarks/differential.py FOLDER --part motifs [--seeds 0 1 2 3 4] [--cells 600]
        [--peaks 3000] [--density 0.3] [--epochs 8]
    python benchmarks/differential.py FOLDER --part peaks --density 0.08 --epochs 1

Simulations and models are kept in FOLDER and made where it has none. Rows go to
results/differential.csv: the null p-values below 0.05, the false discoveries and the power at
q < 0.05, and the power where the truth would hold the false discoveries to 5 %. A peak's test knows
the model by its cells' depth alone, for which one epoch does.
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
from atlasbasset.verbs.differential.activities import test_motifs
from atlasbasset.verbs.differential.design import Contrast
from atlasbasset.verbs.shared.atlas_peaks import embed_peaks
from atlasstore import preprocess
from atlasstore.atlas.atlas import Atlas
from atlasstore.events import ignore
from atlasstore.results.result import Result
from atlasstore.simulation import Truth, simulate
from atlasstore.simulation.builtin_motifs import builtin_motifs

if TYPE_CHECKING:
    from collections.abc import Iterator

TRUNK = TrunkConfig(
    window_bp=384, stem_filters=48, tower_filters=(32,) * 6, prebottleneck_filters=32,
    embedding_dim=16,
)  # fmt: skip
"""A small trunk on the middle of each peak, where sites are."""
N_HALVES = 20
"""Times that a type's cells are dealt to two groups, for the motifs."""
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
    folder: Path,
    seed: int,
    n_cells: int,
    n_peaks: int,
    density: float,
    *,
    epochs: int = 8,
    thinned: bool = False,
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
        preprocess(
            counts, genome=genome, out=place / "atlas.zarr", min_cell_fraction=0.0,
            window_bp=TRUNK.window_bp,
        )  # fmt: skip
        config = TrainConfig.recipe(
            "fast", epochs=epochs, batch_size=16, trunk=TRUNK, seed=seed, n_auroc_peaks=200
        )
        atlasbasset.train(place / "atlas.zarr", out=place / "model.zarr", config=config)
    return Run(place, Truth.load(place / "simulated"), counts, thinned, seed)


def make_activities(run: Run) -> None:
    """Insert motifs, and shuffled copies of them, where that has not been done."""
    for name, shuffled in (("activity", 0), ("shuffled", 12)):
        if not (run.folder / f"{name}.zarr").exists():
            atlasbasset.motif_activity(
                run.folder / "model.zarr", run.folder / "atlas.zarr", motifs=builtin_motifs(),
                out=run.folder / f"{name}.zarr", n_backgrounds=100, shuffled=shuffled,
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
    """Yield the same for motifs, held to shuffled copies and to the draw of cells alone."""
    truth, types = run.truth, run.truth.cell_types
    pair = truth.activities[[types.index(GROUP), types.index(REFERENCE)]]
    planted = pd.DataFrame(pair.T, index=truth.motifs, columns=["group", "reference"])
    make_activities(run)
    given = Compared.of(run)
    types_p = given.p_values(run.counts.obs["cell_type"], GROUP, REFERENCE)
    planted = planted.reindex(given.motifs)
    is_alike = (planted["group"] == planted["reference"]).to_numpy()
    is_null = planted["group"].isna().to_numpy()
    for name, p in types_p.items():
        figures = judged(p[~is_alike], is_null[~is_alike])
        share = float((false_discovery_control(p)[is_alike] < 0.05).mean())
        yield "motifs", name, figures | {"found of those that act alike in both": share}
    rng, found = np.random.default_rng(run.seed), list[dict[str, np.ndarray]]()
    for _ in range(N_HALVES):
        found.append(given.p_values(halves(run.counts, rng), "one", "two"))
    for name in types_p:
        p = np.concatenate([one[name] for one in found])
        yield "motifs, halves of a type", name, judged(p, np.ones(len(p), bool))


class Compared(NamedTuple):
    """Activities of a run's motifs and of their copies."""

    activity: Result
    shuffled: Result
    z: np.ndarray
    depth: np.ndarray
    motifs: list[str]

    @classmethod
    def of(cls, run: Run) -> Compared:
        """Open what `make_activities` made."""
        model = atlasbasset.load_model(run.folder / "model.zarr")
        atlas = Atlas.open(run.folder / "atlas.zarr")
        mean = embed_peaks(model, atlas, np.arange(0, atlas.n_peaks, 2), on_event=ignore).mean(0)
        embedding, intercept = model.table()
        activity, shuffled = (
            Result.open(run.folder / f"{name}.zarr") for name in ("activity", "shuffled")
        )
        names = [str(name) for name in activity.var["motif"]]
        depth = embedding @ mean + intercept
        return cls(activity, shuffled, activity.rows("X"), depth.astype(float), names)

    def p_values(self, labels: pd.Series, group: str, reference: str) -> dict[str, np.ndarray]:
        """Return each test's p-value of each motif."""
        side = np.asarray(labels.astype(object))
        codes = np.where(side == group, 0, np.where(side == reference, 1, -1)).astype(np.int64)
        given = (
            [Contrast(group, reference, 0, 1)], self.activity, codes,
            np.empty((len(codes), 0), np.int64), self.depth, (),
        )  # fmt: skip
        (table,) = test_motifs(*given, shuffled=self.shuffled, on_event=ignore)
        p = mannwhitneyu(self.z[codes == 0], self.z[codes == 1]).pvalue
        return {
            "differential, held to copies": table["p"].to_numpy(),
            "differential, cells alone": table["cells_p"].to_numpy(),
            "Wilcoxon, activities": np.asarray(p),
        }


PARTS = {"peaks": measures, "motifs": motif_measures}


def rows_of(runs: list[Run], part: str, **sizes: float) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str, bool], list[float]] = {}
    for run in runs:
        for comparison, test, figures in PARTS[part](run):
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
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--cells", type=int, default=600)
    parser.add_argument("--peaks", type=int, default=3000)
    parser.add_argument("--density", type=float, default=0.3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--part", choices=PARTS, required=True)
    args = parser.parse_args()
    sizes = {"n_cells": args.cells, "n_peaks": args.peaks, "density": args.density}
    runs = [
        run_of(args.folder, seed, **sizes, epochs=args.epochs, thinned=thinned)
        for seed in args.seeds
        for thinned in ((False, True) if args.part == "peaks" else (False,))
    ]
    harness.append("differential", rows_of(runs, args.part, **sizes, epochs=args.epochs))


if __name__ == "__main__":
    main()
