"""Saving and loading a learner; each worker writes and reads the rows of its own cells.

Saving copies the values and lets a thread write them while training continues. When every worker
has written its part, rank 0 publishes: between training steps, as all workers must agree that they
are done (`Saver.settle`). If it is killed before that, the previous checkpoint is used.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn
    from torch.optim.swa_utils import AveragedModel

    from atlasbasset.core.runtime import Runtime
    from atlasbasset.core.step import Learner
    from atlasbasset.engine.state import RunState
    from atlasstore.models.checkpoint import Checkpoint, CheckpointWriter
    from atlasstore.models.model_store import ModelStore

__all__ = ["Saver", "cells_from", "load_average", "load_learner", "trunk_from"]

PEAKS = "peaks"
"""Tensor file of the peaks' deviations."""
_MOMENTS = ("exp_avg", "exp_avg_sq")

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class _Pending:
    """A checkpoint that is being written."""

    writer: CheckpointWriter
    written: Future[None]
    state: Mapping[str, Any]


class Saver:
    """Writes checkpoints of one learner; every worker has one and calls it at the same steps.

    Parameters
    ----------
    store
        The model.
    first_cell
        First of this worker's cells.
    """

    def __init__(self, store: ModelStore, *, first_cell: int, runtime: Runtime) -> None:
        self._store, self._first_cell, self._runtime = store, first_cell, runtime
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: _Pending | None = None

    def save(
        self,
        learner: Learner,
        state: RunState,
        average: AveragedModel | None,
        peaks: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Begin a checkpoint of the values as they are now; waits for the one before.

        `peaks` are the peaks' deviations, where they have some.
        """
        self.finish()
        writer = self._store.write_checkpoint(state.checkpoint)
        rows = {name: _copy(t) for name, t in _cell_tables(learner).items()}
        whole: dict[str, Arrays] = {}
        if self._runtime.rank == 0:
            writer.begin({name: tuple(t.shape[1:]) for name, t in rows.items()})
            whole = _whole_tensors(learner, average)
            if peaks is not None:
                whole[PEAKS] = _arrays(peaks)
        self._runtime.barrier()
        written = self._thread.submit(_write, writer, rows, self._first_cell, whole)
        self._pending = _Pending(writer, written, state.as_json())

    def finish(self) -> None:
        """Wait until the checkpoint under way is published."""
        if self._pending is not None:
            self._pending.written.result()
            self._runtime.barrier()
            self.publish()

    def written(self) -> bool:
        """Whether this worker has nothing left to write of the checkpoint under way.

        A write that failed raises here, before the workers agree that all is written.
        """
        if self._pending is None:
            return True
        done = self._pending.written.done()
        if done:
            self._pending.written.result()
        return done

    def publish(self) -> None:
        """Publish the checkpoint under way, which all workers have `written`."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        blocks = self._blocks_of_all(pending.writer)
        if self._runtime.rank == 0:
            pending.writer.commit(pending.state, blocks=blocks)
            self._store.write_metrics(pending.state["history"])

    def _blocks_of_all(self, writer: CheckpointWriter) -> dict[str, dict[int, int]]:
        """Return the checksums of every worker's blocks, as `CheckpointWriter.commit` takes them.

        Each block is one worker's, and a CRC-32 fits an int64: the sum is exact.
        """
        names = sorted(writer.blocks)
        found = torch.zeros((len(self._store.blocks), len(names)), dtype=torch.int64)
        for column, name in enumerate(names):
            for block, checksum in writer.blocks[name].items():
                found[block, column] = checksum
        whole = self._runtime.sum_(found.to(self._runtime.device)).tolist()
        return {
            name: {block: row[column] for block, row in enumerate(whole)}
            for column, name in enumerate(names)
        }

    def close(self) -> None:
        """Stop the thread; an interrupted worker that is alone still publishes what it began."""
        try:
            if self._runtime.world == 1:
                self.finish()
        finally:
            self._thread.shutdown(wait=True, cancel_futures=True)


def _write(
    writer: CheckpointWriter, rows: Arrays, first_cell: int, whole: Mapping[str, Arrays]
) -> None:
    for name, values in rows.items():
        writer.write_rows(name, first_cell, values)
    for name, tensors in whole.items():
        writer.write_tensors(name, tensors)


def load_learner(learner: Learner, checkpoint: Checkpoint, *, first_cell: int) -> None:
    """Put a checkpoint's values into `learner`, this worker's cells starting at `first_cell`."""
    _restore_moments_layout(learner)
    learner.trunk.load_state_dict(_tensors(checkpoint.tensors("trunk")))
    with torch.no_grad():
        for name, values in _cell_tables(learner).items():
            rows = checkpoint.rows(name, first_cell, first_cell + values.shape[0])
            values.copy_(torch.from_numpy(rows))
        if learner.cells.shared_parameters():
            stored = _tensors(checkpoint.tensors("batches"))
            for name, values in _batch_tables(learner).items():
                values.copy_(stored[name])
        stored = _tensors(checkpoint.tensors("optimizer"))
        for name, values in _shared_moments(learner).items():
            values.copy_(stored[name])


def load_average(average: AveragedModel, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's running average into `average`, where it holds one."""
    if checkpoint.has_tensors("average"):
        average.load_state_dict(_tensors(checkpoint.tensors("average")))


def trunk_from(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the trunk's state dict."""
    return _tensors(checkpoint.tensors("trunk"))


def cells_from(checkpoint: Checkpoint, n_cells: int) -> Arrays:
    """Return ``embedding`` (N, E) and ``intercept`` (N,), and the batch tables where there are."""
    tables = {
        name: checkpoint.rows(f"cells/{name}", 0, n_cells) for name in ("embedding", "intercept")
    }
    if checkpoint.has_tensors("batches"):
        tables |= checkpoint.tensors("batches")
    return tables


def _cell_tables(learner: Learner) -> dict[str, Tensor]:
    """Every per-cell table of the learner: parameters, then the optimiser's moments."""
    cells = learner.cells
    own = {"embedding": cells.embedding, "intercept": cells.intercept}
    return {
        **{f"cells/{name}": parameter.detach() for name, parameter in own.items()},
        **{f"optimizer/{name}": t for name, t in learner.cell_optimizer.tables().items()},
    }


def _whole_tensors(learner: Learner, average: AveragedModel | None) -> dict[str, Arrays]:
    """Everything that every worker holds whole, copied, by file."""
    whole = {
        "trunk": _arrays(learner.trunk.state_dict()),
        "optimizer": _arrays(_shared_moments(learner)),
    }
    if learner.cells.shared_parameters():
        whole["batches"] = _arrays(_batch_tables(learner))
    if average is not None:
        whole["average"] = _arrays(average.state_dict())
    return whole


def _batch_tables(learner: Learner) -> dict[str, Tensor]:
    return {
        "batch_embedding": learner.cells.batch_embedding.detach(),
        "batch_intercept": learner.cells.batch_intercept.detach(),
    }


def _named_shared(learner: Learner) -> dict[str, nn.Parameter]:
    shared = dict(learner.trunk.named_parameters())
    if learner.cells.shared_parameters():
        shared["batch_embedding"] = learner.cells.batch_embedding
        shared["batch_intercept"] = learner.cells.batch_intercept
    return shared


def _shared_moments(learner: Learner) -> dict[str, Tensor]:
    """Moments of what every worker holds whole, and each parameter's step count.

    Parameters that no step has moved yet (a frozen trunk's) have neither: they count as zero.
    """
    found: dict[str, Tensor] = {}
    for name, parameter in _named_shared(learner).items():
        state = learner.optimizer.state.get(parameter) or _no_steps(parameter)
        for moment in _MOMENTS:
            found[f"{name}.{moment}"] = state[moment]
        found[f"{name}.step"] = state["step"]
    return found


def _restore_moments_layout(learner: Learner) -> None:
    """Give the optimiser the state tensors that its first step would make."""
    for group in learner.optimizer.param_groups:
        for p in group["params"]:
            learner.optimizer.state[p] = _no_steps(p)


def _no_steps(parameter: Tensor) -> dict[str, Tensor]:
    state = {"step": torch.zeros((), dtype=torch.float32, device=parameter.device)}
    return state | {moment: torch.zeros_like(parameter.detach()) for moment in _MOMENTS}


def _copy(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().to("cpu", copy=True).numpy()


def _arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: _copy(t) for name, t in tensors.items()}


def _tensors(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}
