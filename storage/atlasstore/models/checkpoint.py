"""One checkpoint of a model store: written by any number of workers, read by any number.

`model_store` has the layout.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
import zarr
from numpy.typing import NDArray
from safetensors import SafetensorError

from atlasstore.errors import CorruptStoreError, NotAStoreError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json
from atlasstore.redaction import shown_values
from atlasstore.zarrio import arrays
from atlasstore.zarrio.overlay import WrittenOver

__all__ = [
    "Checkpoint",
    "CheckpointWriter",
    "Pointer",
    "Tensors",
    "checkpoint_of",
    "latest_name",
    "point_to",
    "pointer_of",
]

Tensors = Mapping[str, NDArray[Any]]
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
    blocks: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Cell table -> CRC-32 of each block's values; empty in models of earlier versions."""

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
            When stored bytes fail their checksum, or are those of another block, table or time.
        """
        array = arrays.member(urls.open_group(self.url), name, url=self.url)
        if self.blocks:
            return self._compared(array, start, stop)
        found = arrays.read_array(array, start, stop, url=self.url)
        if np.isnan(found).any():
            arrays.check_chunks(array, url=self.url)  # lost, unless training diverged
        return found

    def _compared(self, array: zarr.Array[Any], start: int, stop: int) -> NDArray[Any]:
        """Read rows by whole blocks, which are decoded whole anyway, and compare their CRC-32s."""
        size, recorded = array.chunks[0], self.blocks.get(array.path, ())
        first = start // size * size
        whole = min(-(-stop // size) * size, array.shape[0])
        found = arrays.read_array(array, first, max(stop, whole), url=self.url)
        for begin in range(first, stop, size):
            values = found[begin - first : begin - first + size]
            if recorded[begin // size : begin // size + 1] != [arrays.checksum(values)]:
                arrays.check_chunks(array, url=self.url)  # the better reason, where it is that
                why = f"cells {begin} to {begin + len(values)} are not what was written"
                raise self._damaged(array.path, why)
        return found[start - first : stop - first]


class CheckpointWriter:
    """Writes one checkpoint: one process begins and commits, all write their own blocks."""

    def __init__(self, model: str, step: int, *, n_cells: int, block_cells: int) -> None:
        self._model, self._n_cells, self._block_cells = model, n_cells, block_cells
        self.name = f"{step:010d}"
        self.url = urls.join(model, "checkpoints", self.name)
        self._checksums: dict[str, str] = {}
        self.blocks: dict[str, dict[int, int]] = {}
        """What this process wrote: cell table -> index of a block -> CRC-32 of its values."""

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
        if not over and self.name == latest_name(self._model):
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
        own, size = self.blocks.setdefault(name, {}), self._block_cells
        for first in range(0, len(values), size):
            own[(start + first) // size] = arrays.checksum(values[first : first + size])

    def write_tensors(self, name: str, tensors: Tensors) -> None:
        """Write ``<name>.safetensors``; one process only."""
        file = f"{name}.safetensors"
        content = safetensors.numpy.save({k: np.array(v, order="C") for k, v in tensors.items()})
        urls.write_bytes(urls.join(self.url, file), content)
        self._checksums[file] = _sha256(content)

    def commit(
        self,
        state: Mapping[str, Any],
        *,
        blocks: Mapping[str, Mapping[int, int]] | None = None,
    ) -> None:
        """Publish the checkpoint as the newest; one process, after every other has written.

        The one before is kept, so that a reader that has just opened it can finish; all others,
        also what killed writers left, are deleted.

        Parameters
        ----------
        state
            What the manifest holds: step, epoch, history, ...
        blocks
            `CheckpointWriter.blocks` of all writers; of this one where it wrote all.

        Raises
        ------
        ValueError
            A block of a cell table was not written.
        """
        written, tables = self.blocks if blocks is None else blocks, self._table_names()
        indices = range(-(-self._n_cells // self._block_cells))
        if missing := [t for t in tables if sorted(written.get(t, ())) != list(indices)]:
            raise ValueError(f"not all blocks of {missing[0]} were written to {self.url}")
        manifest = _json_bytes(
            {
                "state": shown_values(state),
                "checksums": self._checksums,
                "tables": tables,
                "blocks": {table: [written[table][at] for at in indices] for table in tables},
            }
        )
        urls.write_bytes(urls.join(self.url, "manifest.json"), manifest)
        before = latest_name(self._model)
        _write_pointer(self._model, self.name, manifest)
        _delete_checkpoints_except(self._model, {before, self.name})

    def _table_names(self) -> list[str]:
        """Return the cell tables that are stored: another process may have begun them."""
        names = urls.list_names(self.url)
        groups = (found for name in names if isinstance(found := self._group.get(name), zarr.Group))
        return sorted(table.path for group in groups for table in _arrays(group))


def latest_name(model: str) -> str | None:
    """Return the name of the newest whole checkpoint; None before the first."""
    pointer = pointer_of(model)
    return None if pointer is None else pointer.checkpoint


class Pointer(NamedTuple):
    """What ``latest.json`` says."""

    checkpoint: str
    manifest_sha256: str | None
    """None in models of earlier versions."""


def pointer_of(model: str) -> Pointer | None:
    """Return what ``latest.json`` says; None before the first checkpoint."""
    place = urls.join(model, "latest.json")
    if not urls.exists(place):
        return None
    pointer = _json(place, _read(place))
    name, recorded = str(pointer.get("checkpoint")), pointer.get("manifest_sha256")
    if not _NAME.fullmatch(name):
        raise CorruptStoreError(f"{place} names no checkpoint.")
    return Pointer(name, None if recorded is None else str(recorded))


def checkpoint_of(model: str, name: str, manifest_sha256: str | None = None) -> Checkpoint:
    """Return a checkpoint by its name, whether it is the newest or not.

    Parameters
    ----------
    manifest_sha256
        Of its manifest, where it is known.

    Raises
    ------
    CorruptStoreError
        Its manifest is absent, is another one or cannot be read.
    """
    url = urls.join(model, "checkpoints", name)
    place = urls.join(url, "manifest.json")
    content = _read(place)
    if manifest_sha256 is not None and manifest_sha256 != _sha256(content):
        raise CorruptStoreError(f"{place} is not the manifest that latest.json speaks of.")
    manifest = _json(place, content)
    tables = manifest.get("tables", ("cells/embedding", "cells/intercept"))
    try:
        blocks = {str(name): list(found) for name, found in manifest.get("blocks", {}).items()}
        return Checkpoint(url, manifest["state"], manifest["checksums"], tuple(tables), blocks)
    except (LookupError, TypeError, AttributeError) as error:
        raise CorruptStoreError(f"{place} is no manifest ({error!r}).") from error


def point_to(model: str, checkpoint: Checkpoint) -> None:
    """Make a whole checkpoint the newest."""
    manifest = _read(urls.join(checkpoint.url, "manifest.json"))
    _write_pointer(model, checkpoint.url.rpartition("/")[2], manifest)


def _write_pointer(model: str, name: str, manifest: bytes) -> None:
    latest = Pointer(name, _sha256(manifest))
    urls.write_bytes(urls.join(model, "latest.json"), _json_bytes(latest._asdict()))


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


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def _read(url: str) -> bytes:
    try:
        return urls.read_bytes(url)
    except NotAStoreError as error:
        raise CorruptStoreError(f"{url} cannot be read ({error}).") from error


def _json(url: str, content: bytes) -> dict[str, Any]:
    try:
        return dict(parsed_json(content))
    except (ValueError, TypeError) as error:
        raise CorruptStoreError(f"{url} cannot be read ({error}).") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
