"""`train`: a model from an atlas, resuming by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.launch import run_in_process, run_processes
from atlasbasset.engine.loop import Run
from atlasbasset.engine.memory.limit import run_limit
from atlasbasset.engine.memory.plan import plan_training
from atlasbasset.engine.state import RunState
from atlasbasset.verbs.shared.held_out import tell_of_overlap
from atlasbasset.verbs.train.setup import (
    Launcher,
    batch_labels,
    begun_store,
    check_training,
    has_begun,
    still_to_do,
)
from atlasstore.atlas.atlas import Atlas
from atlasstore.events import Notice, ignore
from atlasstore.files import urls
from atlasstore.files.locks import claimed

if TYPE_CHECKING:
    from pathlib import Path

    from atlasbasset.engine.config import Recipe
    from atlasstore.events import Subscriber
    from atlasstore.models.model_store import ModelStore

__all__ = ["Launcher", "TrainReport", "check_training", "train"]


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a training run ended."""

    model: str
    """URL of the model."""
    n_cells: int
    stopped_because: str
    history: tuple[dict[str, Any], ...]
    """One record per epoch, as in ``metrics.jsonl``."""
    polished: dict[str, Any] | None = None
    """What the model is after the last solve of its cells, with `TrainConfig.polish`: ``loss``,
    ``n_converged`` and ``seconds`` of the solve, and the auROCs of an epoch's record."""

    notices: tuple[str, ...] = ()
    """What a person should know of the run, in sentences."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "model": self.model,
            "n_cells": self.n_cells,
            "stopped_because": self.stopped_because,
            "last_epoch": self.history[-1] if self.history else {},
            "polished": self.polished,
            "notices": list(self.notices),
        }


def train(
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
    on_event: Subscriber = ignore,
) -> TrainReport:
    """Train scBasset on an atlas; run it again to go on where it stopped.

    Parameters
    ----------
    atlas
        URL of an atlas store.
    out
        URL of the model store, made when absent; a model begun with the same settings is gone on
        with from its newest checkpoint. One process at a time may train it.
    config
        All settings, where a recipe as it stands will not do: ``TrainConfig.recipe("fast",
        epochs=20)``. Its trunk's window is the atlas's; with `TrainConfig.init_from` its whole
        trunk is that model's.
    recipe
        "fast" or "paper" (the released model's settings); without `config`.
    workers
        Worker processes. One runs in this process.
    min_workers
        With Ray: go on with as few as this many when nodes are lost, and with up to `workers` when
        some come back; None: always `workers`.
    launcher
        "process" (local processes), "ray" (Ray Train), or auto: Ray for more than one worker.
    gpus_per_worker, cpus_per_worker
        Resources of a Ray worker.
    memory
        What each worker may take, such as "8GB"; None for what the machine has.
    on_event
        Hears `atlasbasset.engine.events`.

    Raises
    ------
    UserInputError
        The settings do not fit the atlas, the model was begun with others, or another process is
        training it.
    """
    opened = Atlas.open(atlas)
    config = check_training(
        opened,
        out=out,
        config=config or TrainConfig.recipe(recipe),
        workers=workers,
        min_workers=min_workers,
        launcher=launcher,
        memory=memory,
    )
    _, warning = batch_labels(opened.obs, config.batch_key)
    if warning:
        on_event(Notice(warning))
    tell_of_overlap(opened, on_event)
    limit = run_limit(memory, workers=workers, launcher=launcher, gpus_per_worker=gpus_per_worker)
    least = min_workers or workers  # the fewest have the most each
    plan = plan_training(opened, config, workers=least, limit=limit, begun=has_begun(out))
    config = replace(config, group_peaks=plan.layout.group_peaks)
    store = begun_store(opened, str(out), config)
    with claimed(store.url, on_event=on_event):
        run = Run(
            urls.absolute(atlas),
            urls.absolute(out),
            still_to_do(config, store),
            plan.layout.labels,
            plan.layout.codes,
        )
        _launch(
            run,
            (min_workers or workers, workers),
            launcher,
            on_event,
            gpus=gpus_per_worker,
            cpus=cpus_per_worker,
        )
    return _report(store, config)


def _launch(
    run: Run,
    workers: tuple[int, int],
    launcher: Launcher,
    on_event: Subscriber,
    *,
    gpus: float,
    cpus: float,
) -> None:
    """Train with at least and at most so many workers."""
    least, most = workers
    if launcher == "ray" or (launcher == "auto" and most > 1):
        from atlasbasset.engine.ray_train import run_ray

        run_ray(run, most, on_event, gpus_per_worker=gpus, cpus_per_worker=cpus, min_workers=least)
    elif most > 1:
        run_processes(run, most, on_event)
    else:
        run_in_process(run, on_event)


def _report(store: ModelStore, config: TrainConfig) -> TrainReport:
    state = RunState.from_json(store.newest().state)
    reason = state.stop_reason(config) or "stopped"
    history, notices = tuple(state.history), tuple(state.notices)
    return TrainReport(store.url, store.n_cells, reason, history, state.polished, notices)
