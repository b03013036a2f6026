"""`evaluate --baselines`: what else can be had from the same cells and the same split.

Two kinds of rows: predictions of held-out peaks (auROC), and embeddings of cells (label score,
neighbor score, ARI). All see labels of training peaks alone, but for the oracles, which say so.
Cost is bounded: at most 10,000 cells, and 20,000 training peaks where sequences are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from atlasbasset.core.newton import solve_cells
from atlasbasset.metrics import FactoredScores, SparseLabels, evaluate_scores, sample_rows
from atlasbasset.metrics.baselines import (
    logistic_factorisation,
    lsi,
    lsi_variants,
    open_sums,
    pca,
    unit_rows,
)
from atlasbasset.metrics.changed_labels import shuffled, thinned
from atlasbasset.metrics.mean_baselines import depth_floor, group_oracle, log_odds
from atlasbasset.metrics.sequence_baseline import fit_kmer_ridge, kmer_counts
from atlasbasset.metrics.spectral import spectral
from atlasbasset.verbs.evaluate.baseline_table import BaselineRow, BaselineTable, Judge
from atlasbasset.verbs.evaluate.retrain import retrained
from atlasbasset.verbs.shared.atlas_peaks import embed_peaks, peak_labels
from atlasstore.errors import MissingExtraError, UserInputError
from atlasstore.events import Progress, ignore
from atlasstore.text_units import count
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from atlasbasset.inference.model import Model
    from atlasbasset.metrics import PredictionQuality
    from atlasbasset.metrics.sequence_baseline import KmerRidge
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

    Found = Iterator[BaselineRow | str]
    """Rows, and a sentence for each that is left out."""

__all__ = ["Baselines", "baseline_input", "measure_baselines"]

SHARES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.1, 0.05)
"""Of the reads, as in the paper (Fig. 2); 1: the same solve on all of them."""
_MOST_FACTORISED = 50_000_000
"""Pairs of cell and peak above which no logistic factorisation is made."""
_READ_PEAKS = 1024
_L2 = 10.0


@dataclass(frozen=True, eq=False, slots=True)
class Baselines:
    """Which cells and training peaks baselines stand on."""

    cells: NDArray[np.int64]
    """Rows in the model, rising."""
    train: NDArray[np.int64]
    """The atlas's training peaks, rising."""
    sampled: NDArray[np.int64]
    """Those of them whose sequences are read, rising."""
    retrain: bool = False
    """Whether the model is also trained again on changed labels."""

    def lines(self) -> Lines:
        """Return sizes, for a plan."""
        sizes = (len(self.cells), len(self.train), len(self.sampled))
        cells, train, sampled = (count(size) for size in sizes)
        text = f"on {cells} cells and {train} training peaks, {sampled} of them embedded"
        return [("baselines", text)]


def baseline_input(
    atlas: Atlas,
    split: str,
    *,
    n_cells: int,
    retrain: bool = False,
    most_cells: int = 10_000,
    most_peaks: int = 20_000,
) -> Baselines:
    """Choose cells and training peaks.

    Raises
    ------
    UserInputError
        When the split is not held out, or there is no training peak.
    """
    if split not in ("valid", "test"):
        raise UserInputError(
            f"baselines learn from the training peaks, so the {split} peaks are not held out from "
            "them; choose the split valid or test."
        )
    train = atlas.peak_rows("train")
    if not train.size:
        raise UserInputError(f"{atlas.url} has no training peaks that baselines could learn from.")
    sampled = train[sample_rows(len(train), most_peaks, seed=0)]
    cells = sample_rows(n_cells, most_cells, seed=0).astype(np.int64)
    return Baselines(cells, train, sampled, retrain)


