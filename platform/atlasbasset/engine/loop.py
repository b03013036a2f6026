"""The training loop: epochs of steps, a record and a checkpoint at the end of each.

The loop is a function of (configuration, atlas, model store): its position comes from the
model's newest checkpoint, so a killed run is resumed by starting it again. Every random
number depends on (seed, epoch, step) alone; a resumed run repeats an undisturbed one exactly.

An interrupt waits for the end of a step and leaves a checkpoint there. Workers in other processes
are asked instead: they agree on a step, save it, and return.

Nothing in a step waits for the device: losses are summed there and fetched with the next
checkpoint.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from atlasbasset.core.step import StepPace
from atlasbasset.engine.batch_means import centre_batches, clear_batches, set_batches
from atlasbasset.engine.batch_start import effects_at_start, inseparable_batches
from atlasbasset.engine.batches import Feeder
from atlasbasset.engine.build_learner import new_average, new_learner
from atlasbasset.engine.cell_sampling import CellSampling
from atlasbasset.engine.checkpoints import Saver, load_average, load_learner
from atlasbasset.engine.events import (
    EpochEnd,
    EpochStart,
    StepDone,
    TrainingEnd,
    TrainingStart,
)
from atlasbasset.engine.final_solve import Solver
from atlasbasset.engine.interrupts import Departure, held_back, never
from atlasbasset.engine.labels.host import WorkerData
from atlasbasset.engine.learning_rate import learning_rate
from atlasbasset.engine.memory.measured import peak_bytes
from atlasbasset.engine.state import RunState
from atlasbasset.engine.svd_start import leading_vectors, start_from_svd
from atlasbasset.engine.validation import Monitor
from atlasstore.atlas.atlas import Atlas
from atlasstore.events import Notice
from atlasstore.memory import keeping_freed
from atlasstore.models.model_store import ModelStore
from atlasstore.zarrio.blocks import assign_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from atlasbasset.core.runtime import Runtime
    from atlasbasset.core.step import Batch
    from atlasbasset.engine.config import TrainConfig
    from atlasbasset.engine.memory.places import CodePlace, LabelPlace
    from atlasbasset.engine.svd_start import Placed
    from atlasstore.events import Subscriber

__all__ = ["Run", "train_worker"]

_STEPS_BETWEEN_VOTES = {"cpu": 1}
_FEWER_VOTES = 16
"""Several workers agree on checkpoints every so many steps: a device waits when they do."""


@dataclass(frozen=True, slots=True)
class Run:
    """What to train: plain values, so that it travels to any worker."""

    atlas_url: str
    model_url: str
    config: TrainConfig
    labels: LabelPlace = "ram"
    """Where each worker's labels are; "streamed" goes with ``config.group_peaks``."""
    codes: CodePlace = "ram"
    """Where the sequences are."""


def train_worker(
    run: Run,
    runtime: Runtime,
    on_event: Subscriber,
    *,
    end_asked: Callable[[], bool] = never,
    node_leaves: Callable[[], bool] = never,
) -> None:
    """Train as one of `runtime.world` workers, from the newest checkpoint to the end.

    The model store exists already (`atlasbasset.train` makes it).

    Parameters
    ----------
    run
        What to train.
    runtime
        This worker's view of the run.
    on_event
        Called with events.
    end_asked
        Asked now and then. Once it says yes to a worker, all of them write a checkpoint, where
        training has begun, and return.
    node_leaves
        Asked by all workers at once, every few seconds: whether one of their nodes is about to be
        taken away. From then on a checkpoint is begun as soon as the last one is written.

    Raises
    ------
    KeyboardInterrupt
        When it interrupts a worker that is alone; there is a checkpoint of its last step then.
    """
    worker = _Worker(run, runtime, on_event, end_asked, node_leaves)
    try:
        with keeping_freed():  # every step needs the same arrays
            reason = worker.run()
    except KeyboardInterrupt:
        if runtime.world == 1:  # alone it need not agree with others
            worker.keep()
        raise
    except _EndAsked:
        worker.keep()
        return
    finally:
        worker.saver.close()
    on_event(TrainingEnd(reason, worker.state.epoch))


