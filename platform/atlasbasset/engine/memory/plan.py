"""Where training keeps labels and sequences, planned from sizes before it starts.

The choice is the best layout that fits, in one fixed order: labels on the device, in memory,
streamed in groups of peaks as large as fit; of each the one with the sequences on the device first.
A layout that fits still fits with more memory, so more memory never leads to a worse layout. If
none fits, the run is refused with single changes that would make it fit, each checked.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from atlasbasset.core.compute import compute_dtype_for
from atlasbasset.engine.memory.limit import MemoryLimit
from atlasbasset.engine.memory.parts import Layout, Part, Share, TrainingSizes, held_parts, phases
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Literal

    from atlasbasset.engine.config import TrainConfig
    from atlasbasset.engine.memory.places import CodePlace
    from atlasstore.atlas.atlas import Atlas

__all__ = [
    "Change",
    "MemoryLimit",
    "MemoryPlan",
    "TrainingSizes",
    "plan_memory",
    "plan_training",
    "smallest_changes",
]

GROUP_STEP = 256
"""Groups of streamed peaks are multiples of this: the run of neighbours that is read together."""
MIN_GROUP = 512
_MIN_BATCH = 16
"""Fewer peaks would make batch normalisation noise."""
_SHARES_OF_CELLS = (2, 3, 4, 6, 8, 12, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Where the data of a run is held, and the memory of the largest worker."""

    layout: Layout
    held: tuple[Part, ...]
    """From beginning to end."""
    phases: tuple[Part, ...]
    """In addition, never two of them at a time."""
    sizes: TrainingSizes
    limit: MemoryLimit

    @property
    def ram_bytes(self) -> int:
        """The most a worker holds in memory at any time."""
        held = sum(part.ram_bytes for part in self.held)
        return held + max(phase.ram_bytes for phase in self.phases)

    @property
    def device_bytes(self) -> int:
        """The most a worker holds on its GPU at any time."""
        held = sum(part.device_bytes for part in self.held)
        return held + max(phase.device_bytes for phase in self.phases)

    @property
    def excess_bytes(self) -> int:
        """What is missing in memory and on the GPU together; 0 when the plan fits."""
        device = self.device_bytes - (self.limit.device_bytes or 0)
        ram = self.ram_bytes - self.limit.ram_of_each(self.sizes.workers)
        return max(0, ram) + max(0, device)


class Change(NamedTuple):
    """One setting that would make a run fit."""

    setting: Literal["workers", "cells_per_step", "batch_size"]
    value: int

    @property
    def option(self) -> str:
        """The same on the command line."""
        return f"--{self.setting.replace('_', '-')} {self.value}"

    def apply(self, sizes: TrainingSizes) -> TrainingSizes:
        """Return the sizes with the change."""
        changed: dict[str, Any] = {self.setting: self.value}
        return replace(sizes, **changed)


def plan_training(
    atlas: Atlas,
    config: TrainConfig,
    *,
    workers: int,
    limit: MemoryLimit,
    begun: bool = False,
) -> MemoryPlan:
    """Return the plan of a training on `atlas`.

    Parameters
    ----------
    config
        Resolved settings; `group_peaks` 0 is left to be chosen, unless `begun`.
    begun
        Whether the run is under way, so that its groups of peaks and its steps are settled.

    Raises
    ------
    UserInputError
        As `plan_memory`.
    """
    device = torch.device("cpu" if limit.device_bytes is None else "cuda")
    dtype = compute_dtype_for(config.compute, device)
    sizes = TrainingSizes.of(atlas, config, workers=workers, compute_dtype=dtype, begun=begun)
    return plan_memory(sizes, limit=limit, begun=begun)


def plan_memory(sizes: TrainingSizes, *, limit: MemoryLimit, begun: bool = False) -> MemoryPlan:
    """Return the best layout that fits.

    Parameters
    ----------
    begun
        Whether the run is under way: then its workers alone may still change.

    Raises
    ------
    UserInputError
        None fits; the message names the single changes that would help, or says that none would.
    """
    best = _best(sizes, limit)
    if best is None:
        raise UserInputError(_refusal(sizes, limit, begun=begun))
    return best


def smallest_changes(
    sizes: TrainingSizes, limit: MemoryLimit, *, begun: bool = False
) -> list[Change]:
    """Return, for each setting that can, the value nearest to the present one that makes it fit.

    Cells of a step are tried at some round shares of all, batches at multiples of 16.
    """
    searches = [_worker_counts(sizes)]
    if not begun:
        searches += [_cells_per_step(sizes), _batch_sizes(sizes)]
    found = []
    for changes in searches:
        fitting = (c for c in changes if _best(c.apply(sizes), limit) is not None)
        if (change := next(fitting, None)) is not None:
            found.append(change)
    return found


