"""Prediction quality per cell and per peak, tile by tile: no P x N table exists at any time.

Letters: P peaks, N cells, E bottleneck (32).

Predictions are kept as factors: 32 numbers per peak, 33 per cell. A tile of cells (all peaks) or of
peaks (all cells) is multiplied out when it is ranked and dropped afterwards. The logit is ranked
rather than its sigmoid: the order is the same and float32 does not round neighbours into ties.

The products are float32. A matrix product may sum in another order for another tile width, so a
measure can move by the few pairs whose logits differ in the last bits: about 1e-6 in auROC.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from atlasstore.events import Progress, Subscriber, ignore

from ._plain import JsonDict, mean_of_known, plain
from .ranks import RankMeasures, auroc_columns, rank_columns, rank_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from .labels import LabelSource

__all__ = [
    "FactoredScores",
    "PredictionQuality",
    "ScoreSource",
    "evaluate_scores",
    "mean_auroc_per_cell",
    "rank_cells",
    "rank_peaks",
    "split_scores",
]

TILE_ELEMENTS = 1 << 23
"""Scores made at once: 32 MiB of float32 and 8 MiB of labels."""


class ScoreSource(Protocol):
    """Predictions for P peaks x N cells, handed out a tile at a time."""

    n_peaks: int
    n_cells: int

    def cells(self, start: int, stop: int) -> NDArray[np.float32]:
        """Give cells [start, stop), 0-based half-open: float32 (P, stop - start)."""

    def peaks(self, start: int, stop: int) -> NDArray[np.float32]:
        """Give peaks [start, stop), 0-based half-open: float32 (stop - start, N)."""


class FactoredScores:
    """Logits ``h @ embedding.T + intercept`` in factored form.

    Parameters
    ----------
    h
        float32, shape (P, E): the trunk's bottleneck output of each peak.
    embedding
        float32, shape (N, E). For a batch-corrected model pass ``W + V[batch of the cell]``.
    intercept
        float32, shape (N,). For a batch-corrected model pass ``b + c[batch of the cell]``.

    Raises
    ------
    ValueError
        The factors do not fit together.
    """

    def __init__(
        self,
        h: NDArray[np.float32],
        embedding: NDArray[np.float32],
        intercept: NDArray[np.float32],
    ) -> None:
        h, embedding, intercept = (np.asarray(x, np.float32) for x in (h, embedding, intercept))
        fits = h.ndim == embedding.ndim == 2 and h.shape[1] == embedding.shape[1]
        if not fits or intercept.shape != embedding.shape[:1]:
            raise ValueError(
                "Factors must be h (P, E), embedding (N, E) and intercept (N,), not"
                f" {h.shape}, {embedding.shape} and {intercept.shape}."
            )
        self.n_peaks, self.n_cells = len(h), len(embedding)
        self._h, self._embedding, self._intercept = h, embedding, intercept

    def cells(self, start: int, stop: int) -> NDArray[np.float32]:
        """Give logits of cells [start, stop): float32 (P, stop - start), column-major."""
        by_cell = self._embedding[start:stop] @ self._h.T
        by_cell += self._intercept[start:stop, None]
        return by_cell.T

    def peaks(self, start: int, stop: int) -> NDArray[np.float32]:
        """Give logits of peaks [start, stop): float32 (stop - start, N)."""
        by_peak = self._h[start:stop] @ self._embedding.T
        by_peak += self._intercept
        return by_peak


@dataclass(frozen=True, slots=True)
class PredictionQuality:
    """auROC and auPR of every cell (over peaks) and every peak (over cells), float64.

    A cell or peak whose labels are all one class has NaN, and is left out of the means and counted.
    auPR is scikit-learn's average precision. Source: docs/method.md, "Measures".
    """

    auroc_per_cell: NDArray[np.float64]
    """Shape (N,)."""
    aupr_per_cell: NDArray[np.float64]
    """Shape (N,)."""
    auroc_per_peak: NDArray[np.float64]
    """Shape (P,)."""
    aupr_per_peak: NDArray[np.float64]
    """Shape (P,)."""

    @property
    def n_cells_left_out(self) -> int:
        """Cells with one class of label."""
        return int(np.isnan(self.auroc_per_cell).sum())

    @property
    def n_peaks_left_out(self) -> int:
        """Peaks with one class of label."""
        return int(np.isnan(self.auroc_per_peak).sum())

    @property
    def mean_auroc_per_cell(self) -> float:
        """Mean over the cells that have both classes; NaN where there is none."""
        return mean_of_known(self.auroc_per_cell)

    @property
    def mean_aupr_per_cell(self) -> float:
        """Mean over the cells that have both classes; NaN where there is none."""
        return mean_of_known(self.aupr_per_cell)

    @property
    def mean_auroc_per_peak(self) -> float:
        """Mean over the peaks that have both classes; NaN where there is none."""
        return mean_of_known(self.auroc_per_peak)

    @property
    def mean_aupr_per_peak(self) -> float:
        """Mean over the peaks that have both classes; NaN where there is none."""
        return mean_of_known(self.aupr_per_peak)

    def as_json(self) -> JsonDict:
        """Give means and counts (not the arrays); a mean over nothing is None."""
        return {
            "auroc_per_cell": plain(self.mean_auroc_per_cell),
            "aupr_per_cell": plain(self.mean_aupr_per_cell),
            "auroc_per_peak": plain(self.mean_auroc_per_peak),
            "aupr_per_peak": plain(self.mean_aupr_per_peak),
            "n_cells": len(self.auroc_per_cell),
            "n_peaks": len(self.auroc_per_peak),
            "n_cells_left_out": self.n_cells_left_out,
            "n_peaks_left_out": self.n_peaks_left_out,
        }


def evaluate_scores(
    scores: ScoreSource,
    labels: LabelSource,
    *,
    workers: int | None = None,
    on_event: Subscriber = ignore,
    tile_elements: int = TILE_ELEMENTS,
) -> PredictionQuality:
    """Measure predictions per cell and per peak, exactly.

    Parameters
    ----------
    scores
        Predictions, for example `FactoredScores`.
    labels
        Accessibility of the same peaks and cells in the same order, for example `SparseLabels`.
    workers
        Threads for the ranking; by default the CPU cores this process may use.
    on_event
        Called with `Progress` after every tile.
    tile_elements
        Scores made at once.

    Raises
    ------
    ValueError
        Scores and labels differ in shape, or a score is NaN.
    """
    cells, peaks = (
        rank(scores, labels, workers=workers, on_event=on_event, tile_elements=tile_elements)
        for rank in (rank_cells, rank_peaks)
    )
    return PredictionQuality(
        cells.auroc, cells.average_precision, peaks.auroc, peaks.average_precision
    )


def rank_cells(
    scores: ScoreSource,
    labels: LabelSource,
    *,
    workers: int | None = None,
    on_event: Subscriber = ignore,
    tile_elements: int = TILE_ELEMENTS,
) -> RankMeasures:
    """Measure every cell over the peaks; see `evaluate_scores`."""
    _check_same_shape(scores, labels)
    return split_scores(
        scores.cells,
        labels.cells,
        scores.n_cells,
        length=scores.n_peaks,
        measure=partial(rank_columns, workers=workers),
        unit="cells",
        on_event=on_event,
        tile_elements=tile_elements,
    )


def rank_peaks(
    scores: ScoreSource,
    labels: LabelSource,
    *,
    workers: int | None = None,
    on_event: Subscriber = ignore,
    tile_elements: int = TILE_ELEMENTS,
) -> RankMeasures:
    """Measure every peak over the cells; see `evaluate_scores`."""
    _check_same_shape(scores, labels)
    return split_scores(
        scores.peaks,
        labels.peaks,
        scores.n_peaks,
        length=scores.n_cells,
        measure=partial(rank_rows, workers=workers),
        unit="peaks",
        on_event=on_event,
        tile_elements=tile_elements,
    )


def mean_auroc_per_cell(
    h: NDArray[np.float32],
    embedding: NDArray[np.float32],
    intercept: NDArray[np.float32],
    labels: LabelSource,
    *,
    workers: int | None = None,
    tile_elements: int = TILE_ELEMENTS,
) -> float:
    """Average the auROC over cells that have both classes: what an epoch reports.

    Takes the factors of `FactoredScores` and the labels of the same peaks and cells; NaN where no
    cell has both classes. Peaks or cells may be a sample of the atlas: pass their rows.
    """
    scores = FactoredScores(h, embedding, intercept)
    _check_same_shape(scores, labels)
    tiles = [
        auroc_columns(scores.cells(start, stop), labels.cells(start, stop), workers=workers)
        for start, stop in _tiles(scores.n_cells, length=scores.n_peaks, elements=tile_elements)
    ]
    return mean_of_known(np.concatenate([np.empty(0), *tiles]))


def split_scores(
    scores_tile: Callable[[int, int], NDArray[np.float32]],
    labels_tile: Callable[[int, int], NDArray[np.bool_]],
    n: int,
    *,
    length: int,
    measure: Callable[[NDArray[np.float32], NDArray[np.bool_]], RankMeasures],
    unit: str,
    on_event: Subscriber = ignore,
    tile_elements: int = TILE_ELEMENTS,
) -> RankMeasures:
    """Measure `n` cells (or peaks) in tiles made on demand.

    Parameters
    ----------
    scores_tile, labels_tile
        Give items [start, stop), 0-based half-open.
    n
        Items in all.
    length
        Labels per item.
    measure
        `rank_columns` for tiles of cells, `rank_rows` for tiles of peaks.
    unit
        What an item is called in events: cells or peaks.
    on_event
        Called with `Progress` after every tile.
    tile_elements
        Labels of a tile, about 8 million.
    """
    measured = RankMeasures(np.full(n, np.nan), np.full(n, np.nan))
    for start, stop in _tiles(n, length=length, elements=tile_elements):
        tile = measure(scores_tile(start, stop), labels_tile(start, stop))
        for whole, part in zip(measured, tile, strict=True):
            whole[start:stop] = part
        on_event(Progress(f"ranking {unit}", stop, n, unit))
    return measured


def _tiles(n: int, *, length: int, elements: int) -> Iterator[tuple[int, int]]:
    step = max(1, elements // max(1, length))
    for start in range(0, n, step):
        yield start, min(start + step, n)


def _check_same_shape(scores: ScoreSource, labels: LabelSource) -> None:
    predicted = scores.n_peaks, scores.n_cells
    observed = labels.n_peaks, labels.n_cells
    if predicted != observed:
        raise ValueError(
            f"Predictions are for {predicted[0]} peaks x {predicted[1]} cells but labels are"
            f" {observed[0]} x {observed[1]}; pass the same peaks and cells."
        )
