"""Metrics of an epoch: auROC on a fixed sample of training peaks and of validation peaks.

A sample is at most `n_auroc_peaks` peaks of the split (seeded) and at most `n_auroc_cells` cells
(evenly spaced); on it ranks are exact, ties counted half. Atlases within those sizes are measured
whole; beyond them the cost does not grow and remains a few percent of an epoch. `evaluate`
uses all cells and peaks. The trunk is evaluated in inference mode (running statistics, no
augmentation, no dropout).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from atlasbasset.core.runtime import gather_rows
from atlasbasset.core.seeds import Stream
from atlasbasset.engine.embed_shared import embed_shared
from atlasbasset.engine.events import MEASURING
from atlasbasset.metrics import auroc_columns, auroc_rows
from atlasstore.events import ignore

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.core.runtime import Runtime
    from atlasbasset.core.step import Learner
    from atlasbasset.engine.config import TrainConfig
    from atlasbasset.engine.labels.host import WorkerData
    from atlasstore.events import Subscriber

__all__ = ["Monitor", "Quality"]


class Quality(NamedTuple):
    """An epoch's figures; NaN where nothing has both classes."""

    train_auroc: float
    """Mean over the sampled cells, on the sampled training peaks."""
    valid_auroc_per_cell: float
    valid_auroc_per_peak: float


class _Sample(NamedTuple):
    """Peaks of a split and their labels in this worker's sampled cells."""

    peaks: NDArray[np.int64]
    """Ascending."""
    labels: NDArray[np.bool_]
    """(peaks, cells)."""


class Monitor:
    """Measures a learner on fixed peaks and cells.

    Parameters
    ----------
    data
        This worker's part of the atlas.
    train, valid
        Peak rows of the two splits.
    config
        Sizes of the samples, the seed.
    n_cells
        N over all workers.
    """

    def __init__(
        self,
        data: WorkerData,
        train: NDArray[np.int64],
        valid: NDArray[np.int64],
        *,
        config: TrainConfig,
        n_cells: int,
    ) -> None:
        rng = np.random.default_rng([config.seed, Stream.SAMPLE])
        stride = -(-n_cells // config.n_auroc_cells)
        self._cells = np.arange(-data.start % stride, data.n_cells, stride)
        self._first = -(-data.start // stride)  # of all workers' sampled cells, those before ours
        self._n_sampled = -(-n_cells // stride)
        self._codes = data.codes
        self._train = self._sample(data, _chosen(train, config, rng))
        self._valid = self._sample(data, _chosen(valid, config, rng))

    def _sample(self, data: WorkerData, peaks: NDArray[np.int64]) -> _Sample:
        labels = np.empty((len(peaks), len(self._cells)), bool)
        for rows, tile in data.label_tiles(peaks):
            labels[rows] = tile[:, self._cells].toarray()
        return _Sample(peaks, labels)

    @torch.no_grad()
    def measure(
        self, learner: Learner, runtime: Runtime, *, on_event: Subscriber = ignore
    ) -> Quality:
        """Return the figures; every worker calls it and gets the same."""
        train, valid = (
            self._logits(learner, s, runtime, on_event) for s in (self._train, self._valid)
        )
        return Quality(
            self._per_cell(train, self._train, runtime),
            self._per_cell(valid, self._valid, runtime),
            self._per_peak(valid, runtime),
        )

    def _logits(
        self, learner: Learner, sample: _Sample, runtime: Runtime, on_event: Subscriber
    ) -> Tensor:
        h = embed_shared(
            learner, self._codes, sample.peaks, runtime, stage=MEASURING, on_event=on_event
        )
        table, own = learner.cells.table(), torch.from_numpy(self._cells).to(h.device)
        batch = None if table.batch is None else table.batch[own]
        sampled = table._replace(
            embedding=table.embedding[own], intercept=table.intercept[own], batch=batch
        )
        embedding, intercept = sampled.tile(slice(None))
        return torch.addmm(intercept, h, embedding.T)

    def _per_cell(self, logits: Tensor, sample: _Sample, runtime: Runtime) -> float:
        aurocs = auroc_columns(logits.cpu().numpy(), sample.labels)
        known = torch.tensor([np.nansum(aurocs), np.sum(~np.isnan(aurocs))], dtype=torch.float64)
        total, count = runtime.sum_(known.to(runtime.device)).tolist()
        return total / count if count else float("nan")

    def _per_peak(self, logits: Tensor, runtime: Runtime) -> float:
        labels = torch.from_numpy(self._valid.labels).to(logits)
        whole = [self._whole(own, runtime) for own in (logits, labels)]
        aurocs = auroc_rows(whole[0], whole[1] > 0.5)
        return float(np.nanmean(aurocs)) if np.isfinite(aurocs).any() else float("nan")

    def _whole(self, own: Tensor, runtime: Runtime) -> NDArray[np.float32]:
        """Return all workers' sampled columns side by side."""
        columns = slice(self._first, self._first + own.shape[1])
        whole = gather_rows(own.T.contiguous(), columns, self._n_sampled, runtime)
        return np.ascontiguousarray(whole.T.cpu().numpy())


def _chosen(
    peaks: NDArray[np.int64], config: TrainConfig, rng: np.random.Generator
) -> NDArray[np.int64]:
    size = min(config.n_auroc_peaks, len(peaks))
    return np.sort(rng.choice(peaks, size, replace=False))