@dataclass(frozen=True, eq=False)
class _Data:
    """Labels of the chosen cells, and what sequences give."""

    model: Model
    atlas: Atlas
    chosen: Baselines
    held_out: NDArray[np.int64]
    """Rows of the predicted peaks."""
    learned: sparse.csr_array
    """bool (cells, training peaks)."""
    truth: sparse.csr_array
    """bool (held-out peaks, cells)."""
    h: NDArray[np.float32]
    """(sampled training peaks, E), as the model's cells were solved on."""
    h_held_out: NDArray[np.float32]
    judge: Judge

    @cached_property
    def sampled(self) -> sparse.csr_array:
        """Labels of the peaks that are embedded, bool (cells, peaks)."""
        at = np.searchsorted(self.chosen.train, self.chosen.sampled)
        return sparse.csr_array(self.learned[:, at])

    @cached_property
    def depth(self) -> NDArray[np.float64]:
        """Log odds of each cell, from the training peaks."""
        return log_odds(np.asarray(self.learned.sum(axis=1)).ravel(), self.learned.shape[1])

    @cached_property
    def labels(self) -> SparseLabels:
        """Of the held-out peaks."""
        return SparseLabels(self.truth)

    def row(
        self,
        name: str,
        *,
        n_peaks: int,
        predicted: PredictionQuality | None = None,
        embedding: NDArray[np.float32] | None = None,
    ) -> BaselineRow:
        """Return a row of the table."""
        row = self.judge.row(name, n_peaks=n_peaks, embedding=embedding)
        if predicted is None:
            return row
        return replace(
            row,
            n_held_out=len(self.held_out),
            auroc_per_cell=predicted.mean_auroc_per_cell,
            auroc_per_peak=predicted.mean_auroc_per_peak,
        )


def measure_baselines(
    chosen: Baselines,
    model: Model,
    atlas: Atlas,
    held_out: NDArray[np.int64],
    *,
    h: NDArray[np.float32],
    h_held_out: NDArray[np.float32],
    judge: Judge,
    on_event: Subscriber,
) -> BaselineTable:
    """Measure every baseline that can be had here.

    Parameters
    ----------
    held_out
        Rows of the predicted peaks.
    h, h_held_out
        float32 (peaks, E): of ``chosen.sampled`` and of `held_out`.
    judge
        Measures embeddings of ``chosen.cells``.
    """
    cells = chosen.cells
    learned = peak_labels(atlas, chosen.train, cells=cells, on_event=on_event).T.tocsr()
    truth = peak_labels(atlas, held_out, cells=cells, on_event=on_event)
    data = _Data(model, atlas, chosen, held_out, learned, truth, h, h_held_out, judge)
    rows, left_out = list[BaselineRow](), list[str]()
    steps = (_itself, _solved, _kmer_rows, _means, _embeddings)
    for done, step in enumerate(steps, 1):
        for found in step(data):
            if isinstance(found, str):
                left_out.append(found)
            else:
                rows.append(found)
        on_event(Progress("measuring baselines", done, len(steps), "kinds"))
    if chosen.retrain:
        rows += _trained_again(data, on_event)
    return BaselineTable(tuple(rows), tuple(left_out))


def _itself(data: _Data) -> Found:
    """Yield the model's own rows."""
    n_peaks = len(data.chosen.train)
    embedding, intercept = data.model.table(data.chosen.cells)
    scores = FactoredScores(data.h_held_out, embedding, intercept)
    predicted = evaluate_scores(scores, data.labels)
    own = data.model.cell_embedding[data.chosen.cells]
    yield data.row("model", n_peaks=n_peaks, predicted=predicted, embedding=own)
    if data.judge.judges:
        yield data.row("model, unit rows", n_peaks=n_peaks, embedding=unit_rows(own))


def _kmer_rows(data: _Data) -> Found:
    """Yield the 6-mer ridge of each cell, and of the mean labels of each label."""
    training, held_out = (_kmers(data.atlas, rows) for rows in (data.chosen.sampled, data.held_out))
    ridge, n_peaks = fit_kmer_ridge(training, data.sampled.T.tocsr()), len(training)
    predicted = evaluate_scores(ridge.scores(held_out), data.labels)
    yield data.row("6-mer ridge", n_peaks=n_peaks, predicted=predicted)
    if (groups := data.judge.groups) is not None:
        predicted = evaluate_scores(_of_groups(ridge, groups).scores(held_out), data.labels)
        yield data.row("6-mer ridge, label means", n_peaks=n_peaks, predicted=predicted)


