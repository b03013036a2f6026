"""How close a model is to the simulation's parameters.

The ceiling is what the true probabilities reach on the same held-out labels: counts are drawn at
random, so even the truth does not rank them perfectly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.core.config import TrunkConfig
from atlasbasset.metrics import auroc_columns, auroc_rows, label_score
from atlasstore.simulation import Truth

if TYPE_CHECKING:
    from pathlib import Path

    import anndata
    from numpy.typing import NDArray

    from atlasstore import Atlas

__all__ = [
    "Ceiling",
    "DenoisingAgreement",
    "denoising_agreement",
    "start_label_scores",
    "truth_ceiling",
]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """auROC of the true probabilities on held-out labels, means."""

    auroc_per_cell: float
    auroc_per_peak: float


@dataclass(frozen=True, slots=True)
class DenoisingAgreement:
    """Pearson's r with a cell's true log rates over the held-out peaks, means over cells."""

    denoised: float
    labels: float
    """Of the open/closed labels that the counts gave, for comparison."""


def start_label_scores(atlas: Atlas, *, k: int = 50) -> dict[int, float]:
    """Score what the fast recipe starts from: the SVD of the training peaks' labels.

    The labels are standardised cell by cell, and the first components of the cells are taken.
    """
    seen = atlas.to_anndata()[:, atlas.peak_rows("train")]
    labels = seen.X.toarray().astype(np.float64)
    spread = labels.std(axis=1, keepdims=True)
    standardised = (labels - labels.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    cells, sizes, _ = np.linalg.svd(standardised, full_matrices=False)
    dims = TrunkConfig().embedding_dim
    return label_score(cells[:, :dims] * sizes[:dims], seen.obs["cell_type"].to_numpy(), [k]).mean


def truth_ceiling(simulated: Path, atlas: Atlas) -> Ceiling:
    """Rank the atlas's test labels by the simulation's true probabilities."""
    held_out = _held_out(atlas)
    probability = Truth.load(simulated).open_probability(
        held_out.obs["cell_type"].tolist(),
        held_out.obs["depth"].to_numpy(),
        batches=held_out.obs["batch"].tolist(),
        peaks=held_out.var_names.tolist(),
    )
    scores = np.ascontiguousarray(probability.T, dtype=np.float32)
    labels = np.ascontiguousarray(held_out.X.toarray().T > 0)
    return Ceiling(
        float(np.nanmean(auroc_columns(scores, labels))),
        float(np.nanmean(auroc_rows(scores, labels))),
    )


def denoising_agreement(
    simulated: Path, atlas: Atlas, denoised: anndata.AnnData
) -> DenoisingAgreement:
    """Correlate denoised accessibility, and the labels, with the true log rates, cell by cell.

    Parameters
    ----------
    denoised
        Cells x the test peaks, in the atlas's order; linear scale, which has no depth in it, like
        the rates.
    """
    held_out = _held_out(atlas)
    truth = Truth.load(simulated)
    rates = truth.rates(truth.cell_types)
    columns = [truth.peaks.index(name) for name in held_out.var_names]
    types = [truth.cell_types.index(name) for name in held_out.obs["cell_type"]]
    log_rates = np.log(rates[:, columns])[types]
    return DenoisingAgreement(
        _mean_correlation(np.asarray(denoised.X, np.float64), log_rates),
        _mean_correlation(held_out.X.toarray().astype(np.float64), log_rates),
    )


def _held_out(atlas: Atlas) -> anndata.AnnData:
    """Return the labels of the test peaks, cells x peaks."""
    return atlas.to_anndata()[:, atlas.peak_rows("test")]


def _mean_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the mean over rows of Pearson's r; rows without variance are left out."""
    a, b = (values - values.mean(axis=1, keepdims=True) for values in (first, second))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    products = (a * b).sum(axis=1)
    return float(np.mean(products[scale > 0] / scale[scale > 0]))
