"""The training loop: epochs of steps, a record and a checkpoint at the end of each.

The loop is a function of (configuration, atlas, model store): where it stands comes from the
model's newest checkpoint, so a run that was killed goes on by being started again. Every random
number depends on (seed, epoch, step) alone; a resumed run repeats an undisturbed one exactly.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atlasbasset.core.cells import CellLayer
from atlasbasset.core.inference import compute_dtype_for
from atlasbasset.core.step import Batch, Learner
from atlasbasset.core.trunk import Trunk
from atlasbasset.engine.checkpoints import load_learner, save_learner
from atlasbasset.engine.data import WorkerData
from atlasbasset.engine.events import EpochEnd, StepDone, TrainingEnd, TrainingStart
from atlasbasset.engine.monitor import Monitor
from atlasbasset.engine.sampling import epoch_steps, n_steps, step_draws
from atlasbasset.engine.state import RunState
from atlasstore.atlas import Atlas
from atlasstore.blocks import assign_blocks
from atlasstore.model_store import ModelStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.core.runtime import Runtime
    from atlasbasset.engine.config import TrainConfig
    from atlasstore.events import Subscriber

__all__ = ["Run", "train_worker"]

_ADAM_EPS = 1e-7  # Keras' default; torch's is 1e-8


@dataclass(frozen=True, slots=True)
class Run:
    """What to train: plain values, so that it travels to any worker."""

    atlas_url: str
    model_url: str
    config: TrainConfig


def train_worker(run: Run, runtime: Runtime, on_event: Subscriber) -> None:
    """Train as one of `runtime.world` workers, from the newest checkpoint to the end.

    The model store exists already (`atlasbasset.train` makes it).
    """
    worker = _Worker(run, runtime, on_event)
    worker.start()
    while (reason := worker.state.stop_reason(run.config)) is None:
        worker.run_epoch()
    on_event(TrainingEnd(reason, worker.state.epoch))


class _Worker:
    def __init__(self, run: Run, runtime: Runtime, on_event: Subscriber) -> None:
        atlas, self.store = Atlas.open(run.atlas_url), ModelStore.open(run.model_url)
        self.config, self.runtime, self.on_event = run.config, runtime, on_event
        self.train_peaks = atlas.peak_rows("train")
        own_blocks = assign_blocks(atlas.block_positives, runtime.world)[runtime.rank]
        self.data = WorkerData(atlas, own_blocks)
        self.monitor = Monitor(
            self.data, self.train_peaks, atlas.peak_rows("valid"), run.config, atlas.n_cells
        )
        self.learner = self._new_learner(atlas.n_cells)
        self.state = RunState()
        self._saved_at = time.monotonic()

    def _new_learner(self, n_cells: int) -> Learner:
        config, labels, device = self.config, self.data.labels, self.runtime.device
        trunk = Trunk.initialised(config.trunk, seed=config.seed).to(device)
        batch = None
        if self.store.batches:
            codes = self.store.obs["scbasset_batch"].to_numpy(np.int64)
            batch = torch.from_numpy(codes[labels.start : labels.stop])
        cells = CellLayer(
            labels.n_cells,
            config.trunk.embedding_dim,
            batch=batch,
            n_batches=len(self.store.batches),
        )
        cells.initialise([(b.index, b.n_cells) for b in self.data.blocks], seed=config.seed)
        cells.to(device)
        return Learner(
            trunk=trunk,
            cells=cells,
            optimizer=_adam(trunk, cells, config),
            n_cells_total=n_cells,
            compute_dtype=compute_dtype_for(config.compute, device),
            l2_cells=config.l2_cells,
            l2_batch=config.l2_batch,
        )

    def start(self) -> None:
        """Go to where the newest checkpoint stands."""
        checkpoint = self.store.latest()
        if checkpoint is not None:
            self.state = RunState.from_json(checkpoint.state)
            load_learner(self.learner, checkpoint, first_cell=self.data.labels.start)
            if self.runtime.rank == 0:  # a kill may have come between checkpoint and copy
                self.store.write_metrics(self.state.as_json()["history"])
        self.on_event(
            TrainingStart(
                n_peaks=len(self.train_peaks),
                n_cells=self.learner.n_cells_total,
                workers=self.runtime.world,
                compute=str(self.learner.compute_dtype).removeprefix("torch."),
                device=str(self.runtime.device),
                epochs_done=self.state.epoch,
                epochs=self.config.epochs,
            )
        )

    def run_epoch(self) -> None:
        """Finish the epoch under way, from its next step."""
        steps = epoch_steps(self.train_peaks, self.config, self.state.epoch)
        done_before = sum(len(peaks) for peaks in steps[: self.state.step])
        for peaks in steps[self.state.step :]:
            self._step(peaks)
            done_before += len(peaks)
            rate = done_before / self.state.seconds
            self.on_event(StepDone(self.state.epoch + 1, self.state.step, len(steps), rate))
            if self._checkpoint_due() and self.state.step < len(steps):
                self._save()
        self._end_epoch()

    def _step(self, peaks: NDArray[np.int64]) -> None:
        began = time.perf_counter()
        loss = self.learner.step(self._batch(peaks), self.runtime)
        sums = self.runtime.sum_(torch.stack([loss.bce_sum, loss.penalty])).tolist()
        self.state.bce_sum += sums[0]
        self.state.penalty_sum += sums[1]
        self.state.step += 1
        self.state.total_steps += 1
        self.state.seconds += time.perf_counter() - began

    def _batch(self, peaks: NDArray[np.int64]) -> Batch:
        device = self.runtime.device
        draws = step_draws(len(peaks), self.config, self.state.epoch, self.state.step)
        shift, reverse, keep = (torch.from_numpy(d).to(device) for d in draws)
        codes = self.data.codes[torch.from_numpy(peaks)].to(device)
        positives = self.data.labels.positives(peaks)
        on_device = type(positives)(*(p.to(device) for p in positives))
        return Batch(codes, shift, reverse, keep, on_device)

    def _end_epoch(self) -> None:
        began = time.perf_counter()
        quality = self.monitor.measure(self.learner, self.runtime)
        record = self._record(quality._asdict(), time.perf_counter() - began)
        self.state.end_epoch(record, self.config)
        self._save()
        self.on_event(EpochEnd(record))

    def _record(self, quality: dict[str, float], seconds_measuring: float) -> dict[str, Any]:
        state, n_peaks = self.state, len(self.train_peaks)
        return {
            "epoch": state.epoch + 1,
            "loss": state.bce_sum / (n_peaks * self.learner.n_cells_total),
            "penalty": state.penalty_sum / n_steps(n_peaks, self.config.batch_size),
            **quality,
            "sequences_per_s": n_peaks / state.seconds,
            "seconds": state.seconds,
            "seconds_measuring": seconds_measuring,
        }

    def _checkpoint_due(self) -> bool:
        due = time.monotonic() - self._saved_at >= self.config.checkpoint_s
        vote = torch.tensor([float(due and self.runtime.rank == 0)], device=self.runtime.device)
        return bool(self.runtime.sum_(vote).item())  # rank 0's clock decides for all

    def _save(self) -> None:
        first = self.data.labels.start
        save_learner(self.learner, self.state, self.store, first_cell=first, runtime=self.runtime)
        self._saved_at = time.monotonic()


def _adam(trunk: Trunk, cells: CellLayer, config: TrainConfig) -> torch.optim.Adam:
    own = [cells.embedding, cells.intercept, *cells.shared_parameters()]
    return torch.optim.Adam(
        [*trunk.parameters(), *own],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=_ADAM_EPS,
        fused=True,
    )
