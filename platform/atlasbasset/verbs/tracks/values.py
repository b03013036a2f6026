"""Accessibility of groups at peaks and, unit by unit, along the genome.

Source: docs/tracks.md, "What a track shows".

Letters: P peaks, G groups, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import expit

from atlasbasset.batch.scratch import scratch_group
from atlasbasset.core.inference import embed_codes
from atlasstore.genome.fasta import Genome
from atlasstore.zarrio import arrays
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.batch.model_source import ModelSource
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.shared.regions import Region
    from atlasstore.resume.units import Receipt, Unit

__all__ = ["GroupLogits", "PredictWindows", "create_windows", "read_windows", "window_units"]

_UNIT_WINDOWS = 1024
_ARRAY = "windows"


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


@dataclass(frozen=True, eq=False)
class PredictWindows:
    """Work: predict a window around the middle of every step of a stretch of a region.

    Every window is embedded whole; bases past a chromosome's end are unknown.
    """

    model: ModelSource
    genome: str
    """Path of a FASTA."""
    regions: Sequence[Region]
    logits: GroupLogits
    step_bp: int
    url: str
    """Where `create_windows` made the array."""

    @cached_property
    def _genome(self) -> Genome:
        return Genome.open(self.genome)

    def __call__(self, unit: Unit) -> Receipt:
        """Predict and write windows [start, stop) of a region."""
        start, stop = unit["start"], unit["stop"]
        found = np.full((_UNIT_WINDOWS, len(self.logits.embedding)), np.nan, np.float32)
        found[: stop - start] = self._predicted(self.regions[unit["region"]], start, stop)
        place = _first_row(self.regions, self.step_bp, unit["region"]) + start
        arrays.write_pieces(arrays.open_member(self.url, _ARRAY, mode="r+"), place, found)
        return {}

    def _predicted(self, region: Region, first: int, last: int) -> NDArray[np.float32]:
        model = self.model.embedder
        length = model.trunk.config.window_bp
        middles = region.start + self.step_bp * np.arange(first, last) + self.step_bp // 2
        starts = (middles - length // 2).astype(np.int64)
        codes = self._genome.codes(region.chrom, int(starts[0]), int(starts[-1]) + length)
        windows = np.lib.stride_tricks.sliding_window_view(codes, length)[starts - starts[0]]
        sequences = torch.from_numpy(windows.copy())
        h = embed_codes(model.trunk, sequences, compute_dtype=model.compute_dtype)
        return self.logits.probability(h.cpu().numpy())


def window_units(regions: Sequence[Region], step_bp: int) -> list[Unit]:
    """Return the units of `PredictWindows`."""
    return [
        {"region": number, "start": start, "stop": stop}
        for number, region in enumerate(regions)
        for start, stop in runs(region.n_windows(step_bp), _UNIT_WINDOWS)
    ]


def create_windows(url: str, regions: Sequence[Region], step_bp: int, n_groups: int) -> None:
    """Create the array that `PredictWindows` fills: each region begins at a whole unit."""
    arrays.create_array(
        scratch_group(url),
        _ARRAY,
        shape=(_first_row(regions, step_bp, len(regions)), n_groups),
        dtype=np.float32,
        chunk_rows=_UNIT_WINDOWS,
        fill_value=float("nan"),
        axes=("window", "group"),
    )


def read_windows(
    url: str, regions: Sequence[Region], step_bp: int, number: int
) -> NDArray[np.float32]:
    """Read the windows of a region, float32 (windows, G)."""
    first = _first_row(regions, step_bp, number)
    last = first + regions[number].n_windows(step_bp)
    return arrays.read_array(arrays.open_member(url, _ARRAY), first, last, url=url)


def _first_row(regions: Sequence[Region], step_bp: int, number: int) -> int:
    """Return where region `number` begins in the array."""
    units = (-(-region.n_windows(step_bp) // _UNIT_WINDOWS) for region in regions[:number])
    return _UNIT_WINDOWS * sum(units)
