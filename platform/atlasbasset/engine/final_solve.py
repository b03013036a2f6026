"""The cells solved exactly within training: at its start, between epochs, and at its end.

At the end peaks may be solved in turn with them (`peak_deviations`). Where gradients alone have
told batches from cells, the end only divides each sum of a cell's row and its batch's anew.
"""

from __future__ import annotations

import time
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import torch

from atlasbasset.engine.batch_effects import BatchSettings, estimate_effects
from atlasbasset.engine.batch_means import set_batches
from atlasbasset.engine.embed_shared import embed_shared
from atlasbasset.engine.events import CellsSolved, PeaksSolved
from atlasbasset.engine.peak_deviations import DeviationSettings, deviate
from atlasbasset.engine.solving import solve_layer
from atlasstore.genome.peaks import peaks_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from atlasbasset.core.runtime import Runtime
    from atlasbasset.core.step import Learner
    from atlasbasset.engine.config import TrainConfig
    from atlasbasset.engine.labels.host import WorkerData
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["Solver"]


@dataclass(frozen=True, slots=True)
class Solver:
    """Solves a worker's cells on the trunk as it is; all workers call it together."""

    learner: Learner
    atlas: Atlas
    data: WorkerData
    peaks: NDArray[np.int64]
    """Rows of the training peaks, ascending."""
    _: KW_ONLY
    config: TrainConfig
    runtime: Runtime
    on_event: Subscriber

    def solve(self, epoch: int, h: torch.Tensor | None = None) -> dict[str, Any]:
        """Solve every cell on `h`, (P, E) float32, or on what the trunk gives; return a record."""
        began = time.perf_counter()
        solved = solve_layer(
            self.learner,
            self.data,
            self.peaks,
            self.runtime,
            l2=self._l2(),
            h=self._embed() if h is None else h,
            batches=self.batch_settings(),
            on_event=self.on_event,
        )
        record = {**solved._asdict(), "epoch": epoch, "seconds": time.perf_counter() - began}
        self.on_event(CellsSolved(record))
        return record

    def solve_all(self, epoch: int) -> tuple[dict[str, Any], dict[str, torch.Tensor] | None]:
        """Solve the cells, and the peaks in turn with them where they may deviate.

        Returns
        -------
        The record, and what the checkpoint holds of the peaks; None where none deviates.
        """
        if not self.config.peak_deviations:
            return self.solve(epoch), None
        h = self._embed()
        first, began = self.solve(epoch, h), time.perf_counter()
        found = deviate(
            self.learner,
            self.data,
            self.peaks,
            h,
            self.runtime,
            self._deviation_settings(),
            on_event=self.on_event,
        )
        solved = {} if found.solved is None else found.solved._asdict()
        if found.said is not None:
            self.learner.trunk.bottleneck.append_readout(*found.said)
        seconds = time.perf_counter() - began
        record = {**found.choice._asdict(), "explained": found.explained, "seconds": seconds}
        self.on_event(PeaksSolved({**record, **solved}))
        stored = self._stored_peaks(found.deviation) if found.choice.rounds else None
        return {**first, **solved, "peak_deviations": record}, stored

    def divide(self) -> None:
        """Divide each sum of a cell's row and its batch's anew: predictions stay."""
        cells = self.learner.cells
        found = estimate_effects(cells, self._embed(), self.runtime, self.batch_settings())
        set_batches(cells, found.effects)

    def batch_settings(self) -> BatchSettings:
        """Return how batches are told from cells, in the solve's units."""
        config = self.config
        pull = 2 * config.l2_batch * self._pairs() / self._l2()
        return BatchSettings(config.batch_effect, pull, config.solve_l2, config.seed)

    def _embed(self) -> torch.Tensor:
        self.learner.trunk.eval()
        return embed_shared(
            self.learner, self.data.codes, self.peaks, self.runtime, on_event=self.on_event
        )

    def _stored_peaks(self, deviation: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the model's checkpoint holds: rows of all of the atlas's peaks."""
        whole = deviation.new_zeros(self.atlas.n_peaks, deviation.shape[1])
        whole[torch.from_numpy(self.peaks).to(whole.device)] = deviation
        digest = torch.from_numpy(peaks_digest(self.atlas.var).copy())
        return {"deviation": whole, "peaks_sha256": digest}

    def _pairs(self) -> int:
        return len(self.peaks) * self.learner.n_cells_total

    def _l2(self) -> float:
        """Return the solves' weight: never less than what `l2_cells` means for a mean loss."""
        return max(self.config.solve_l2, 2 * self.config.l2_cells * self._pairs())

    def _deviation_settings(self) -> DeviationSettings:
        config = self.config
        return DeviationSettings(
            l2_cells=self._l2(),
            rounds=config.peak_rounds,
            weight=config.peak_l2,
            open_share=self.atlas.n_positives / (self.atlas.n_peaks * self.atlas.n_cells),
            batches=self.batch_settings(),
            seed=config.seed,
        )
