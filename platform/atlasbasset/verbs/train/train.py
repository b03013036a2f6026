"""`train`: a model from an atlas, resuming by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.train.plan import TrainPlan, plan_train
from atlasbasset.verbs.train.report import TrainReport

if TYPE_CHECKING:
    from pathlib import Path

    from atlasbasset.engine.config import Recipe, TrainConfig
    from atlasbasset.verbs.train.setup import Launcher
    from atlasstore.events import Subscriber

__all__ = ["TrainPlan", "TrainReport", "plan_train", "train"]


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
    on_event: Subscriber | None = None,
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
        All settings, where a recipe as it stands will not do: ``TrainConfig(epochs=20)`` is the
        fast recipe with more epochs. Its trunk's window is the atlas's; with
        `TrainConfig.init_from` its whole trunk is that model's.
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
        Called with `Progress`, `Notice` and `atlasbasset.engine.events`; by default a bar is shown
        on a terminal or in a notebook.

    Examples
    --------
    >>> report = train("atlas.zarr", out="model.zarr")  # doctest: +SKIP
    >>> corrected = TrainConfig(batch_key="donor", l2_cells=1e-6)  # doctest: +SKIP
    >>> train("atlas.zarr", out="corrected.zarr", config=corrected)  # doctest: +SKIP

    Raises
    ------
    UserInputError
        The settings do not fit the atlas, the model was begun with others, or another process is
        training it.
    """
    plan = plan_train(
        atlas,
        out=out,
        config=config,
        recipe=recipe,
        workers=workers,
        min_workers=min_workers,
        launcher=launcher,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
        memory=memory,
    )
    return plan.run(on_event=on_event)
