"""A model on disk or in the cloud: cells, configuration, and checkpoints that are whole models.

::

    MODEL/                 zarr v3 group; attrs: format, config, n_cells, block_cells, batches
      obs/                 the atlas's cells, in anndata's encoding
      labels.json          names the newest table of labels that came later, with the sha256 of its
                           metadata; replaced atomically
      labels/<name>/obs/   that table: more columns for obs, which win over those of the same name
      labels/<name>/obsm/  maps of the cells that came later: UMAP, ...
      metrics.jsonl        one line per epoch, a copy of what the newest checkpoint holds
      latest.json          names the newest whole checkpoint; replaced atomically
      checkpoints/<step>/  manifest.json (written last: state, sha256 of each tensor file)
        trunk.safetensors, optimizer.safetensors ...
        cells/embedding (N, E), cells/intercept (N,), ... one zarr chunk per cell block, whose
                           CRC-32s are in the manifest

Any number of workers writes the cell tables (each its own blocks) and any other number reads them.
Nothing is pickled. Readers ignore a checkpoint without a manifest.
"""

from __future__ import annotations

import json
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from atlasstore.errors import CorruptStoreError, NotAStoreError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json
from atlasstore.files.staging import staged
from atlasstore.models import later_labels
from atlasstore.models.checkpoint import (
    Checkpoint,
    CheckpointWriter,
    checkpoint_of,
    latest_name,
    pointer_of,
)
from atlasstore.redaction import shown_values
from atlasstore.resume.ledger import open_finished
from atlasstore.zarrio import formats, outline
from atlasstore.zarrio import tables as table_io
from atlasstore.zarrio.blocks import CellBlock, cut_cells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["ModelStore", "model_attrs"]

_POINTER_READS = 3


