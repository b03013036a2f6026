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
        cells/embedding (N, E), cells/intercept (N,), ... one zarr chunk per cell block

Any number of workers writes the cell tables (each its own blocks) and any other number reads them.
Nothing is pickled. Readers ignore a checkpoint without a manifest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
import zarr
from safetensors import SafetensorError

from atlasstore.errors import CorruptStoreError, NotAStoreError
from atlasstore.files import urls
from atlasstore.files.staging import staged
from atlasstore.models import later_labels
from atlasstore.redaction import shown_values
from atlasstore.resume.ledger import open_finished
from atlasstore.zarrio import arrays, formats
from atlasstore.zarrio import tables as table_io
from atlasstore.zarrio.blocks import CellBlock, cut_cells
from atlasstore.zarrio.overlay import WrittenOver

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "Checkpoint",
    "CheckpointWriter",
    "ModelStore",
    "Tensors",
    "checkpoint_of",
    "model_attrs",
    "point_to",
]

Tensors = Mapping[str, "NDArray[Any]"]
_POINTER_READS = 3
_NAME = re.compile(r"\d{10,}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One whole checkpoint of a model store."""

    url: str
    """Of the checkpoint's folder."""
    state: Mapping[str, Any]
    """What the writer put into the manifest: step, epoch, history, ..."""
    checksums: Mapping[str, str]
    """Tensor file -> sha256."""
    tables: tuple[str, ...] = ()
    """Names of the cell tables, such as ``cells/embedding``."""

    def tensors(self, name: str) -> dict[str, NDArray[Any]]:
        """Read ``<name>.safetensors``.

        Raises
        ------
        CorruptStoreError
            When the file is absent or its checksum differs from the manifest's.
        """
        file = f"{name}.safetensors"
        try:
            content = urls.read_bytes(urls.join(self.url, file))
            if _sha256(content) != self.checksums.get(file):
                raise self._damaged(file, "its checksum differs from the manifest's")
            return dict(safetensors.numpy.load(content))
        except (NotAStoreError, SafetensorError) as error:
            raise self._damaged(file, str(error).rstrip(".")) from error

    def _damaged(self, file: str, why: str) -> CorruptStoreError:
        model = self.url.rpartition("/checkpoints/")[0]
        return CorruptStoreError(
            f"{self.url}/{file} cannot be read ({why}); the model is damaged: copy it again from "
            f"where it is whole, or delete {model} and train it again."
        )

    def has_tensors(self, name: str) -> bool:
        """Whether the checkpoint holds ``<name>.safetensors``."""
        return f"{name}.safetensors" in self.checksums

    def rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Read rows [start, stop) of a cell table such as ``cells/embedding``.

        Raises
        ------
        CorruptStoreError
            When stored bytes fail their checksum.
        """
        array = arrays.member(urls.open_group(self.url), name, url=self.url)
        found = arrays.read_array(array, start, stop, url=self.url)
        if np.isnan(found).any():
            arrays.check_chunks(array, url=self.url)  # lost, unless training diverged
        return found


class CheckpointWriter:
    """Writes one checkpoint: one process begins and commits, all write their own blocks."""

    def __init__(self, model: str, step: int, *, n_cells: int, block_cells: int) -> None:
        self._model, self._n_cells, self._block_cells = model, n_cells, block_cells
        self.name = f"{step:010d}"
        self.url = urls.join(model, "checkpoints", self.name)
        self._checksums: dict[str, str] = {}

    @cached_property
    def _group(self) -> zarr.Group:
        return urls.open_group(self.url, mode="r+")

    def begin(self, tables: Mapping[str, tuple[int, ...]], *, over: bool = False) -> None:
        """Create the empty cell tables (name -> shape of a row), float32; one process only.

        What a killed writer left is deleted, or with `over` written over.

        Raises
        ------
        ValueError
            This number is the newest checkpoint's, which would be lost until the next is whole.
        """
        if not over and self.name == _latest_name(self._model):
            raise ValueError(f"checkpoint {self.name} of {self._model} is the newest: take another")
        if over:
            store = WrittenOver(urls.zarr_store(self.url, read_only=False))
            group = zarr.create_group(store, zarr_format=3)
        else:
            urls.delete(self.url)
            group = urls.create_group(self.url)
        for name, row_shape in tables.items():
            axes = ("cell", *(f"dim{i}" for i in range(len(row_shape))))
            arrays.create_array(
                group,
                name,
                shape=(self._n_cells, *row_shape),
                dtype=np.float32,
                chunk_rows=self._block_cells,
                fill_value=float("nan"),  # what a lost piece reads as, and no table holds
                axes=axes,
            )

    def write_rows(self, name: str, start: int, values: NDArray[Any]) -> None:
        """Write consecutive rows of a cell table; `start` must be a block's first cell."""
        if start % self._block_cells:
            raise ValueError(f"rows must start at a block's first cell, got {start}")
        arrays.write_pieces(arrays.member(self._group, name, url=self.url), start, values)

    def write_tensors(self, name: str, tensors: Tensors) -> None:
        """Write ``<name>.safetensors``; one process only."""
        file = f"{name}.safetensors"
        content = safetensors.numpy.save({k: np.array(v, order="C") for k, v in tensors.items()})
        urls.write_bytes(urls.join(self.url, file), content)
        self._checksums[file] = _sha256(content)

    def commit(self, state: Mapping[str, Any]) -> None:
        """Publish the checkpoint as the newest; one process, after every other has written.

        The one before is kept, so that a reader that has just opened it can finish; all others,
        also what killed writers left, are deleted.
        """
        manifest = _json_bytes(
            {
                "state": shown_values(state),
                "checksums": self._checksums,
                "tables": self._table_names(),
            }
        )
        urls.write_bytes(urls.join(self.url, "manifest.json"), manifest)
        before = _latest_name(self._model)
        _write_pointer(self._model, self.name, manifest)
        _delete_checkpoints_except(self._model, {before, self.name})

    def _table_names(self) -> list[str]:
        """Return the cell tables that are stored: another process may have begun them."""
        names = urls.list_names(self.url)
        groups = (found for name in names if isinstance(found := self._group.get(name), zarr.Group))
        return sorted(table.path for group in groups for table in _arrays(group))


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
            pointer = _pointer(self.url)
            if pointer is None:
                return None
            try:
                return _checkpoint(self.url, pointer)
            except CorruptStoreError:
                if attempt + 1 == _POINTER_READS or _pointer(self.url) == pointer:
                    raise
                continue  # two checkpoints were written between the two reads
        raise AssertionError("the last attempt returns or raises")

    def latest_name(self) -> str | None:
        """Return the name of the newest whole checkpoint; None before the first."""
        return _latest_name(self.url)

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
            found = [json.loads(line) for line in lines]
        except (NotAStoreError, ValueError, RecursionError) as error:
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


def _latest_name(model: str) -> str | None:
    pointer = _pointer(model)
    return None if pointer is None else str(pointer["checkpoint"])


def _pointer(model: str) -> dict[str, Any] | None:
    """Return what ``latest.json`` says; None before the first checkpoint."""
    place = urls.join(model, "latest.json")
    if not urls.exists(place):
        return None
    pointer = _json(place, _read(place))
    if not _NAME.fullmatch(str(pointer.get("checkpoint"))):
        raise CorruptStoreError(f"{place} names no checkpoint.")
    return pointer


def _checkpoint(model: str, pointer: Mapping[str, Any]) -> Checkpoint:
    """Return the checkpoint that ``latest.json`` names; earlier models lack its sha256."""
    url = urls.join(model, "checkpoints", pointer["checkpoint"])
    place = urls.join(url, "manifest.json")
    content = _read(place)
    recorded = pointer.get("manifest_sha256")
    if recorded is not None and recorded != _sha256(content):
        raise CorruptStoreError(f"{place} is not the manifest that latest.json speaks of.")
    manifest = _json(place, content)
    tables = manifest.get("tables", ("cells/embedding", "cells/intercept"))
    return Checkpoint(url, manifest["state"], manifest["checksums"], tuple(tables))


def checkpoint_of(model: str, name: str) -> Checkpoint:
    """Return a checkpoint by its name, whether it is the newest or not.

    Raises
    ------
    CorruptStoreError
        Its manifest is absent or cannot be read.
    """
    return _checkpoint(model, {"checkpoint": name})


def point_to(model: str, checkpoint: Checkpoint) -> None:
    """Make a whole checkpoint the newest."""
    manifest = _read(urls.join(checkpoint.url, "manifest.json"))
    _write_pointer(model, checkpoint.url.rpartition("/")[2], manifest)


def _write_pointer(model: str, name: str, manifest: bytes) -> None:
    latest = {"checkpoint": name, "manifest_sha256": _sha256(manifest)}
    urls.write_bytes(urls.join(model, "latest.json"), _json_bytes(latest))


def _delete_checkpoints_except(model: str, kept: Collection[str | None]) -> None:
    """Delete every checkpoint, whole or not, whose name is not in `kept`."""
    folder = urls.join(model, "checkpoints")
    for name in urls.list_names(folder):
        if name not in kept:
            urls.delete(urls.join(folder, name))


def _arrays(group: zarr.Group) -> list[zarr.Array[Any]]:
    """Return the arrays below a group, at any depth."""
    members = (member for _, member in group.members(max_depth=None))
    return [member for member in members if isinstance(member, zarr.Array)]


def _with_columns(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the columns of another that has the same rows, which win."""
    return table.assign(**{str(name): more[name].set_axis(table.index, axis=0) for name in more})


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def _read(url: str) -> bytes:
    try:
        return urls.read_bytes(url)
    except NotAStoreError as error:
        raise CorruptStoreError(f"{url} cannot be read ({error}).") from error


def _json(url: str, content: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(content))
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptStoreError(f"{url} cannot be read ({error}).") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
