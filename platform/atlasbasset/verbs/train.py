"""`train`: a model from an atlas, resuming by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.launch import run_in_process, run_processes
from atlasbasset.engine.loop import Run
from atlasbasset.engine.state import RunState
from atlasstore import formats, urls
from atlasstore.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import ignore
from atlasstore.model_store import ModelStore

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from atlasstore.events import Subscriber

__all__ = ["Launcher", "TrainReport", "check_training", "train"]

Launcher = Literal["auto", "process", "ray"]


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a training run ended."""

    model: str
    """URL of the model."""
    stopped_because: str
    history: tuple[dict[str, Any], ...]
    """One record per epoch, as in ``metrics.jsonl``."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        last = self.history[-1] if self.history else {}
        return {"model": self.model, "stopped_because": self.stopped_because, "last_epoch": last}


def train(
    atlas: str | Path,
    *,
    out: str | Path,
    config: TrainConfig | None = None,
    workers: int = 1,
    launcher: Launcher = "auto",
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber = ignore,
) -> TrainReport:
    """Train scBasset on an atlas; run it again to go on where it stopped.

    Parameters
    ----------
    atlas
        URL of an atlas store.
    out
        URL of the model store, made when absent; a model begun with the same settings is gone on
        with from its newest checkpoint.
    config
        The recipe; the paper's by default. Its trunk's window is the atlas's.
    workers
        Worker processes. One runs in this process.
    launcher
        "process" (local processes), "ray" (Ray Train), or auto: Ray for more than one worker.
    gpus_per_worker, cpus_per_worker
        Resources of a Ray worker.
    on_event
        Hears `atlasbasset.engine.events`.

    Raises
    ------
    UserInputError
        The settings do not fit the atlas, or the model was begun with others.
    """
    opened = Atlas.open(atlas)
    config = check_training(
        opened, out=out, config=config or TrainConfig(), workers=workers, launcher=launcher
    )
    store = _begun(opened, str(out), config)
    run = Run(_absolute(atlas), _absolute(out), config)
    _launch(run, workers, launcher, on_event, gpus_per_worker, cpus_per_worker)
    return _report(store, config)


def check_training(
    atlas: Atlas,
    *,
    out: str | Path,
    config: TrainConfig,
    workers: int = 1,
    launcher: Launcher = "auto",
) -> TrainConfig:
    """Check everything that `train` checks before it writes; return the resolved recipe.

    Raises
    ------
    UserInputError
        The settings do not fit the atlas, or the model at `out` was begun with others.
    """
    config = _fitted(config, atlas)
    _check_workers(workers, launcher, atlas)
    _obs_with_batches(atlas.obs, config.batch_key)
    if urls.exists(out) and not _never_finished(out):
        _check_same_run(ModelStore.open(out), atlas, config)
    return config


def _never_finished(out: str | Path) -> bool:
    """Whether a writer died while it made the model store: only an object store shows one."""
    attrs = urls.open_group(out).attrs
    return attrs.get("format") == formats.MODEL and not attrs.get("complete")


def _fitted(config: TrainConfig, atlas: Atlas) -> TrainConfig:
    if config.max_shift_bp > atlas.flank_bp:
        raise UserInputError(
            f"max_shift_bp is {config.max_shift_bp}, but {atlas.url} stores {atlas.flank_bp} bp "
            "beyond its windows; lower max_shift_bp, or preprocess with a larger --flank-bp."
        )
    for split in ("train", "valid"):
        if not len(atlas.peak_rows(split)):
            raise UserInputError(
                f"{atlas.url} has no {split} peaks; preprocess with another split."
            )
    return replace(config, trunk=replace(config.trunk, window_bp=atlas.window_bp))


def _check_workers(workers: int, launcher: Launcher, atlas: Atlas) -> None:
    if workers < 1 or workers > len(atlas.blocks):
        raise UserInputError(
            f"workers must be 1 to {len(atlas.blocks)}, the atlas's cell blocks, got {workers}."
        )
    if launcher not in ("auto", "process", "ray"):
        raise UserInputError(f"launcher must be auto, process or ray, got {launcher!r}.")


def _begun(atlas: Atlas, out: str, config: TrainConfig) -> ModelStore:
    """Return the model store: the one that is there, else a new one."""
    if urls.exists(out):
        if not _never_finished(out):
            return ModelStore.open(out)
        urls.delete(out)  # it held no checkpoint yet
    obs, batches = _obs_with_batches(atlas.obs, config.batch_key)
    return ModelStore.create(
        out,
        obs=obs,
        config={"train": config.as_json(), "atlas": _fingerprint(atlas)},
        block_cells=atlas.blocks[0].n_cells,
        batches=batches,
        provenance=formats.provenance([], {"atlas": atlas.url}, config.seed),
    )


def _check_same_run(store: ModelStore, atlas: Atlas, config: TrainConfig) -> None:
    if store.config.get("atlas") != _fingerprint(atlas):
        raise UserInputError(
            f"{store.url} was not begun on {atlas.url} (sizes or making differ); give the atlas it "
            "was begun on to go on with it, or another --out."
        )
    config.check_continues(TrainConfig.from_json(dict(store.config["train"])), store.url)


def _fingerprint(atlas: Atlas) -> dict[str, Any]:
    """Return what tells one atlas from another, wherever it lies."""
    return {
        "n_peaks": atlas.n_peaks,
        "n_cells": atlas.n_cells,
        "n_positives": atlas.n_positives,
        "created": atlas.provenance.get("created"),
    }


def _obs_with_batches(obs: pd.DataFrame, key: str | None) -> tuple[pd.DataFrame, list[str]]:
    if key is None:
        return obs, []
    if key not in obs:
        listed = ", ".join(map(str, obs.columns)) or "none"
        raise UserInputError(
            f"obs has no column {key!r} for --batch-key; its columns are {listed}."
        )
    named = obs[key].astype("category")
    if named.isna().any():
        raise UserInputError(f"obs column {key!r} has cells without a batch; fill or drop them.")
    return obs.assign(scbasset_batch=named.cat.codes.astype("int64")), [
        str(name) for name in named.cat.categories
    ]


def _launch(
    run: Run, workers: int, launcher: Launcher, on_event: Subscriber, gpus: float, cpus: float
) -> None:
    if launcher == "ray" or (launcher == "auto" and workers > 1):
        from atlasbasset.engine.ray_train import run_ray

        run_ray(run, workers, on_event, gpus_per_worker=gpus, cpus_per_worker=cpus)
    elif workers > 1:
        run_processes(run, workers, on_event)
    else:
        run_in_process(run, on_event)


def _report(store: ModelStore, config: TrainConfig) -> TrainReport:
    state = RunState.from_json(store.newest().state)
    return TrainReport(store.url, state.stop_reason(config) or "stopped", tuple(state.history))


def _absolute(url: str | Path) -> str:
    return str(urls.local_path(url).absolute()) if urls.is_local(url) else str(url)