class ModelStore:
    """A model store; made by `ModelStore.create` or `ModelStore.open`.

    Attributes
    ----------
    url
        Where it is stored.
    config
        The resolved configuration, JSON values.
    n_cells
        N.
    blocks
        The cell blocks, as in the atlas it was trained on.
    batches
        Names of the batches; empty without batch correction.
    """

    def __init__(self, url: str, attrs: Mapping[str, Any], info: formats.StoreInfo) -> None:
        self.url = url
        self.config: Mapping[str, Any] = attrs["config"]
        self.n_cells = int(attrs["n_cells"])
        self.block_cells = int(attrs["block_cells"])
        self.batches = tuple(str(b) for b in attrs["batches"])
        self.blocks: tuple[CellBlock, ...] = cut_cells(self.n_cells, self.block_cells)
        self.provenance = info.provenance

    @classmethod
    def create(
        cls,
        url: str | Path,
        *,
        obs: pd.DataFrame,
        config: Mapping[str, Any],
        block_cells: int,
        batches: Sequence[str] = (),
        provenance: Mapping[str, Any],
    ) -> ModelStore:
        """Make a model store without checkpoints.

        Parameters
        ----------
        obs
            One row per cell; with batch correction its column ``scbasset_batch`` holds int codes
            into `batches`.
        block_cells
            Cells per block, the atlas's.

        Raises
        ------
        StoreExistsError
            When something exists at `url`.
        """
        with staged(url) as place:
            group = urls.create_group(place)
            formats.begin(group, formats.MODEL)
            table_io.write_table(group, "obs", obs)
            attrs = model_attrs(len(obs), config, block_cells=block_cells, batches=batches)
            group.attrs.update(attrs)
            table_io.finish(group.store, formats.MODEL, provenance)
        return cls.open(url)

    @classmethod
    def open(cls, url: str | Path) -> ModelStore:
        """Open the model at `url`.

        Raises
        ------
        NotAStoreError
            Nothing is there, or it is no model.
        FormatVersionError
            It was written by a newer atlasbasset.
        """
        group = open_finished(url)
        info = formats.check(group, formats.MODEL, url=str(url))
        return cls(str(url), dict(group.attrs), info)

    def __repr__(self) -> str:
        return f"ModelStore({self.url!r}: {self.n_cells} cells)"

    @cached_property
    def obs(self) -> pd.DataFrame:
        """One row per cell, with the labels that came later; read once."""
        cells = table_io.read_table(urls.open_group(self.url), "obs", url=self.url)
        labels = later_labels.read_labels(self.url)
        return cells if labels is None else _with_columns(cells, labels)

    def obs_columns(self) -> list[str]:
        """Return the names of the columns of `obs`, which is not read."""
        names = outline.column_names(urls.open_group(self.url), "obs", url=self.url)
        return list(dict.fromkeys([*names, *later_labels.label_names(self.url)]))

    def labels_url(self) -> str | None:
        """Return where the labels that came later lie; None where there are none."""
        return later_labels.labels_url(self.url)

    @cached_property
    def obsm(self) -> Mapping[str, NDArray[Any]]:
        """Maps of the cells that came later (``X_umap``, ...), (N, dims) each; read once."""
        return later_labels.read_maps(self.url)

    def write_labels(
        self, labels: pd.DataFrame, *, maps: Mapping[str, NDArray[Any]] = MappingProxyType({})
    ) -> None:
        """Add columns to obs and arrays to obsm, or replace some; the store is whole at any moment.

        Parameters
        ----------
        labels
            One row per cell, in the order of obs.
        maps
            Name -> an array with such rows.
        """
        known = later_labels.read_labels(self.url)
        if known is not None:
            labels = _with_columns(known, labels)
        later_labels.write_labels(self.url, labels, {**later_labels.read_maps(self.url), **maps})
        for name in ("obs", "obsm"):
            self.__dict__.pop(name, None)

    def latest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; None before the first."""
        for attempt in range(_POINTER_READS):
            pointer = pointer_of(self.url)
            if pointer is None:
                return None
            try:
                return checkpoint_of(self.url, *pointer)
            except CorruptStoreError:
                if attempt + 1 == _POINTER_READS or pointer_of(self.url) == pointer:
                    raise
                continue  # two checkpoints were written between the two reads
        raise AssertionError("the last attempt returns or raises")

    def latest_name(self) -> str | None:
        """Return the name of the newest whole checkpoint; None before the first."""
        return latest_name(self.url)

    def newest(self) -> Checkpoint:
        """Return the newest whole checkpoint.

        Raises
        ------
        NotAStoreError
            When training has not written one yet.
        """
        found = self.latest()
        if found is None:
            raise NotAStoreError(
                f"{self.url} holds no checkpoint yet: its training has not finished an epoch; "
                "run the same train command to resume it."
            )
        return found

    def write_checkpoint(self, step: int) -> CheckpointWriter:
        """Return a writer of checkpoint `step`."""
        return CheckpointWriter(self.url, step, n_cells=self.n_cells, block_cells=self.block_cells)

    def write_metrics(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Replace ``metrics.jsonl`` by one line per epoch."""
        lines = [json.dumps(dict(record), allow_nan=False) + "\n" for record in history]
        urls.write_bytes(urls.join(self.url, "metrics.jsonl"), "".join(lines).encode())

    def check_metrics(self, checkpoint: Checkpoint) -> None:
        """Compare ``metrics.jsonl`` with a checkpoint's history, of which it is a copy.

        Raises
        ------
        CorruptStoreError
            When it is absent or another one.
        """
        history = checkpoint.state.get("history") or []
        if not history:
            return
        place = urls.join(self.url, "metrics.jsonl")
        try:
            lines = urls.read_bytes(place).decode().splitlines()
            found = [parsed_json(line) for line in lines]
        except (NotAStoreError, ValueError) as error:
            raise CorruptStoreError(f"{place} cannot be read ({error}).") from error
        if found != history:
            raise CorruptStoreError(
                f"{place} is not the history of {checkpoint.url}; the train command, run again, "
                "writes it again from there."
            )


def model_attrs(
    n_cells: int,
    config: Mapping[str, Any],
    *,
    block_cells: int,
    batches: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the root attributes of a model store."""
    return {
        "config": dict(shown_values(config)),
        "n_cells": n_cells,
        "block_cells": block_cells,
        "batches": list(batches),
    }


def _with_columns(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the columns of another that has the same rows, which win."""
    return table.assign(**{str(name): more[name].set_axis(table.index, axis=0) for name in more})
