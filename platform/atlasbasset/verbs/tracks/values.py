"""Accessibility of groups at an atlas's peaks and along the genome.

Source: docs/tracks.md, "What a track shows".

Letters: P peaks, G groups, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import expit

from atlasbasset.core.inference import embed_codes
from atlasbasset.verbs.shared.open_counts import open_counts
from atlasstore.events import Progress
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import CellLabels
    from atlasbasset.inference.model import Embedder, Model
    from atlasbasset.verbs.shared.regions import Region
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.genome.fasta import Genome

__all__ = ["GroupLogits", "observed_shares", "predicted_windows"]

_WINDOWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False, slots=True)
class GroupLogits:
    """Predicts groups of cells, all at one depth."""

    embedding: NDArray[np.float32]
    """(G, E): mean embedding of each group."""
    mean_peak: NDArray[np.float64]
    """(E,): mean embedding of the peaks."""
    depth: float
    """Logit of the mean peak in the median cell of all."""

    @classmethod
    def of(cls, model: Model, groups: NDArray[np.float32], h: NDArray[np.float32]) -> GroupLogits:
        """Take the depth of the median cell; `h` (P, E) are the peaks' embeddings."""
        mean = h.mean(axis=0, dtype=np.float64)
        embedding, intercept = model.table()
        return cls(groups, mean, float(np.median(embedding @ mean + intercept)))

    def probability(self, h: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the chance that sequences are open in a cell of each group, float32 (B, G)."""
        logit = (h - self.mean_peak) @ self.embedding.T + self.depth
        return np.asarray(expit(logit), np.float32)


def observed_shares(
    atlas: Atlas, labels: CellLabels, *, on_event: Subscriber
) -> NDArray[np.float32]:
    """Return the share of each group's cells in which each peak is open, float32 (P, G)."""
    n_groups = len(labels.names)
    shares = np.empty((atlas.n_peaks, n_groups), np.float32)
    for start, stop, n_open in open_counts(atlas, labels.codes, n_groups, on_event=on_event):
        shares[start:stop] = n_open / labels.counts
    return shares


def predicted_windows(
    model: Embedder,
    genome: Genome,
    region: Region,
    logits: GroupLogits,
    step_bp: int,
    path: Path,
    *,
    on_event: Subscriber,
) -> NDArray[np.float32]:
    """Predict a window around the middle of every step of a region.

    Returns float32 (windows, G), in a file at `path`. Every window is embedded whole; bases past a
    chromosome's end are unknown.
    """
    length, n_windows = model.trunk.config.window_bp, region.n_windows(step_bp)
    shape = (n_windows, len(logits.embedding))
    found = np.memmap(path, np.float32, mode="w+", shape=shape)
    for first, last in runs(n_windows, _WINDOWS_AT_ONCE):
        middles = region.start + step_bp * np.arange(first, last) + step_bp // 2
        starts = (middles - length // 2).astype(np.int64)
        codes = genome.codes(region.chrom, int(starts[0]), int(starts[-1]) + length)
        windows = np.lib.stride_tricks.sliding_window_view(codes, length)[starts - starts[0]]
        h = embed_codes(
            model.trunk, torch.from_numpy(windows.copy()), compute_dtype=model.compute_dtype
        )
        found[first:last] = logits.probability(h.cpu().numpy())
        on_event(Progress(f"predicting {region.chrom}", last, n_windows, "windows"))
    return found
