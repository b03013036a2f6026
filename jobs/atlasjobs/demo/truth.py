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
from atlasstore.genome.motifs import read_meme
from atlasstore.results.ism_result import importance
from atlasstore.simulation import Truth

if TYPE_CHECKING:
    from pathlib import Path

    import anndata
    from numpy.typing import NDArray

    from atlasstore import Atlas
    from atlasstore.results.ism_result import IsmResult

__all__ = [
    "Ceiling",
    "DenoisingAgreement",
    "activity_agreement",
    "denoising_agreement",
    "most_varied_peaks",
    "site_agreement",
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


def activity_agreement(simulated: Path, activity: anndata.AnnData) -> float:
    """Correlate TF activity with the planted activities, over types and motifs.

    Of both, each motif's mean over the types is taken off: the model cannot know it, as a peak's
    rate is relative to the other peaks' of its cell.

    Parameters
    ----------
    activity
        Cells x motifs, as `motif_activity` writes it; its raw activities are taken.
    """
    truth = Truth.load(simulated)
    raw = np.asarray(activity.X) * activity.var["sd"].to_numpy() + activity.var["mean"].to_numpy()
    cell_type = activity.obs["cell_type"].to_numpy()
    means = np.stack([raw[cell_type == name].mean(axis=0) for name in truth.cell_types])
    planted = truth.activities[:, [truth.motifs.index(name) for name in activity.var["motif"]]]
    found, wanted = (values - values.mean(axis=0) for values in (means, planted))
    return float(np.corrcoef(found.ravel(), wanted.ravel())[0, 1])


def most_varied_peaks(denoised: anndata.AnnData, n: int) -> list[str]:
    """Return the peaks whose denoised accessibility varies most over the cells, in their order."""
    order = np.argsort(-np.asarray(denoised.X, np.float64).std(axis=0), kind="stable")
    return [str(denoised.var_names[column]) for column in np.sort(order[:n])]


def site_agreement(simulated: Path, ism: IsmResult) -> float:
    """Rank the bases of each region and type by importance: auROC of sites that are active there.

    Active are the sites of motifs with a planted activity in the type. The mean is taken over
    regions and types.
    """
    truth = Truth.load(simulated)
    columns = ism.columns(truth.cell_types)
    codes = ism.codes(0, ism.n_regions)
    matters = importance(ism.scores(0, ism.n_regions, columns), codes)
    starts = ism.regions["span_start"].tolist()
    widths = [motif.width for motif in read_meme(simulated / "motifs.meme")]
    found = []
    for name, start, heights in zip(ism.regions.index, starts, matters, strict=True):
        places = np.zeros(heights.shape, bool)
        for motif, first in _sites_of(truth, str(name)):
            low = max(first - start, 0)
            places[low : max(first - start + widths[motif], 0)] |= truth.activities[:, motif] > 0
        found.append(auroc_columns(np.ascontiguousarray(heights), places))
    return float(np.nanmean(found))


def _sites_of(truth: Truth, peak: str) -> list[tuple[int, int]]:
    """Return motif and first base of each site of a peak."""
    rows = np.flatnonzero(truth.sites.peak == truth.peaks.index(peak))
    return list(
        zip(truth.sites.motif[rows].tolist(), truth.sites.start[rows].tolist(), strict=True)
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
