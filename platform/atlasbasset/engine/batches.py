"""An epoch's batches, prepared in a thread one ahead; the next labels are read meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from atlasbasset.core.loss_types import Positives
from atlasbasset.core.step import Batch
from atlasbasset.engine.peak_sampling import Group, epoch_groups, step_draws
from atlasbasset.engine.prefetch import Prefetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.engine.cell_sampling import CellSampling
    from atlasbasset.engine.config import TrainConfig
    from atlasbasset.engine.labels.host import LoadedLabels, WorkerData
    from atlasbasset.engine.state import RunState

__all__ = ["Feeder"]


class Feeder:
    """Makes batches of a worker's data.

    Parameters
    ----------
    data
        This worker's part of the atlas.
    peaks
        The training peaks, ascending.
    config, cells
        What each step draws.
    device
        Where batches go.
    """

    def __init__(
        self,
        data: WorkerData,
        peaks: NDArray[np.int64],
        *,
        config: TrainConfig,
        cells: CellSampling,
        device: torch.device,
    ) -> None:
        self._data, self._peaks = data, peaks
        self._config, self._cells, self._device = config, cells, device

    def rest_of_epoch(self, state: RunState) -> tuple[int, Prefetch[Batch]]:
        """Return the steps of the epoch under way, and the batches still to come."""
        groups = epoch_groups(self._peaks, self._config, state.epoch)
        n_steps = sum(len(group.steps) for group in groups)
        made = self._batches(groups, state.epoch, state.step, state.total_steps)
        return n_steps, Prefetch(made)

    def _batches(self, groups: list[Group], epoch: int, done: int, total: int) -> Iterator[Batch]:
        left, first_step = _after(groups, done)
        shards = Prefetch(self._data.labels.load(group.peaks) for group in left)
        at = done
        for group, shard in zip(left, shards, strict=True):
            for peaks in group.steps[first_step:]:
                yield self._batch(peaks, shard, epoch, at, total + at - done)
                at += 1
            first_step = 0

    def _batch(
        self, peaks: NDArray[np.int64], shard: LoadedLabels, epoch: int, step: int, total: int
    ) -> Batch:
        draws = step_draws(len(peaks), self._config, epoch, step)
        tiles = self._cells.tiles(total, self._data.start, self._data.stop)
        found = shard.positives(peaks, tiles)
        return Batch(
            codes=self._placed(
                self._data.codes[torch.from_numpy(peaks).to(self._data.codes.device)]
            ),
            shift=self._placed(torch.from_numpy(draws.shift)),
            reverse=self._placed(torch.from_numpy(draws.reverse)),
            keep=self._placed(torch.from_numpy(draws.keep)),
            positives=Positives(self._placed(found.cell), self._placed(found.row)),
            tiles=tiles,
            one_in=self._cells.one_in,
        )

    def _placed(self, tensor: Tensor) -> Tensor:
        """Send a tensor to the device; from pinned memory, so that nobody waits."""
        if tensor.is_cuda or self._device.type != "cuda":
            return tensor.to(self._device)
        return tensor.pin_memory().to(self._device, non_blocking=True)


def _after(groups: list[Group], done: int) -> tuple[list[Group], int]:
    """Return the groups with steps left and the first such step of the first of them."""
    for index, group in enumerate(groups):
        if done < len(group.steps):
            return groups[index:], done
        done -= len(group.steps)
    return [], 0
