"""`watch`: a training followed from its store, wherever it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.events import CellsSolved, EpochEnd, TrainingEnd
from atlasbasset.engine.state import RunState
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, Progress
from atlasstore.models.model_store import ModelStore
from atlasstore.progress import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atlasstore.events import Subscriber

__all__ = ["watch"]


def watch(
    model: str | Path,
    *,
    every_s: float = 10.0,
    once: bool = False,
    on_event: Subscriber | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> RunState:
    """Follow a training from its store until it ends; nothing is written.

    Parameters
    ----------
    model
        Path or URL of the model that is trained, on this machine or another.
    every_s
        Seconds between looks at the store.
    once
        Tell what is known now and return, also where training goes on.
    on_event
        Called with the events that the training itself reports: `EpochEnd`, `CellsSolved`,
        `TrainingEnd`; and `Progress` and `Notice`. By default a bar is shown on a terminal or in a
        notebook.
    sleep
        Waits.

    Returns
    -------
    RunState
        Where the training stood at the last look.

    Raises
    ------
    NotAStoreError
        There is no model.
    UserInputError
        `every_s` is not above 0, or the model is not of a training.

    Examples
    --------
    >>> watch("s3://bucket/model.zarr", every_s=60)  # doctest: +SKIP
    """
    if not every_s > 0:
        raise UserInputError(f"every_s is {every_s}; it must be above 0 seconds.")
    store = ModelStore.open(model)
    config = TrainConfig.from_json(dict(store.config["train"]))
    with shown(on_event) as subscriber:
        return _follow(store, config, subscriber, once, lambda: sleep(every_s))


def _follow(
    store: ModelStore,
    config: TrainConfig,
    on_event: Subscriber,
    once: bool,  # noqa: FBT001 - of `watch`
    wait: Callable[[], object],
) -> RunState:
    before = RunState()
    while True:
        checkpoint = store.latest()
        state = before if checkpoint is None else RunState.from_json(checkpoint.state)
        _tell(before, state, config, on_event)
        reason = state.end_reason(config)
        if reason is not None:
            on_event(TrainingEnd(reason, state.epoch))
        if once or reason is not None:
            return state
        before = state
        wait()


def _tell(before: RunState, state: RunState, config: TrainConfig, on_event: Subscriber) -> None:
    """Report what has happened between two looks."""
    for sentence in state.notices[len(before.notices) :]:
        on_event(Notice(sentence))
    for record in state.history[len(before.history) :]:
        on_event(EpochEnd(record))
    if state.final_solve is not None and state.n_ended != before.n_ended:
        on_event(CellsSolved(state.final_solve))
    if state is before or state.epoch != before.epoch:
        on_event(Progress("training", state.epoch, config.epochs, "epochs"))
