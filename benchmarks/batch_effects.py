"""Batch effects without a network: cells placed by labels alone, corrected in two ways, measured.

Cells are solved on the leading singular vectors of the standardised labels ("solved"), or placed
by LSI ("lsi"). From them the batches' effects are taken: none, each batch's mean (free), or the
effect given the cells' states (given_state). Measured: label score (k = 50), and how batches mix
among the cells of one label (kBET acceptance, iLISI; means over labels, weighted by cells).

Cells are simulated with planted batches (``--kinds``), or come from a file with labels and batches.

    python benchmarks/batch_effects.py [--kinds balanced unbalanced ...] [--seeds 0 1 2]
    python benchmarks/batch_effects.py --counts aml.h5ad --label-key cell_type --batch-key donor
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import anndata
import harness
import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, svds

import atlasstore
from atlasbasset.core.batch_effect import fit_mixture
from atlasbasset.core.newton import solve_cells
from atlasbasset.metrics import ilisi, kbet, label_score

DIM = 32
KINDS: dict[str, dict[str, Any]] = {
    "no effect": {"n_batches": 2, "batch_effect": 0.0},
    "composition only": {"n_batches": 2, "batch_effect": 0.0, "batch_mix": 0.6},
    "balanced": {"n_batches": 2, "batch_effect": 0.0, "batch_shift": 0.8},
    "unbalanced": {"n_batches": 2, "batch_effect": 0.0, "batch_shift": 0.8, "batch_mix": 0.6},
    "balanced, by TFs": {"n_batches": 2, "batch_effect": 0.3},
    "unbalanced, by TFs": {"n_batches": 2, "batch_effect": 0.3, "batch_mix": 0.6},
    "8 unbalanced": {"n_batches": 8, "batch_effect": 0.0, "batch_shift": 0.8, "batch_mix": 0.6},
}
MEASURES = ("label_score_k50", "kbet_within_labels", "ilisi_within_labels")


def simulated(kind: str, seed: int, cells: int) -> anndata.AnnData:
    """Return counts with planted batches, obs columns ``label`` and ``of_batch``."""
    with tempfile.TemporaryDirectory() as folder:
        atlasstore.simulate(
            Path(folder) / "s", n_cells=cells, n_peaks=1500, n_cell_types=4, n_motifs=8,
            density=0.1, seed=seed, **KINDS[kind],
        )  # fmt: skip
        return anndata.read_h5ad(Path(folder) / "s" / "counts.h5ad")


def solved(open_peaks: sparse.csr_array) -> np.ndarray:
    """Return cells solved on the labels' singular vectors: noise alike in all directions."""
    n_cells, n_peaks = open_peaks.shape
    share = np.asarray(open_peaks.mean(axis=1)).ravel()
    weight = 1 / np.sqrt(share * (1 - share))
    standardised = LinearOperator(
        open_peaks.shape,
        matvec=lambda v: weight * (open_peaks @ v.ravel() - share * v.sum()),
        rmatvec=lambda u: open_peaks.T @ (weight * u.ravel()) - (share * weight) @ u.ravel(),
        dtype=np.float64,
    )
    start = np.random.default_rng(0).standard_normal(min(n_cells, n_peaks))
    vectors = svds(standardised, DIM, v0=start)[2].T
    h = vectors * np.sqrt(n_peaks)
    sums = np.column_stack([open_peaks @ h, share * n_peaks])
    found = solve_cells(torch.from_numpy(h).float(), torch.from_numpy(sums), l2=10.0)
    root = np.linalg.cholesky(np.cov(h.T))
    return np.asarray(found.embedding) @ root


def lsi(open_peaks: sparse.csr_array) -> np.ndarray:
    """Return cells by latent semantic indexing, without its first component (depth)."""
    frequency = sparse.diags_array(1 / np.asarray(open_peaks.sum(axis=1)).ravel()) @ open_peaks
    rarity = np.log1p(open_peaks.shape[0] / np.maximum(1, np.asarray(open_peaks.sum(axis=0))))
    scaled = sparse.csr_array(frequency @ sparse.diags_array(rarity.ravel()))
    scaled.data = np.log1p(scaled.data * 1e4)
    start = np.random.default_rng(0).standard_normal(min(scaled.shape))
    u, s, _ = svds(scaled, DIM, v0=start)
    order = np.argsort(-s)[1:]
    return u[:, order] * s[order]


def effects(x: np.ndarray, batch: np.ndarray, how: str) -> np.ndarray:
    """Return what is taken from each cell, (N, E)."""
    n_batches = int(batch.max()) + 1
    if how == "none":
        return np.zeros_like(x)
    if how == "free":
        return np.array([x[batch == b].mean(0) for b in range(n_batches)])[batch]
    mixture, _ = fit_mixture(x, batch, n_batches=n_batches, rng=np.random.default_rng(0))
    return mixture.effects[batch]


def measured(x: np.ndarray, label: np.ndarray, batch: np.ndarray) -> list[float]:
    """Return what `MEASURES` names."""
    x, within, sizes = x.astype(np.float32), [], []
    for name in np.unique(label):
        own = label == name
        if np.sort(np.bincount(batch[own]))[::-1][1:2].sum() >= 10 and own.sum() > 60:
            mixing = (
                kbet(x[own], batch[own], k=25).acceptance,
                ilisi(x[own], batch[own], perplexity=15).mean,
            )
            within.append(mixing)
            sizes.append(own.sum())
    mixed = np.average(within, axis=0, weights=sizes) if within else np.full(2, np.nan)
    return [label_score(x, label, (50,)).mean[50], *mixed.tolist()]


def run(counts: anndata.AnnData, label_key: str, batch_key: str) -> dict[str, list[float]]:
    """Return the measures of every way to place and to correct."""
    open_peaks = sparse.csr_array(counts.X > 0).astype(np.float64)
    common = np.asarray(open_peaks.mean(axis=0)).ravel() >= 0.01
    open_peaks = sparse.csr_array(open_peaks[:, np.flatnonzero(common)])
    label = counts.obs[label_key].astype(str).to_numpy()
    batch = counts.obs[batch_key].astype("category").cat.codes.to_numpy(np.int64)
    found = {}
    for place in (solved, lsi):
        x = place(open_peaks)
        for how in ("none", "free", "given_state"):
            found[f"{place.__name__}, {how}"] = measured(x - effects(x, batch, how), label, batch)
    return found


def main() -> None:
    """Measure and append rows to results/batch_effects.csv; x counts batches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cells", type=int, default=1200)
    parser.add_argument("--counts", help="an .h5ad of real cells instead of simulated ones")
    parser.add_argument("--label-key", default="cell_type")
    parser.add_argument("--batch-key", default="batch")
    args = parser.parse_args()
    kinds = args.kinds if args.counts is None else [Path(args.counts).stem]
    for kind in kinds:
        if args.counts is None:
            data = [simulated(kind, seed, args.cells) for seed in args.seeds]
        else:
            data = [anndata.read_h5ad(args.counts)]
        runs = [run(counts, args.label_key, args.batch_key) for counts in data]
        n_batches = data[0].obs[args.batch_key].nunique()
        rows = [
            harness.row(
                "batch_effects", f"{kind}: {name}", measure, "1", n_batches,
                [run[name][i] for run in runs], by_seed=[round(run[name][i], 4) for run in runs],
                cells=[len(counts) for counts in data],
            )
            for name in runs[0]
            for i, measure in enumerate(MEASURES)
        ]  # fmt: skip
        harness.append("batch_effects", rows)


if __name__ == "__main__":
    main()