class _EndAsked(Exception):
    """The workers have agreed to end here."""


class _Worker:
    def __init__(
        self,
        run: Run,
        runtime: Runtime,
        on_event: Subscriber,
        end_asked: Callable[[], bool],
        node_leaves: Callable[[], bool],
    ) -> None:
        self._end_asked = end_asked
        self._departure = Departure(node_leaves)
        atlas, self.store = Atlas.open(run.atlas_url), ModelStore.open(run.model_url)
        self.atlas, self.config, self.runtime, self.on_event = atlas, run.config, runtime, on_event
        self.train_peaks = atlas.peak_rows("train")
        own_blocks = assign_blocks(atlas.block_positives, runtime.world)[runtime.rank]
        self.data = WorkerData(
            atlas,
            own_blocks,
            labels=run.labels,
            codes=run.codes,
            device=runtime.device,
            on_event=on_event,
        )
        self.monitor = Monitor(
            self.data,
            self.train_peaks,
            atlas.peak_rows("valid"),
            config=run.config,
            n_cells=atlas.n_cells,
        )
        self.learner = new_learner(
            run.config, self.data, self.store, n_cells=atlas.n_cells, device=runtime.device
        )
        self.solver = Solver(
            self.learner,
            atlas,
            self.data,
            self.train_peaks,
            config=run.config,
            runtime=runtime,
            on_event=on_event,
        )
        self.average = new_average(self.learner, run.config)
        self.sampling = CellSampling.plan(
            atlas.n_cells, run.config.cells_per_step, seed=run.config.seed
        )
        self.feeder = Feeder(
            self.data,
            self.train_peaks,
            config=run.config,
            cells=self.sampling,
            device=runtime.device,
        )
        self.saver = Saver(self.store, first_cell=self.data.start, runtime=runtime)
        self.state = RunState()
        self._sums = torch.zeros(2, dtype=torch.float64, device=runtime.device)
        """Loss and penalty of the epoch under way: rank 0's begin at what a checkpoint holds."""
        self._saved_at = time.monotonic()
        self._peaks: dict[str, torch.Tensor] | None = None
        """The peaks' deviations, once they are solved."""
        self._saved: int | None = None
        """Number of the checkpoint that this process has begun or loaded last."""
        self._is_whole = False
        """Whether parameters and state are those after the same step."""

    def run(self) -> str:
        """Train to the end; return why it came."""
        self._end_if_asked()
        self.start()
        while (reason := self.state.stop_reason(self.config)) is None:
            self._end_if_asked()
            self.run_epoch()
        self.finish()
        return reason

    def keep(self) -> None:
        """Save the last step, unless it is saved already or something is changed half-way."""
        if self._is_whole and self.state.checkpoint != self._saved:
            self._save()
        self.saver.finish()

    def start(self) -> None:
        """Go to where the newest checkpoint stands, or to the start."""
        checkpoint = self.store.latest()
        if checkpoint is None:
            self._begin()
        else:
            self.state = RunState.from_json(checkpoint.state)
            self._saved = self.state.checkpoint
            if self.runtime.rank == 0:
                self._sums += self._sums.new_tensor([self.state.bce_sum, self.state.penalty_sum])
            load_learner(self.learner, checkpoint, first_cell=self.data.start)
            if self.average is not None:
                load_average(self.average, checkpoint)
            if self.runtime.rank == 0:  # a kill may have come between checkpoint and copy
                self.store.write_metrics(self.state.as_json()["history"])
        self._is_whole = True
        self.on_event(
            TrainingStart(
                n_peaks=len(self.train_peaks),
                n_cells=self.learner.n_cells_total,
                workers=self.runtime.world,
                compute=self.learner.arithmetic,
                device=str(self.runtime.device),
                epochs_done=self.state.epoch,
                epochs=self.config.epochs,
                cells_per_step=self._cells_per_step(),
                settings=self.config.as_json(),
            )
        )

    def _cells_per_step(self) -> int | None:
        one_in = self.sampling.one_in
        return None if one_in == 1 else self.atlas.n_cells // one_in

    def _begin(self) -> None:
        """Give the cell layer the start that is asked for; random it is already."""
        cells, placed = self.learner.cells, None
        if self.config.cell_start != "random":
            clear_batches(cells)
        if self.config.cell_start == "svd":
            placed = start_from_svd(
                cells,
                self.data,
                self.train_peaks,
                self.runtime,
                n_cells=self.atlas.n_cells,
                n_positives=self.atlas.n_positives,
                seed=self.config.seed,
                on_event=self.on_event,
            )
        if cells.batch is not None:
            self._begin_batches(placed)
        if self.config.cell_start == "solve":
            self._solve()

    def _begin_batches(self, placed: Placed | None) -> None:
        """Say where no method could tell batches from cells; place them where cells are placed."""
        config, cells = self.config, self.learner.cells
        vectors = placed.vectors if placed is not None else self._leading_vectors()
        found = effects_at_start(
            cells,
            self.data,
            self.train_peaks,
            vectors,
            self.runtime,
            self.solver.batch_settings(),
        )
        names, given_state = self.store.batches, config.batch_effect == "given_state"
        notice = inseparable_batches(
            str(config.batch_key), names, found.groups, given_state=given_state
        )
        if notice is not None:
            self.state.notices.append(notice)
            self.on_event(Notice(notice))
        if placed is not None and given_state:
            set_batches(cells, found.effects @ torch.from_numpy(placed.to_embedding))
        elif placed is not None:
            centre_batches(cells, self.runtime)

    def _leading_vectors(self) -> NDArray[np.float64]:
        return leading_vectors(
            self.data,
            self.train_peaks,
            self.runtime,
            dim=self.learner.cells.embedding.shape[1],
            n_positives=self.atlas.n_positives,
            seed=self.config.seed,
        )

    def run_epoch(self) -> None:
        """Finish the epoch under way, from its next step."""
        self.state.final_solve, self.state.divided, self._peaks = None, False, None
        n_steps, batches = self.feeder.rest_of_epoch(self.state)
        n_done = len(self.train_peaks) * self.state.step // n_steps
        seconds_before, waited_before = self.state.seconds, self.state.seconds_waiting
        began = time.perf_counter()
        self.on_event(EpochStart(self.state.epoch + 1, self.state.step, n_steps))
        for batch in batches:
            with held_back():
                self._step(batch, n_steps)
                self.state.seconds = seconds_before + time.perf_counter() - began
                self.state.seconds_waiting = waited_before + batches.waited_s
                if self.state.step < n_steps:
                    self._tend_checkpoints()
            n_done += len(batch.codes)
            rate = n_done / self.state.seconds
            self.on_event(StepDone(self.state.epoch + 1, self.state.step, n_steps, rate))
        self._collect_losses()  # waits for the device
        self.state.seconds = seconds_before + time.perf_counter() - began
        self._end_epoch(n_steps)

    def _step(self, batch: Batch, n_steps: int) -> None:
        state = self.state
        pace = StepPace(
            learning_rate(self.config, state.epoch, state.step, n_steps),
            self.sampling.visits(state.total_steps),
            train_trunk=state.epoch >= self.config.freeze_epochs,
        )
        loss = self.learner.step(batch, self.runtime, pace)
        if self.average is not None:
            self.average.update_parameters(self.learner.trunk)
        self._sums += torch.stack([loss.bce_sum, loss.penalty])
        state.step += 1
        state.total_steps += 1

    def _collect_losses(self) -> None:
        """Fetch the running sums: never added up in parts, so a resumed sum is the same sum."""
        self.state.bce_sum, self.state.penalty_sum = self.runtime.sum_(self._sums.clone()).tolist()

    def _end_epoch(self, n_steps: int) -> None:
        if self.config.solve_every and not (self.state.epoch + 1) % self.config.solve_every:
            self._solve()
        began = time.perf_counter()
        quality = self.monitor.measure(self.learner, self.runtime, on_event=self.on_event)
        seconds = time.perf_counter() - began
        record = self._record(quality._asdict(), n_steps, seconds)
        with held_back():
            self.state.end_epoch(record, self.config)
            self._sums.zero_()
            self._is_whole = True
            self._save()
        self.on_event(EpochEnd(record))

    def _record(self, quality: dict[str, float], n_steps: int, measuring: float) -> dict[str, Any]:
        state, n_peaks = self.state, len(self.train_peaks)
        return {
            "epoch": state.epoch + 1,
            "loss": state.bce_sum / (n_peaks * self.learner.n_cells_total),
            "penalty": state.penalty_sum / n_steps,
            **quality,
            "workers": self.runtime.world,
            "sequences_per_s": n_peaks / state.seconds,
            "seconds": state.seconds,
            "seconds_waiting": state.seconds_waiting,
            "seconds_measuring": measuring,
            "memory_bytes": peak_bytes(self.runtime.device),
        }

    def finish(self) -> None:
        """End the run: the averaged trunk, solved cells, a last checkpoint, all as asked for."""
        self.saver.finish()  # solving takes time and memory: the last epoch is safe before it
        self._is_whole = False
        if self.config.final_solve and self.state.final_solve is None:
            if self.average is not None:
                self.learner.trunk.load_state_dict(self.average.module.state_dict())
            solved, self._peaks = self.solver.solve_all(self.state.epoch)
            if self.average is not None:  # a run that goes on has the same readout in both
                self.average.module.load_state_dict(self.learner.trunk.state_dict())
            quality = self.monitor.measure(self.learner, self.runtime, on_event=self.on_event)
            self.state.final_solve = {**solved, **quality._asdict()}
            self.state.n_ended += 1
            self._save()
        elif self._must_divide():
            self.solver.divide()
            self.state.divided = True
            self.state.n_ended += 1
            self._save()
        self.saver.finish()

    def _must_divide(self) -> bool:
        """Whether gradients alone have separated batches from cells: they do so by their means."""
        if self.config.final_solve or self.state.divided or self.learner.cells.batch is None:
            return False
        return self.config.batch_effect == "given_state"

    def _solve(self) -> None:
        self._is_whole = False  # until the state says so too
        self.solver.solve(self.state.epoch)

    def _tend_checkpoints(self) -> None:
        """Publish what all have written; begin a checkpoint when one is due by rank 0's clock."""
        between = _STEPS_BETWEEN_VOTES.get(self.runtime.device.type, _FEWER_VOTES)
        if self.runtime.world > 1 and self.state.total_steps % between:
            return
        due = time.monotonic() - self._saved_at >= self._departure.checkpoint_s(self.config)
        first = self.runtime.rank == 0
        votes = [float(due and first), float(not self.saver.written())]
        votes = self._sum([*votes, self._asks_for_end(), float(first and self._departure.is_due())])
        if votes[3]:
            self._departure.look()
        if votes[2]:
            raise _EndAsked
        if not votes[1]:
            self.saver.publish()
            if votes[0]:
                self._save()

    def _end_if_asked(self) -> None:
        """End here when a worker is asked to, as all agree."""
        if self._sum([self._asks_for_end()])[0]:
            raise _EndAsked

    def _asks_for_end(self) -> float:
        return float(self.runtime.rank == 0 and self._end_asked())

    def _sum(self, votes: list[float]) -> list[float]:
        if self.runtime.world == 1:
            return votes
        found: list[float] = self.runtime.sum_(
            torch.tensor(votes, device=self.runtime.device)
        ).tolist()
        return found

    def _save(self) -> None:
        if self.state.checkpoint == self._saved:  # of the same step, but before it was measured
            self.state.n_again += 1
        self._collect_losses()
        self.saver.save(self.learner, self.state, self.average, self._peaks)
        self._saved, self._saved_at = self.state.checkpoint, time.monotonic()
