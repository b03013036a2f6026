"""The known answers of a simulated atlas, and the model that its counts were drawn from.

For a cell c of type t and batch b with depth d_c (its expected number of fragments in peaks)::

    s[t,b,p]   = bias_p + sum_m (activity[t,m] + batch_activity[b,m]) * sites[p,m]
    w[t,b,p]   = exp(s[t,b,p]) / sum_q exp(s[t,b,q])
    count[c,p] ~ Poisson(d_c * w[t,b,p])
    P(open)    = 1 - exp(-d_c * w[t,b,p])

`bias_p` is the sum of a part that follows from the window's GC content, which a sequence model can
learn, and a random part, which it cannot. The simulation draws from this very object, so the truth
and the counts cannot disagree.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.simulation._truth_file import ARRAYS, FORMAT_VERSION, read_truth
from atlasstore.simulation.auroc import auroc_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_array

    from atlasstore.simulation.config import SimulationConfig
    from atlasstore.simulation.peaks import Sites

__all__ = ["Ceiling", "Truth"]

_ROWS_AT_ONCE = 512


@dataclass(frozen=True, eq=False, slots=True)
class Ceiling:
    """What the true probabilities themselves reach on given labels; no model can expect more."""

    auroc_per_cell: NDArray[np.float64]
    """float64, shape (n_cells,): over the peaks; NaN where a cell has one class only."""
    auroc_per_peak: NDArray[np.float64]
    """float64, shape (n_peaks,): over the cells; NaN where a peak has one class only."""

    @property
    def mean_per_cell(self) -> float:
        """Mean over the cells that have both classes."""
        return float(np.nanmean(self.auroc_per_cell))

    @property
    def mean_per_peak(self) -> float:
        """Mean over the peaks that have both classes."""
        return float(np.nanmean(self.auroc_per_peak))


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Truth:
    """Everything that was decided before the counts were drawn."""

    config: SimulationConfig
    cell_types: list[str]
    batches: list[str]
    motifs: list[str]
    """Names of the planted motifs, as in ``motifs.meme``."""
    peaks: list[str]
    """Names, ``chr1:100-600``, 0-based half-open."""
    type_shares: NDArray[np.float64]
    """float64, shape (n_cell_types,): probability that a cell is of each type."""
    batch_shares: NDArray[np.float64]
    """float64, shape (n_batches, n_cell_types): the same for the cells of each batch."""
    activities: NDArray[np.float64]
    """float64, shape (n_cell_types, n_motifs)."""
    batch_activities: NDArray[np.float64]
    """float64, shape (n_batches, n_motifs): added to the type's."""
    batch_shifts: NDArray[np.float64]
    """float64, shape (n_batches, n_peaks): added to the log rates, whatever the sequence."""
    sites: Sites
    bias_sequence: NDArray[np.float64]
    """float64, shape (n_peaks,): the part of the bias that follows from the GC content."""
    bias_random: NDArray[np.float64]
    """float64, shape (n_peaks,): the part of the bias that does not."""
    median_depth: float
    """Median expected fragments in peaks of a cell."""

    @classmethod
    def load(cls, folder: str | Path) -> Truth:
        """Read ``truth.json`` of a simulation's folder (a path or URL).

        Raises
        ------
        NotAStoreError
            When there is none.
        CorruptStoreError, FormatVersionError
            When it is damaged, or newer than this version reads.
        """
        return cls(**read_truth(folder))

    def save(self, folder: str | Path) -> None:
        """Write ``truth.json``; `load` gives every number back to the bit."""
        names = ("cell_types", "batches", "motifs", "peaks", "median_depth")
        content: dict[str, Any] = {"format_version": FORMAT_VERSION, "config": asdict(self.config)}
        content |= {key: getattr(self, key) for key in names}
        content |= {key: getattr(self, key).tolist() for key in ARRAYS}
        content["sites"] = {
            "peak": self.sites.peak.tolist(),
            "motif": self.sites.motif.tolist(),
            "start": self.sites.start.tolist(),
            "strand": np.where(self.sites.reverse, "-", "+").tolist(),
        }
        urls.write_bytes(urls.join(folder, "truth.json"), json.dumps(content).encode())

    @property
    def bias(self) -> NDArray[np.float64]:
        """float64, shape (n_peaks,): both parts of the peaks' bias."""
        return self.bias_sequence + self.bias_random

    def site_counts(self) -> csr_array:
        """Return how many sites of each motif a peak has, float64, shape (n_peaks, n_motifs)."""
        return self.sites.counts(len(self.peaks), len(self.motifs))

    def rates(
        self, cell_types: Sequence[str], *, batches: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Return w: how a cell's fragments are expected to spread over the peaks.

        Parameters
        ----------
        cell_types
            Names, one per row of the result.
        batches
            Names, one per row; None is no batch effect (also right where there is one batch).

        Returns
        -------
        numpy.ndarray
            float64, shape (len(cell_types), n_peaks); rows sum to 1. Times a cell's depth, the
            Poisson rate of its counts.

        Raises
        ------
        UserInputError
            On a cell type or batch that was not simulated.
        """
        activities = self.activities[_codes(cell_types, self.cell_types, "cell type")]
        shift: NDArray[np.float64] | float = 0.0
        if batches is not None:
            codes = _codes(batches, self.batches, "batch")
            activities = activities + self.batch_activities[codes]
            shift = self.batch_shifts[codes]
        scores = (self.site_counts() @ activities.T).T + self.bias + shift
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def all_rates(self) -> NDArray[np.float64]:
        """Return w of every type and batch, float64, shape (n_cell_types, n_batches, n_peaks)."""
        pairs = [(t, b) for t in self.cell_types for b in self.batches]
        flat = self.rates([t for t, _ in pairs], batches=[b for _, b in pairs])
        return flat.reshape(len(self.cell_types), len(self.batches), -1)

    def open_probability(
        self,
        cell_types: Sequence[str],
        depths: ArrayLike,
        *,
        batches: Sequence[str] | None = None,
        peaks: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Return the true probability that each peak is open in each cell (count above 0).

        Parameters
        ----------
        cell_types, depths, batches
            One entry per cell: ``obs["cell_type"]``, ``obs["depth"]``, ``obs["batch"]``.
        peaks
            Names of the peaks wanted, in the order wanted; None is all.

        Returns
        -------
        numpy.ndarray
            float64, shape (n_cells, n_peaks wanted). Dense: ask for ranges of cells when there are
            many.
        """
        columns = slice(None) if peaks is None else _codes(peaks, self.peaks, "peak")
        rows, distinct_types, distinct_batches = _distinct(cell_types, batches)
        rates = self.rates(distinct_types, batches=distinct_batches)[:, columns]
        depth = np.asarray(depths, dtype=np.float64)[:, None]
        return np.asarray(-np.expm1(-depth * rates[rows]))

    def ceiling(
        self, obs: pd.DataFrame, labels: csr_array, *, peaks: Sequence[str] | None = None
    ) -> Ceiling:
        """Return the auROC that the true probabilities reach on `labels`.

        Parameters
        ----------
        obs
            The cells, one row per row of `labels`: ``cell_type``, ``batch`` and ``depth``.
        labels
            Shape (n_cells, n_peaks), above 0 where open; sparse or dense.
        peaks
            Names of the columns of `labels`; None is all peaks in order.

        Notes
        -----
        Makes the dense probabilities, 8 bytes per cell and peak: pass a sample of the cells of a
        large atlas.
        """
        probability = self.open_probability(
            obs["cell_type"].tolist(),
            obs["depth"].to_numpy(),
            batches=obs["batch"].tolist(),
            peaks=peaks,
        )
        is_open = np.asarray((labels > 0).todense() if hasattr(labels, "todense") else labels > 0)
        return Ceiling(_auroc(probability, is_open), _auroc(probability.T, is_open.T))


def median_depth(truth: Truth) -> float:
    """Return the depth at which the mean share of open peaks is the configured density.

    The mean is over the batches evenly, and over each one's types by their shares; the share of
    open peaks rises with the depth, so there is one answer, found by bisection (Brent).
    """
    rates = truth.all_rates()
    shares = truth.batch_shares.T / len(truth.batches)

    def excess(log_depth: float) -> float:
        share_open = -np.expm1(-np.exp(log_depth) * rates).mean(axis=2)
        return float((shares * share_open).sum()) - truth.config.density

    first = np.log(truth.config.density * rates.shape[2])
    return float(np.exp(brentq(excess, first - 1, first + 30)))


def _codes(names: Sequence[str], known: list[str], what: str) -> NDArray[np.int64]:
    """Return the position of each name."""
    codes = np.asarray(pd.Index(known).get_indexer(pd.Index(list(names), dtype=object)))
    if (codes < 0).any():
        unknown = list(names)[int(np.argmax(codes < 0))]
        raise UserInputError(
            f"{what} {unknown!r} was not simulated; the simulation has {len(known)}, "
            f"{known[0]!r} to {known[-1]!r}."
        )
    return codes


def _distinct(
    cell_types: Sequence[str], batches: Sequence[str] | None
) -> tuple[NDArray[np.int64], list[str], list[str] | None]:
    """Return each cell's row among the distinct (type, batch) pairs, and the pairs."""
    if batches is None:
        rows, types = pd.factorize(np.asarray(cell_types, dtype=object))
        return np.asarray(rows, dtype=np.int64), list(types), None
    pairs = pd.MultiIndex.from_arrays([list(cell_types), list(batches)])
    rows, distinct = pd.factorize(pairs)
    return (
        np.asarray(rows, dtype=np.int64),
        [str(cell_type) for cell_type, _ in distinct],
        [str(batch) for _, batch in distinct],
    )


def _auroc(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    starts = range(0, scores.shape[0], _ROWS_AT_ONCE)
    parts = [
        auroc_rows(scores[s : s + _ROWS_AT_ONCE], labels[s : s + _ROWS_AT_ONCE]) for s in starts
    ]
    return np.concatenate(parts)
