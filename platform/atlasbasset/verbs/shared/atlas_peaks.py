"""Peaks of an atlas as a model sees them: their embeddings and their labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.gather import gather
from atlasbasset.core.inference import embed_codes
from atlasbasset.engine.labels.host import LabelShard
from atlasbasset.inference.model import trunk_config
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Progress
from atlasstore.files import urls
from atlasstore.resume.units import Ranges, Stage
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.batch.gather import Arrays
    from atlasbasset.inference.model import Embedder
    from atlasstore.events import Subscriber
    from atlasstore.models.model_store import ModelStore
    from atlasstore.resume.units import Unit
    from atlasstore.zarrio.blocks import CellBlock

__all__ = ["atlas_for", "check_window", "embed_peaks", "label_inputs", "peak_inputs", "peak_labels"]

_READ_ROWS = 1024
_THIS_PROCESS = WorkerPool()


def check_window(model: ModelStore, atlas: Atlas) -> None:
    """Raise UserInputError unless the atlas stores windows of the model's length."""
    window_bp = trunk_config(model).window_bp
    if atlas.window_bp != window_bp:
        raise UserInputError(
            f"{atlas.url} has windows of {atlas.window_bp} bp, but {model.url} reads "
            f"{window_bp} bp; preprocess with --window-bp {window_bp}."
        )


def peak_inputs(atlas: Atlas) -> list[str]:
    """Return URLs of what a job that reads peaks alone reads: cells may be added meanwhile."""
    return [urls.join(atlas.url, part) for part in ("var", "sequence")]


def label_inputs(atlas: Atlas) -> list[str]:
    """Return URLs of what a job that reads labels, too, reads."""
    return [*peak_inputs(atlas), urls.join(atlas.url, "labels")]


def atlas_for(pool: WorkerPool, atlas: Atlas) -> Atlas | str:
    """Return the atlas as the works of a pool hold it: open, or the URL that workers open."""
    return pool.worker_url(atlas.url) if pool.count else atlas


def embed_peaks(
    model: Embedder, atlas: Atlas, rows: NDArray[np.int64], *, on_event: Subscriber
) -> NDArray[np.float32]:
    """Embed peaks of an atlas, float32 (len(rows), E), in the order of `rows`."""
    h = np.empty((len(rows), model.trunk.config.embedding_dim), np.float32)
    order = np.argsort(rows, kind="stable")
    done = 0
    for start, stop in runs(atlas.n_peaks, _READ_ROWS):
        at = order[done : done + int(np.sum((rows >= start) & (rows < stop)))]
        if not at.size:
            continue
        codes = atlas.sequence_codes(start, stop)[rows[at] - start]
        found = embed_codes(model.trunk, torch.from_numpy(codes), compute_dtype=model.compute_dtype)
        h[at] = found.cpu().numpy()
        done += at.size
        on_event(Progress("embedding sequences", done, len(rows), "peaks"))
    return h


def peak_labels(
    atlas: Atlas,
    rows: NDArray[np.int64],
    *,
    cells: NDArray[np.int64] | None = None,
    pool: WorkerPool = _THIS_PROCESS,
    on_event: Subscriber,
) -> sparse.csr_array:
    """Return the labels of peaks in cells, bool CSR; block by block, never all at once.

    Blocks without any of the cells are not read.

    Parameters
    ----------
    rows
        Of the peaks, in the order of the result's rows.
    cells
        Of the result's columns, rising; all by default.
    pool
        Who reads, a block at a time.
    """
    if pool.count:
        return _labels_by_workers(atlas, rows, cells, pool, on_event)
    read, parts = _BlockLabels(atlas, rows, cells), []
    for block in atlas.blocks:
        parts.append(read.matrix(block))
        on_event(Progress("reading labels", block.index + 1, len(atlas.blocks), "blocks"))
    return sparse.csr_array(sparse.hstack(parts, format="csr"))


def _labels_by_workers(
    atlas: Atlas,
    rows: NDArray[np.int64],
    cells: NDArray[np.int64] | None,
    pool: WorkerPool,
    on_event: Subscriber,
) -> sparse.csr_array:
    read = _BlockLabels(pool.worker_url(atlas.url), rows, cells)
    stage = Stage("reading labels", "blocks")
    units = Ranges(len(atlas.blocks), 1)
    found = gather(units, read, pool=pool, stage=stage, on_event=on_event)
    parts = []
    for part in found:
        is_open = np.ones(len(part["indices"]), np.bool_)
        shape = (len(rows), int(part["n_cells"]))
        parts.append(sparse.csr_array((is_open, part["indices"], part["indptr"]), shape=shape))
    return sparse.csr_array(sparse.hstack(parts, format="csr"))


@dataclass(frozen=True, eq=False)
class _BlockLabels:
    """Reads the labels of chosen peaks in those of a block's cells that are chosen."""

    atlas: Atlas | str
    """An open atlas, or its URL."""
    rows: NDArray[np.int64]
    cells: NDArray[np.int64] | None
    """All by default."""

    @cached_property
    def _atlas(self) -> Atlas:
        return self.atlas if isinstance(self.atlas, Atlas) else Atlas.open(self.atlas)

    def __call__(self, unit: Unit) -> Arrays:
        found = self.matrix(self._atlas.blocks[unit["start"]])
        n_cells = np.array(found.shape[1])
        return {"indices": found.indices, "indptr": found.indptr, "n_cells": n_cells}

    def matrix(self, block: CellBlock) -> sparse.csr_array:
        """Return bool CSR (len(rows), chosen cells of the block)."""
        inside = None
        if self.cells is not None:
            inside = self.cells[(self.cells >= block.start) & (self.cells < block.stop)]
            if not inside.size:
                return sparse.csr_array((len(self.rows), 0), dtype=np.bool_)
        first, last = int(self.rows.min()), int(self.rows.max()) + 1
        shard = LabelShard([block], [self._atlas.labels(block.index, first, last)])
        found = sparse.csr_array(shard.matrix(self.rows - first))
        return found if inside is None else found[:, inside - block.start]