def _means(data: _Data) -> Found:
    """Yield ceilings, which know the held-out labels, and a floor."""
    if (groups := data.judge.groups) is None:
        yield "Rows of label means need labels (label_key)."
    else:
        oracle = group_oracle(data.truth, groups, data.depth)
        yield data.row("mean per label and peak (oracle)", n_peaks=0, predicted=oracle)
    oracle = group_oracle(data.truth, np.zeros(len(data.depth), np.int64), data.depth)
    yield data.row("mean per peak (oracle)", n_peaks=0, predicted=oracle)
    floor = depth_floor(data.truth, data.depth)
    yield data.row("depth alone", n_peaks=len(data.chosen.train), predicted=floor)


def _solved(data: _Data) -> Found:
    """Yield rows of cells solved again on the model's trunk, on changed labels."""
    if data.model.batch is not None:
        yield (
            "Cells of a batch-corrected model are not solved again: fewer reads and shuffled labels"
            " are left out."
        )
        return
    for share in SHARES:
        labels = thinned(data.sampled, share, seed=0)
        yield _solved_row(data, f"model, cells solved on {share:.0%} of reads", labels)
    labels = shuffled(data.sampled, seed=0)
    yield _solved_row(data, "model, cells solved on shuffled labels", labels)


def _solved_row(data: _Data, name: str, labels: sparse.csr_array) -> BaselineRow:
    h = torch.from_numpy(data.h)
    l2 = float(data.model.config["train"].get("solve_l2") or _L2)
    found = solve_cells(h, open_sums(labels.astype(np.float64), h), l2=l2)
    embedding, intercept = (part.float().numpy() for part in (found.embedding, found.intercept))
    scores = FactoredScores(data.h_held_out, embedding, intercept)
    predicted = evaluate_scores(scores, data.labels)
    return data.row(name, n_peaks=len(data.h), predicted=predicted, embedding=embedding)


def _trained_again(data: _Data, on_event: Subscriber) -> Iterator[BaselineRow]:
    """Yield rows of models that were trained on changed labels."""
    n_peaks = len(data.chosen.train)
    for name, model in retrained(data.model, data.atlas, data.chosen.cells, on_event=on_event):
        h = embed_peaks(model, data.atlas, data.held_out, on_event=ignore)
        scores = FactoredScores(h, model.cell_embedding, model.intercept)
        predicted = evaluate_scores(scores, data.labels)
        yield data.row(name, n_peaks=n_peaks, predicted=predicted, embedding=model.cell_embedding)


def _of_groups(ridge: KmerRidge, groups: NDArray[np.int64]) -> KmerRidge:
    """Return the ridge of the groups' mean labels: it is linear in the labels."""
    sums = pd.DataFrame(ridge.coefficients).groupby(groups).transform("mean")
    return replace(ridge, coefficients=sums.to_numpy(np.float32))


def _kmers(atlas: Atlas, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    parts = []
    for start, stop in runs(atlas.n_peaks, _READ_PEAKS):
        at = rows[(rows >= start) & (rows < stop)] - start
        if at.size:
            flank = atlas.flank_bp
            codes = atlas.sequence_codes(start, stop)[at, flank : flank + atlas.window_bp]
            parts.append(kmer_counts(codes))
    return np.concatenate(parts)


def _embeddings(data: _Data) -> Found:
    """Yield rows of embeddings without sequences, where something is there to judge them."""
    if not data.judge.judges:
        yield "Embeddings need labels (label_key) or RNA (rna) to be judged by."
        return
    n_peaks = data.learned.shape[1]
    for name, table in _tables(data.learned):
        yield data.row(name, n_peaks=n_peaks, embedding=table)
    if data.learned.shape[0] * n_peaks <= _MOST_FACTORISED:
        found = logistic_factorisation(data.learned).embedding.float().numpy()
        yield data.row("logistic factorisation", n_peaks=n_peaks, embedding=found)
    else:
        yield f"Logistic factorisation is left out above {count(_MOST_FACTORISED)} pairs."
    try:
        yield data.row("SnapATAC2 spectral", n_peaks=n_peaks, embedding=spectral(data.learned))
    except MissingExtraError as missing:
        yield str(missing)


def _tables(labels: sparse.csr_array) -> Iterator[tuple[str, NDArray[np.float32]]]:
    yield "PCA", pca(labels)
    yield from lsi_variants(lsi(labels)).items()
