"""Fitted peaks that have no deviation of their own, solved on an atlas's solved cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from atlasbasset.core.deviation_choice import FEWEST, deviation_weight
from atlasbasset.core.peak_deviations import solve_deviating
from atlasbasset.core.peak_deviations import solving_bytes as peaks_bytes
from atlasbasset.verbs.map_cells.work import (
    READ_PEAKS,
    labels_by_peak,
    read_solved,
    reading_bytes,
)
from atlasbasset.verbs.shared.embed_peaks_work import (
    UNIT_PEAKS,
    read_embedded,
    write_embedded,
)
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from atlasbasset.inference.peak_deviations import PeakDeviations
    from atlasstore.resume.units import Receipt, Unit

__all__ = ["FreePeaks", "PeakChoice", "SolvePeaks", "free_peaks"]

PeakChoice = Literal["auto", "on", "off"]
"""Whether fitted peaks without a deviation are solved."""


@dataclass(frozen=True, eq=False)
class FreePeaks:
    """Which fitted peaks are solved, and how strongly they are held."""

    is_free: NDArray[np.bool_]
    """Of each fitted peak."""
    weight: float
    """As `l2` of `solve_deviating`."""

    @property
    def count(self) -> int:
        """How many."""
        return int(self.is_free.sum())

    def memory_bytes(self, atlas: Atlas, width: int) -> int:
        """Return what a `SolvePeaks` holds at most beside the program itself, bytes."""
        n_peaks = min(UNIT_PEAKS, self.count)
        features = (4 + 8) * (width + 1) * atlas.n_cells
        return features + reading_bytes(atlas) + peaks_bytes(n_peaks, atlas.n_cells, width)


def free_peaks(
    atlas: Atlas,
    rows: NDArray[np.int64],
    deviations: PeakDeviations | None,
    *,
    choice: str,
    deviates: bool,
    with_batches: bool,
    cells_l2: float,
    trained: Mapping[str, Any],
) -> FreePeaks | None:
    """Return which of the fitted peaks are solved; None where none is.

    Parameters
    ----------
    rows
        The fitted peaks' rows in the atlas.
    deviations
        The model's, where they are of this atlas's peaks.
    choice
        "auto" solves them where they may deviate, no batches are told apart, and cells and peaks
        are as many as training asks for.
    deviates
        Whether peaks may deviate for this model: its own do, or these are others.
    cells_l2
        The cells' weight.
    trained
        The model's training settings: a ``peak_l2`` that was given holds here as well.

    Raises
    ------
    UserInputError
        For another `choice`, and for "on" beside batches.
    """
    if choice not in get_args(PeakChoice):
        allowed = ", ".join(get_args(PeakChoice))
        raise UserInputError(f"solve_peaks must be one of {allowed}, got {choice!r}.")
    if choice == "on" and with_batches:
        raise UserInputError(
            "peaks are not solved where batches are told apart, as they would take up what the "
            "batches do; leave out one of solve_peaks and batch_key."
        )
    many = min(len(rows), atlas.n_cells) >= FEWEST
    if choice == "off" or with_batches or (choice == "auto" and not (deviates and many)):
        return None
    has_own = np.zeros(len(rows), bool)
    if deviations is not None:
        has_own |= deviations.deviation[rows].any(axis=1)
    is_free = ~has_own
    if not is_free.any():
        return None
    share = atlas.n_positives / (atlas.n_peaks * atlas.n_cells)
    weight = trained.get("peak_l2") or deviation_weight(len(rows), atlas.n_cells, share, cells_l2)
    return FreePeaks(is_free, float(weight))


@dataclass(frozen=True, eq=False)
class SolvePeaks:
    """Work: solve the free ones of a run of fitted peaks on the cells, and copy the others.

    Holds all cells' embeddings, and the labels of one block for `READ_PEAKS` peaks at a time.
    """

    atlas: Atlas | str
    """An open atlas, or its URL."""
    rows: NDArray[np.int64]
    """The fitted peaks' rows in the atlas; a unit is a run of positions in it."""
    free: FreePeaks
    given_url: str
    """Of the fitted peaks (`create_embedded`): what sequences say of free ones, and where the
    others are."""
    solved_url: str
    """Of the cells (`SolveCells`)."""
    url: str
    """Of the same array once more, which is filled."""
    width: int
    """E."""
    device: str
    """Where to compute."""

    @cached_property
    def _atlas(self) -> Atlas:
        return self.atlas if isinstance(self.atlas, Atlas) else Atlas.open(self.atlas)

    @cached_property
    def _cells(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return read_solved(self.solved_url, self._atlas.blocks, self.width)

    @cached_property
    def _features(self) -> NDArray[np.float64]:
        w, _ = self._cells
        return np.concatenate([w, np.ones((len(w), 1))], axis=1, dtype=np.float64)

    def __call__(self, unit: Unit) -> Receipt:
        """Solve and write positions [start, stop)."""
        run = slice(unit["start"], unit["stop"])
        x, is_free = read_embedded(self.given_url, run), self.free.is_free[run]
        if is_free.any():
            x[is_free] = self._solved(self.rows[run][is_free], x[is_free])
        write_embedded(self.url, run.start, x)
        return {}

    def _solved(self, rows: NDArray[np.int64], said: NDArray[np.float32]) -> NDArray[np.float32]:
        w, intercept, sums, of_sequences = (
            torch.from_numpy(table).to(self.device)
            for table in (*self._cells, self._open_sums(rows), said)
        )
        x = solve_deviating(w, intercept, sums, of_sequences, l2=self.free.weight)
        found: NDArray[np.float32] = x.float().cpu().numpy()
        return found

    def _open_sums(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sum ``[w_c, 1]`` over the open cells of each of `rows`, float64 (len(rows), E + 1)."""
        first, end = int(rows[0]), int(rows[-1]) + 1
        sums = np.zeros((len(rows), self._features.shape[1]))
        for start, stop in runs(end - first, READ_PEAKS):
            low, high = np.searchsorted(rows, (first + start, first + stop))
            if low == high:
                continue
            chosen = rows[low:high] - first - start
            for block in self._atlas.blocks:
                labels = labels_by_peak(self._atlas, block, first + start, first + stop)
                sums[low:high] += labels[chosen] @ self._features[block.start : block.stop]
        return sums
