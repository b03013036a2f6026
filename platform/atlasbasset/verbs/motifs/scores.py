"""TF activity of cells from embedded insertions, z-scored over all cells, shard by shard of cells.

On the linear scale ``activity = W . effect``, so its mean and sd over cells follow exactly from the
mean and covariance of W: no pass over cells x motifs is needed before the shards are written.
After a sigmoid there is no such way: the raw activities are made first, then read for the z-scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from atlasbasset.batch.scratch import scratch_group
from atlasbasset.verbs.motifs.insertion import read_inserted
from atlasstore.results.writer import write_rows
from atlasstore.zarrio import arrays
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from atlasstore.resume.units import Receipt, Unit
    from atlasstore.zarrio.table_plan import TablePlan

__all__ = [
    "LinearScores",
    "Moments",
    "SigmoidActivity",
    "SigmoidScores",
    "create_raw",
    "linear_moments",
    "raw_moments",
]

_TILE_CELLS = 1024
_READ_CELLS = 65_536
_FLAT = 1e-6
"""Share of the mean, after a sigmoid of 1, below which a spread is the rounding of float32."""
_RAW = "raw"


class Moments(NamedTuple):
    """Of each motif's raw activity over all cells, float64 (n_motifs,)."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    """Of the population, as the published z-scores; 0 where the activity does not vary beyond
    rounding."""

    @property
    def weight(self) -> NDArray[np.float64]:
        """``1 / sd``; 0 where sd is 0, so that such a motif's z-scores are 0."""
        return np.divide(1, self.sd, out=np.zeros_like(self.sd), where=self.sd > 0)


def _moments(
    mean: NDArray[np.float64], variance: NDArray[np.float64], *, least: NDArray[np.float64] | float
) -> Moments:
    sd = np.sqrt(np.maximum(variance, 0))
    return Moments(mean, np.where(sd > least, sd, 0))


def linear_moments(embedding: NDArray[np.float32], effects: NDArray[np.float64]) -> Moments:
    """Return the moments of ``embedding @ effects.T`` over its rows, without making it.

    ``mean = effects . mean(W)`` and ``variance = effects . cov(W) . effects``.

    Parameters
    ----------
    embedding
        W: float32 (N, E).
    effects
        float64 (n_motifs, E).
    """
    centre = _mean(embedding)
    scatter = np.zeros((len(centre), len(centre)))
    for start, stop in runs(len(embedding), _READ_CELLS):
        centred = embedding[start:stop] - centre
        scatter += centred.T @ centred
    covariance = scatter / len(embedding)
    mean, variance = effects @ centre, ((effects @ covariance) * effects).sum(axis=1)
    return _moments(mean, variance, least=_FLAT * np.abs(mean))


def _mean(embedding: NDArray[np.float32]) -> NDArray[np.float64]:
    centre: NDArray[np.float64] = embedding.mean(axis=0, dtype=np.float64)
    return centre


def raw_moments(url: str) -> Moments:
    """Return the moments of the raw activities that `SigmoidActivity` wrote."""
    array = arrays.open_member(url, _RAW)
    arrays.check_chunks(array, url=url)
    n_cells, n_motifs = array.shape
    pieces = (
        arrays.read_array(array, start, stop, url=url).astype(np.float64)
        for start, stop in runs(n_cells, array.chunks[0])
    )
    return _moments(*_combined(pieces, n_motifs), least=_FLAT)


def _combined(
    pieces: Iterable[NDArray[np.float64]], n_motifs: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance over the rows of all pieces (Chan, Golub and LeVeque 1983)."""
    n, mean, squares = 0, np.zeros(n_motifs), np.zeros(n_motifs)
    for piece in pieces:
        own = piece.mean(axis=0)
        squares += ((piece - own) ** 2).sum(axis=0)
        squares += (own - mean) ** 2 * (n * len(piece) / (n + len(piece)))
        mean = mean + (own - mean) * (len(piece) / (n + len(piece)))
        n += len(piece)
    return mean, squares / n


@dataclass(frozen=True, eq=False)
class LinearScores:
    """Work: write the z-scores of a run of cells, ``(W - mean(W)) . effect / sd``."""

    embedding: NDArray[np.float32]
    """W of all cells, (N, E)."""
    effects: NDArray[np.float64]
    """(n_motifs, E)."""
    moments: Moments
    place: str
    """The result that is written."""
    plan: TablePlan
    """How its X is cut; a unit is one of its shards."""

    @cached_property
    def _centre(self) -> NDArray[np.float64]:
        return _mean(self.embedding)

    def __call__(self, unit: Unit) -> Receipt:
        """Write cells [start, stop)."""
        start, stop = unit["start"], unit["stop"]
        centred = self.embedding[start:stop] - self._centre
        scores = centred @ (self.effects * self.moments.weight[:, None]).T
        return write_rows(self.place, self.plan, start, scores.astype(np.float32))


def create_raw(url: str, plan: TablePlan) -> None:
    """Create the array that `SigmoidActivity` fills: like X, a piece per shard of X."""
    arrays.create_array(
        scratch_group(url),
        _RAW,
        shape=plan.shape,
        dtype=np.float32,
        chunk_rows=plan.shard_rows,
        fill_value=float("nan"),
        axes=("cell", "motif"),
        compression_level=1,
    )


@dataclass(frozen=True, eq=False)
class SigmoidActivity:
    """Work: write the raw activities of a run of cells, averaged over backgrounds after a sigmoid.

    ``mean over backgrounds of sigmoid(h_motif . w) - sigmoid(h_background . w)``, in tiles of
    1,024 cells by all backgrounds of one motif.
    """

    embedding: NDArray[np.float32]
    """W of all cells, (N, E)."""
    device: str
    """Where to compute."""
    inserted_url: str
    """Where the embeddings are."""
    url: str
    """Where `create_raw` made the array."""

    @cached_property
    def _inserted(self) -> torch.Tensor:
        """Return h of all sequences, (1 + n_motifs, E, n_backgrounds)."""
        h = np.concatenate(list(read_inserted(self.inserted_url)))
        return torch.from_numpy(h).permute(1, 2, 0).contiguous().to(self.device)

    def __call__(self, unit: Unit) -> Receipt:
        """Write cells [start, stop)."""
        start, stop = unit["start"], unit["stop"]
        raw = np.empty((stop - start, len(self._inserted) - 1), np.float32)
        for first, last in runs(stop - start, _TILE_CELLS):
            tile = torch.tensor(self.embedding[start + first : start + last], device=self.device)
            raw[first:last] = self._tile(tile).cpu().numpy()
        arrays.write_pieces(arrays.open_member(self.url, _RAW, mode="r+"), start, raw)
        return {"bytes": raw.nbytes}

    def _tile(self, embedding: torch.Tensor) -> torch.Tensor:
        without = (embedding @ self._inserted[0]).sigmoid_()
        means = [(embedding @ h).sigmoid_().sub_(without).mean(dim=1) for h in self._inserted[1:]]
        return torch.stack(means, dim=1)


@dataclass(frozen=True, eq=False)
class SigmoidScores:
    """Work: write the z-scores of a run of cells from their raw activities."""

    url: str
    """Where `SigmoidActivity` wrote them."""
    moments: Moments
    place: str
    plan: TablePlan

    def __call__(self, unit: Unit) -> Receipt:
        """Write cells [start, stop)."""
        start, stop = unit["start"], unit["stop"]
        raw = arrays.read_array(arrays.open_member(self.url, _RAW), start, stop, url=self.url)
        scores = (raw - self.moments.mean) * self.moments.weight
        return write_rows(self.place, self.plan, start, scores.astype(np.float32))
