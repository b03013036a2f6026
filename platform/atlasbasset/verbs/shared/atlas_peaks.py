"""Peaks of an atlas as a model sees them: their embeddings and their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from atlasbasset.core.inference import embed_codes
from atlasbasset.engine.labels.host import LabelShard
from atlasbasset.inference.model import trunk_config
from atlasstore.errors import UserInputError
from atlasstore.events import Progress
from atlasstore.files import urls
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.inference.model import Embedder
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.models.model_store import ModelStore

__all__ = ["atlas_for", "check_window", "embed_peaks", "label_inputs", "peak_inputs", "peak_labels"]

_READ_ROWS = 1024


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
    on_event: Subscriber,
) -> sparse.csr_array:
    """Return the labels of peaks in cells, bool CSR; block by block, never all at once.

    Parameters
    ----------
    rows
        Of the peaks, in the order of the result's rows.
    cells
        Of the result's columns, rising; all by default.
    """
    first, last = int(rows.min()), int(rows.max()) + 1
    parts = []
    for block in atlas.blocks:
        shard = LabelShard([block], [atlas.labels(block.index, first, last)])
        part = shard.matrix(rows - first)
        if cells is not None:
            inside = cells[(cells >= block.start) & (cells < block.stop)]
            part = part[:, inside - block.start]
        parts.append(part)
        on_event(Progress("reading labels", block.index + 1, len(atlas.blocks), "blocks"))
    return sparse.csr_array(sparse.hstack(parts, format="csr"))
