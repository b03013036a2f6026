"""What `train` checks before it writes, and the model store it begins or resumes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from atlasbasset.engine.config import TrainConfig
from atlasbasset.inference.cell_labels import CellLabels, cell_labels, check_batches
from atlasbasset.verbs.shared.fingerprint import atlas_fingerprint
from atlasbasset.verbs.train.start_trunk import StartTrunk
from atlasstore.errors import UserInputError
from atlasstore.events import ignore
from atlasstore.files import urls
from atlasstore.files.locks import claimed
from atlasstore.memory import parse_size
from atlasstore.models.model_store import ModelStore
from atlasstore.zarrio import formats

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = [
    "Launcher",
    "batch_labels",
    "begun_store",
    "check_training",
    "has_begun",
    "still_to_do",
]

Launcher = Literal["auto", "process", "ray"]


def check_training(
    atlas: Atlas,
    *,
    out: str | Path,
    config: TrainConfig,
    workers: int = 1,
    min_workers: int | None = None,
    launcher: Launcher = "auto",
    memory: str | None = None,
) -> TrainConfig:
    """Check everything that `train` checks before it writes; return the resolved settings.

    Raises
    ------
    UserInputError
        The settings do not fit the atlas, or the model at `out` was begun with others.
    """
    if memory is not None:
        parse_size(memory)
    _check_peaks(config, atlas)
    _check_workers(workers, min_workers, launcher, atlas)
    batch_labels(atlas.obs, config.batch_key)
    begun = None if _absent(out) else ModelStore.open(out)
    config = _with_trunk(config, atlas, begun).with_epochs(len(atlas.peak_rows("train")))
    if begun is not None:
        if not config.group_peaks:  # the order of the peaks is part of the run
            config = replace(config, group_peaks=_settings_of(begun).group_peaks)
        if config.convolution == "auto":  # and so are the bits of every sum
            config = replace(config, convolution=_settings_of(begun).convolution)
        _check_same_run(begun, atlas, config)
    return config


def has_begun(out: str | Path) -> bool:
    """Whether a model store exists at `out`, with or without a checkpoint."""
    return not _absent(out)


def _absent(out: str | Path) -> bool:
    return not urls.exists(out) or _never_finished(out)


def _never_finished(out: str | Path) -> bool:
    """Whether a writer died while it made the model store: only an object store shows one."""
    attrs = urls.open_group(out).attrs
    return attrs.get("format") == formats.MODEL and not attrs.get("complete")


def _check_peaks(config: TrainConfig, atlas: Atlas) -> None:
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


def _check_workers(workers: int, min_workers: int | None, launcher: Launcher, atlas: Atlas) -> None:
    if workers < 1 or workers > len(atlas.blocks):
        raise UserInputError(
            f"workers must be 1 to {len(atlas.blocks)}, the atlas's cell blocks, got {workers}; "
            "for more, make the atlas with as many blocks (preprocess --min-blocks)."
        )
    if min_workers is not None and not 1 <= min_workers <= workers:
        raise UserInputError(f"min_workers must be 1 to workers, {workers}, got {min_workers}.")
    if launcher not in ("auto", "process", "ray"):
        raise UserInputError(f"launcher must be auto, process or ray, got {launcher!r}.")


def _with_trunk(config: TrainConfig, atlas: Atlas, begun: ModelStore | None) -> TrainConfig:
    """Return `config` with the trunk that fits: of the atlas's window, or another model's."""
    if config.init_from is None:
        return replace(config, trunk=replace(config.trunk, window_bp=atlas.window_bp))
    config = replace(config, init_from=urls.absolute(config.init_from))
    if begun is not None and begun.latest_name() is not None:
        return replace(config, trunk=_settings_of(begun).trunk)
    start = StartTrunk.of(str(config.init_from))
    start.check_window(atlas)
    if begun is not None and begun.config.get("start") is not None:
        start.check_same(begun.config["start"], begun.url)
    return replace(config, trunk=start.config)


def begun_store(
    atlas: Atlas, out: str, config: TrainConfig, *, on_event: Subscriber = ignore
) -> ModelStore:
    """Return the model store: the one that is there, else a new one.

    Of two that begin the same one in a bucket, one is refused.
    """
    if not _absent(out):
        return ModelStore.open(out)
    if urls.is_local(out):  # made aside and renamed: one of two finds it taken
        return _new_store(atlas, out, config)
    with claimed(f"{out.rstrip('/')}.begin", on_event=on_event):
        return _new_store(atlas, out, config) if _absent(out) else ModelStore.open(out)


def _new_store(atlas: Atlas, out: str, config: TrainConfig) -> ModelStore:
    urls.delete(out)  # what never was finished held no checkpoint
    labels, _ = batch_labels(atlas.obs, config.batch_key)
    obs = atlas.obs if labels is None else atlas.obs.assign(scbasset_batch=labels.codes)
    start = None if config.init_from is None else StartTrunk.of(config.init_from).as_json()
    return ModelStore.create(
        out,
        obs=obs,
        config={"train": config.as_json(), "atlas": atlas_fingerprint(atlas), "start": start},
        block_cells=atlas.blocks[0].n_cells,
        batches=() if labels is None else labels.names,
        provenance={
            **formats.provenance([], {"atlas": atlas.url, "start": start}, config.seed),
            "atlas": dict(atlas.provenance),
        },
    )


def still_to_do(config: TrainConfig, store: ModelStore) -> TrainConfig:
    """Return the settings of a run from here on: a checkpoint stands for what came before it."""
    return config if store.latest_name() is None else replace(config, init_from=None)


def _check_same_run(store: ModelStore, atlas: Atlas, config: TrainConfig) -> None:
    if store.config.get("atlas") != atlas_fingerprint(atlas):
        raise UserInputError(
            f"{store.url} was not started on {atlas.url} (sizes or provenance differ); give the "
            "atlas it was started on to resume it, or another --out."
        )
    config.check_continues(_settings_of(store), store.url)


def _settings_of(store: ModelStore) -> TrainConfig:
    return TrainConfig.from_json(dict(store.config["train"]))


def batch_labels(obs: pd.DataFrame, key: str | None) -> tuple[CellLabels | None, str | None]:
    """Return the cells' batches, and a warning where they look like none.

    Raises
    ------
    UserInputError
        A cell has no batch, all cells have the same, or each has its own.
    """
    if key is None:
        return None, None
    labels = cell_labels(obs, key, what="the atlas")
    if labels.n_unlabelled:
        raise UserInputError(
            f"{labels.n_unlabelled:,} of {len(obs):,} cells have no batch in obs column {key!r}; "
            "fill it in or drop them."
        )
    return labels, check_batches(labels, "the atlas")