def _best(sizes: TrainingSizes, limit: MemoryLimit) -> MemoryPlan | None:
    share = Share.of(sizes)
    whole = (_plan(sizes, share, layout, limit) for layout in _whole_layouts(sizes, limit))
    fitting = next((plan for plan in whole if not plan.excess_bytes), None)
    return fitting or _best_streamed(sizes, share, limit)


def _whole_layouts(sizes: TrainingSizes, limit: MemoryLimit) -> Iterator[Layout]:
    """Yield the layouts that hold all labels, best first; a settled group decides order alone."""
    order = sizes.group_peaks or 0
    if limit.device_bytes is not None:
        yield Layout("device", "device", order)
        yield Layout("device", "ram", order)
        yield Layout("ram", "device", order)
    yield Layout("ram", "ram", order)


def _best_streamed(sizes: TrainingSizes, share: Share, limit: MemoryLimit) -> MemoryPlan | None:
    """Return the plan with the largest groups; of equal ones that with sequences on the device."""
    groups, found = _group_sizes(sizes), []
    for codes in _code_places(limit):

        def of(group: int, codes: CodePlace = codes) -> MemoryPlan:
            return _plan(sizes, share, Layout("streamed", codes, group), limit)

        # what a group takes rises with its size
        n_fitting = bisect_left(groups, 1, key=lambda group: of(group).excess_bytes > 0)
        if n_fitting:
            found.append(of(groups[n_fitting - 1]))
    return max(found, key=lambda plan: plan.layout.group_peaks, default=None)


def _code_places(limit: MemoryLimit) -> tuple[CodePlace, ...]:
    return ("ram",) if limit.device_bytes is None else ("device", "ram")


def _group_sizes(sizes: TrainingSizes) -> Sequence[int]:
    """Return the groups to stream in, ascending; none where all labels are to be in memory."""
    if sizes.group_peaks is not None:
        return [sizes.group_peaks] if sizes.group_peaks else []
    return range(MIN_GROUP, max(MIN_GROUP, sizes.n_train_peaks) + 1, GROUP_STEP)


def _plan(sizes: TrainingSizes, share: Share, layout: Layout, limit: MemoryLimit) -> MemoryPlan:
    gpu = limit.device_bytes is not None
    held = held_parts(sizes, share, layout, gpu=gpu)
    extra = phases(sizes, share, layout, gpu=gpu)
    return MemoryPlan(layout, tuple(held), tuple(extra), sizes, limit)


def _worker_counts(sizes: TrainingSizes) -> Iterator[Change]:
    """Yield other numbers of workers, nearest first, more before fewer."""
    most = len(sizes.block_cells)
    counts = (n for n in range(1, most + 1) if n != sizes.workers)
    for count in sorted(counts, key=lambda n: (abs(n - sizes.workers), -n)):
        yield Change("workers", count)


def _cells_per_step(sizes: TrainingSizes) -> Iterator[Change]:
    """Yield fewer cells in a step, in round numbers."""
    now = sizes.cells_per_step or sizes.n_cells
    for part in _SHARES_OF_CELLS:
        cells = _two_figures(sizes.n_cells // part)
        if 0 < cells < now:
            yield Change("cells_per_step", cells)


def _batch_sizes(sizes: TrainingSizes) -> Iterator[Change]:
    """Yield fewer peaks in a step."""
    largest = (sizes.batch_size - 1) // _MIN_BATCH * _MIN_BATCH
    for rows in range(largest, 0, -_MIN_BATCH):
        yield Change("batch_size", rows)


def _two_figures(number: int) -> int:
    """Round down to two figures."""
    unit = int("1".ljust(max(1, len(str(number)) - 1), "0"))
    return number // unit * unit


def _refusal(sizes: TrainingSizes, limit: MemoryLimit, *, begun: bool) -> str:
    share, layouts = Share.of(sizes), list(_whole_layouts(sizes, limit))
    smallest = _group_sizes(sizes)[:1]
    layouts += [Layout("streamed", codes, g) for codes in _code_places(limit) for g in smallest]
    plans = (_plan(sizes, share, layout, limit) for layout in layouts)
    least = min(plans, key=lambda plan: plan.excess_bytes)
    options = [change.option for change in smallest_changes(sizes, limit, begun=begun)]
    helps = f"use {', or '.join(options)}" if options else "nothing but more memory would help"
    return f"Training needs {_shortage(least)}; {helps}."


def _shortage(plan: MemoryPlan) -> str:
    """Return what is needed and what there is, of that which is short."""
    said, ram, gpu = [], plan.limit.ram_of_each(plan.sizes.workers), plan.limit.device_bytes or 0
    if plan.ram_bytes > ram:
        said.append(f"{_gb(plan.ram_bytes)} of memory per worker, but {_gb(ram)} may be used")
    if plan.device_bytes > gpu:
        said.append(f"{_gb(plan.device_bytes)} on each GPU, but {_gb(gpu)} may be used")
    return " and ".join(said)


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.3g} GB"
