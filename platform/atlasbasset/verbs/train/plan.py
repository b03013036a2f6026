"""The plan of `train`: peaks, cells, steps, and what a worker holds part by part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from atlasbasset.core.compute import compute_dtype_for
from atlasbasset.engine.compilation import telling_compilation
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.convolution_choice import arithmetic_words, settled
from atlasbasset.engine.launch import run_in_process, run_processes
from atlasbasset.engine.loop import Run
from atlasbasset.engine.memory.limit import run_limit
from atlasbasset.engine.memory.lines import memory_lines, memory_values
from atlasbasset.engine.memory.plan import MemoryPlan, plan_training
from atlasbasset.engine.peak_sampling import epoch_groups
from atlasbasset.engine.state import RunState
from atlasbasset.verbs.shared.held_out import tell_of_overlap
from atlasbasset.verbs.shared.plan import notice_lines
from atlasbasset.verbs.train.report import TrainReport
from atlasbasset.verbs.train.setup import (
    Launcher,
    batch_labels,
    begun_store,
    check_training,
    has_begun,
    still_to_do,
)
from atlasstore.atlas.atlas import Atlas
from atlasstore.cards.store_card import refresh_card
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.files.locks import claimed
from atlasstore.models.fall_back import fall_back
from atlasstore.models.model_store import ModelStore
from atlasstore.plans import Plan
from atlasstore.text_units import count

if TYPE_CHECKING:
    from pathlib import Path

    from atlasbasset.engine.config import Recipe
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["TrainPlan", "plan_train"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class TrainPlan(Plan[TrainReport]):
    """Checked input of `train`, and its sizes; made by `plan_train`."""

    atlas: Atlas
    out: str
    config: TrainConfig
    """Resolved settings."""
    memory: MemoryPlan
    """Where labels and sequences are kept, and what that comes to."""
    workers: int
    min_workers: int
    """The fewest that go on when nodes are lost; they have the most each."""
    launcher: Launcher
    gpus_per_worker: float
    cpus_per_worker: float
    warning: str | None
    """A sentence on batches that look like none, if any."""

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would train {self.out}"

    @property
    def n_train_peaks(self) -> int:
        """Peaks of an epoch."""
        return len(self.atlas.peak_rows("train"))

    @cached_property
    def steps_per_epoch(self) -> int:
        """Steps that an epoch is cut into."""
        peaks, config = self.atlas.peak_rows("train"), self._run_config
        return sum(len(group.steps) for group in epoch_groups(peaks, config, 0))

    @property
    def n_parameters(self) -> int:
        """Of the trunk and the cell layer."""
        sizes = self.memory.sizes
        return sizes.n_parameters + sizes.table_width * (self.atlas.n_cells + sizes.n_batches)

    @property
    def _run_config(self) -> TrainConfig:
        return replace(self.config, group_peaks=self.memory.layout.group_peaks)

    def lines(self) -> Lines:
        """Return peaks, cells, workers, steps, and memory part by part."""
        n_cells, n_blocks = self.atlas.n_cells, len(self.atlas.blocks)
        steps, epochs = count(self.steps_per_epoch), count(self.config.epochs)
        return [
            ("training peaks", count(self.n_train_peaks)),
            ("cells", f"{count(n_cells)} in {count(n_blocks)} blocks"),
            ("parameters", count(self.n_parameters)),
            *notice_lines("batches", self.warning),
            ("workers", self._workers_line),
            ("steps", f"{steps} per epoch, {epochs} epochs at most"),
            *notice_lines("few steps", self._few_steps),
            *memory_lines(self.memory),
            ("arithmetic", self._arithmetic),
            ("model", self._standing),
        ]

    @property
    def _few_steps(self) -> str | None:
        """A sentence where a trunk that is trained from its start gets few steps for good."""
        wanted = self.config.fewest_epochs(self.n_train_peaks)
        if self.config.schedule != "cosine" or self.config.epochs >= wanted:
            return None
        return (
            f"{count(self.steps_per_epoch * self.config.epochs)} steps in all are few: on an atlas "
            f"of so few peaks a new model with --epochs {count(wanted)} is likely to predict "
            "unseen sequences better (docs/recipes.md)."
        )

    @property
    def _workers_line(self) -> str:
        line = f"{self.workers}, each with whole blocks"
        if self.min_workers == self.workers:
            return line
        return f"{line}; memory is estimated for {self.min_workers}"

    @property
    def _standing(self) -> str:
        """Say whether a model is begun or finished, and from where it is resumed."""
        if not has_begun(self.out):
            return f"{self.out}, new"
        checkpoint = ModelStore.open(self.out).latest()
        if checkpoint is None:
            return f"{self.out}, resumes after epoch 0"
        state = RunState.from_json(checkpoint.state)
        if (reason := state.end_reason(self.config)) is not None:
            return f"{self.out}, finished: {reason}, so there is nothing to do"
        return f"{self.out}, resumes after epoch {len(state.history)}"

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "n_train_peaks": self.n_train_peaks,
            "n_cells": self.atlas.n_cells,
            "n_blocks": len(self.atlas.blocks),
            "workers": self.memory.sizes.workers,
            "steps_per_epoch": self.steps_per_epoch,
            "n_parameters": self.n_parameters,
            "memory": memory_values(self.memory),
            "config": self.config.as_json(),
        }

    @property
    def _arithmetic(self) -> str:
        dtype = compute_dtype_for(self.config.compute, self._device)
        return arithmetic_words(self.config.convolution, dtype, self._device)

    @property
    def _device(self) -> torch.device:
        """Of a worker that computes where this command runs."""
        on_gpu = self.gpus_per_worker > 0 or torch.cuda.is_available()
        return torch.device("cuda" if on_gpu else "cpu")

    def _run(self, on_event: Subscriber) -> TrainReport:
        if self.warning:
            on_event(Notice(self.warning))
        tell_of_overlap(self.atlas, on_event)
        with telling_compilation(on_event):
            return self._trained(on_event)

    def _trained(self, on_event: Subscriber) -> TrainReport:
        layout = self.memory.layout
        config = settled(self._run_config, self._device)
        on_event(Notice(f"Computing in {self._arithmetic}."))
        store = begun_store(self.atlas, self.out, config, on_event=on_event)
        with claimed(store.url, on_event=on_event):
            if damaged := fall_back(store):
                on_event(Notice(damaged))
            run = Run(
                urls.absolute(self.atlas.url),
                urls.absolute(self.out),
                still_to_do(config, store),
                layout.labels,
                layout.codes,
            )
            self._launch(run, on_event)
            refresh_card(store.url)
        return _report(store, config, self._few_steps)

    def _launch(self, run: Run, on_event: Subscriber) -> None:
        if self.launcher == "ray" or (self.launcher == "auto" and self.workers > 1):
            from atlasbasset.engine.ray_train import run_ray

            run_ray(
                run,
                self.workers,
                on_event,
                gpus_per_worker=self.gpus_per_worker,
                cpus_per_worker=self.cpus_per_worker,
                min_workers=self.min_workers,
            )
        elif self.workers > 1:
            run_processes(run, self.workers, on_event)
        else:
            run_in_process(run, on_event)


def plan_train(
    atlas: str | Path,
    *,
    out: str | Path,
    config: TrainConfig | None = None,
    recipe: Recipe = "fast",
    workers: int = 1,
    min_workers: int | None = None,
    launcher: Launcher = "auto",
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    memory: str | None = None,
) -> TrainPlan:
    """Plan `train`: check its input and compute its sizes; nothing is written.

    Parameters are those of `train`, and so are the errors that are raised: also when the memory
    does not suffice.

    Examples
    --------
    >>> plan = plan_train("atlas.zarr", out="model.zarr", workers=4)  # doctest: +SKIP
    >>> plan.memory.ram_bytes  # doctest: +SKIP
    """
    opened = Atlas.open(atlas)
    resolved = check_training(
        opened,
        out=out,
        config=config or TrainConfig.recipe(recipe),
        workers=workers,
        min_workers=min_workers,
        launcher=launcher,
        memory=memory,
    )
    limit = run_limit(
        memory,
        workers=workers,
        launcher=launcher,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    least = min_workers or workers
    planned = plan_training(opened, resolved, workers=least, limit=limit, begun=has_begun(out))
    return TrainPlan(
        atlas=opened,
        out=str(out),
        config=resolved,
        memory=planned,
        workers=workers,
        min_workers=least,
        launcher=launcher,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
        warning=batch_labels(opened.obs, resolved.batch_key)[1],
    )


def _report(store: ModelStore, config: TrainConfig, few_steps: str | None) -> TrainReport:
    state = RunState.from_json(store.newest().state)
    reason = state.stop_reason(config) or "stopped"
    return TrainReport(
        store.url,
        store.n_cells,
        reason,
        tuple(state.history),
        state.final_solve,
        (*state.notices, *([few_steps] if few_steps else [])),
    )
