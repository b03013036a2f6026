"""What an epoch reports: auROC on a fixed sample of training peaks and on the validation peaks.

Per cell (over peaks) every cell counts, exactly. Per peak (over cells) at most `n_auroc_peaks`
validation peaks, a seeded sample, are ranked over all cells up to `n_auroc_cells`, above that over
an evenly spaced sample of them. The trunk is evaluated as it would be
used (running statistics, no augmentation, no dropout).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from atlasbasset.core.inference import embed_codes
from atlasbasset.core.runtime import gather_rows, share_of
from atlasbasset.metrics import FactoredScores, SparseLabels, auroc_columns, auroc_rows
from atlasstore.blocks import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.core.runtime import Runtime
    from atlasbasset.core.step import Learner
    from atlasbasset.engine.config import TrainConfig
    from atlasbasset.engine.data import WorkerData

__all__ = ["Monitor", "Quality"]

_TILE = 1024
_SAMPLE = 2  # stream of the seed, beside the sampler's


class Quality(NamedTuple):
    """An epoch's figures; NaN where nothing has both classes."""

    train_auroc: float
    """Mean over cells, on the fixed sample of training peaks."""
    valid_auroc_per_cell: float
    valid_auroc_per_peak: float


class Monitor:
    """Measures a learner on fixed peaks.

    Parameters
    ----------
    data
        This worker's part of the atlas.
    train, valid
        Peak rows of the two splits.
    config
        Sizes of the samples, the seed, the arithmetic.
    n_cells
        N over all workers.
    """

    def __init__(
        self,
        data: WorkerData,
        train: NDArray[np.int64],
        valid: NDArray[np.int64],
        config: TrainConfig,
        n_cells: int,
    ) -> None:
        rng = np.random.default_rng([config.seed, _SAMPLE])
        size = min(config.n_auroc_peaks, len(train))
        self._train = np.sort(rng.choice(train, size, replace=False))
        self._valid = valid
        size = min(config.n_auroc_peaks, len(valid))
        self._ranked = np.sort(rng.choice(len(valid), size, replace=False))
        self._data = data
        self._stride = -(-n_cells // config.n_auroc_cells)
        self._n_sampled = -(-n_cells // self._stride)

    def measure(self, learner: Learner, runtime: Runtime) -> Quality:
        """Return the figures; every worker calls it and gets the same."""
        train = self._embed(learner, self._train, runtime)
        valid = self._embed(learner, self._valid, runtime)
        return Quality(
            self._per_cell(learner, self._train, train, runtime),
            self._per_cell(learner, self._valid, valid, runtime),
            self._per_peak(learner, valid, runtime),
        )

    def _embed(self, learner: Learner, peaks: NDArray[np.int64], runtime: Runtime) -> Tensor:
        share = share_of(len(peaks), runtime.rank, runtime.world)
        codes = self._data.codes[torch.from_numpy(peaks[share])]
        own = embed_codes(learner.trunk, codes, compute_dtype=learner.compute_dtype)
        return gather_rows(own, share, len(peaks), runtime)

    def _scores(self, learner: Learner, h: Tensor) -> FactoredScores:
        table = learner.cells.table()
        embedding, intercept = table.tile(slice(None))
        return FactoredScores(h.cpu().numpy(), embedding.cpu().numpy(), intercept.cpu().numpy())

    def _per_cell(
        self, learner: Learner, peaks: NDArray[np.int64], h: Tensor, runtime: Runtime
    ) -> float:
        scores = self._scores(learner, h)
        labels = SparseLabels(self._data.labels.matrix(peaks))
        found = [
            auroc_columns(scores.cells(*tile), labels.cells(*tile))
            for tile in runs(scores.n_cells, _TILE)
        ]
        aurocs = np.concatenate(found)
        known = torch.tensor([np.nansum(aurocs), np.sum(~np.isnan(aurocs))], dtype=torch.float64)
        total, count = runtime.sum_(known.to(runtime.device)).tolist()
        return total / count if count else float("nan")

    def _per_peak(self, learner: Learner, h: Tensor, runtime: Runtime) -> float:
        peaks = self._valid[self._ranked]
        first = self._data.labels.start
        own = np.arange(-first % self._stride, self._data.labels.n_cells, self._stride)
        at = slice((first + self._stride - 1) // self._stride, None)
        scores = self._scores(learner, h[torch.from_numpy(self._ranked)])
        logits = _columns(scores, own)
        labels = self._data.labels.matrix(peaks)[:, own].toarray().astype(np.float32)
        whole = [self._whole(values, at, runtime) for values in (logits, labels)]
        aurocs = auroc_rows(whole[0], whole[1] > 0.5)
        return float(np.nanmean(aurocs)) if np.isfinite(aurocs).any() else float("nan")

    def _whole(self, own: NDArray[np.float32], at: slice, runtime: Runtime) -> NDArray[np.float32]:
        """Return all workers' sampled columns side by side."""
        if runtime.world == 1:
            return own
        columns = slice(at.start, at.start + own.shape[1])
        local = torch.from_numpy(np.ascontiguousarray(own.T)).to(runtime.device)
        gathered = gather_rows(local, columns, self._n_sampled, runtime)
        return np.ascontiguousarray(gathered.cpu().numpy().T)


def _columns(scores: FactoredScores, columns: NDArray[np.int64]) -> NDArray[np.float32]:
    if len(columns) == scores.n_cells:
        return np.ascontiguousarray(scores.cells(0, scores.n_cells))
    tiles = [
        scores.cells(start, stop)[:, columns[(columns >= start) & (columns < stop)] - start]
        for start, stop in runs(scores.n_cells, _TILE)
    ]
    return np.concatenate(tiles, axis=1)
