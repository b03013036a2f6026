"""The cell layer's start from the labels: a truncated SVD instead of random numbers.

Labels are standardised by depth: with p_c the share of the training peaks that are open in cell c,
``x_cp = (y_cp - p_c) / sqrt(p_c (1 - p_c))``. A cell's embedding starts as its coordinates along
the first E right singular vectors of x, all scaled by one number so that their root mean square is
He's ``sqrt(2 / E)``; its intercept starts as the logit of p_c (docs/method.md, "The cell layer is
convex").

The vectors come from randomised subspace iteration (Halko, Martinsson and Tropp 2011) on a sample
of cells, evenly spaced, that fits in memory; one more pass over all labels gives all cells their
coordinates. No array of cells x cells or cells x peaks is allocated, x is never dense, and workers
exchange (peaks, E) and (E, E) sums only.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy import sparse

from atlasbasset.core.seeds import Stream
from atlasstore.events import Progress, ignore

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from atlasbasset.core.cells import CellLayer
    from atlasbasset.core.runtime import Runtime
    from atlasbasset.engine.labels.host import WorkerData
    from atlasstore.events import Subscriber

__all__ = ["OVERSAMPLING", "SAMPLE_POSITIVES", "Placed", "leading_vectors", "start_from_svd"]

OVERSAMPLING = 10
POWER_ITERATIONS = 4
_STAGE = "starting cells from the labels' SVD"
SAMPLE_POSITIVES = 32_000_000
"""Open pairs of the sample of cells: 8 bytes each."""


@dataclass(frozen=True, slots=True)
class _Scale:
    """Cells' shares of open peaks and what standardises them."""

    share: NDArray[np.float64]
    """(n,)"""
    weight: NDArray[np.float64]
    """(n,) ``1 / sqrt(p (1 - p))``, 0 for cells with no or all peaks open."""

    def at(self, cells: NDArray[np.int64]) -> _Scale:
        return _Scale(self.share[cells], self.weight[cells])


class Placed(NamedTuple):
    """How the start came about: what the batches' effects need (`engine.batch_start`)."""

    vectors: NDArray[np.float64]
    """(P, k) orthonormal basis of the leading right singular vectors, k a little above E."""
    to_embedding: NDArray[np.float64]
    """(k, E) turns weights of ``sqrt(P) vectors`` in a cell's logits into its embedding, about."""


def start_from_svd(
    cells: CellLayer,
    data: WorkerData,
    peaks: NDArray[np.int64],
    runtime: Runtime,
    *,
    n_cells: int,
    n_positives: int,
    seed: int,
    power_iterations: int = POWER_ITERATIONS,
    sample_positives: int = SAMPLE_POSITIVES,
    on_event: Subscriber = ignore,
) -> Placed:
    """Set the embeddings and intercepts of `cells`; every worker calls it.

    Parameters
    ----------
    peaks
        Training peaks, ascending; the others' labels stay unseen.
    n_cells, n_positives
        Of the whole atlas: they decide the sample.
    power_iterations
        Passes over the sample's labels, each of which brings the basis nearer to the exact one.
    sample_positives
        Open pairs of the sample of cells, at most.
    on_event
        Called with `Progress` after every pass over labels.
    """
    dim = cells.embedding.shape[1]
    n_passes = power_iterations + 3
    passes = (Progress(_STAGE, n, n_passes, "passes over labels") for n in count())

    def on_pass() -> None:
        on_event(next(passes))

    on_pass()
    scale = _scale(_open_peaks(data, peaks), len(peaks))
    on_pass()
    labels, own = _sample(data, peaks, scale, n_positives, most=sample_positives)
    on_pass()
    vectors = _vectors(labels, own, runtime, dim, seed, n=power_iterations, on_pass=on_pass)
    coordinates = _project_all(data, peaks, scale, vectors)
    on_pass()
    turned = _place(cells, coordinates, runtime, n_cells)
    share = torch.from_numpy((scale.share * len(peaks) + 0.5) / (len(peaks) + 1))
    with torch.no_grad():
        cells.intercept.copy_(share.logit())
    spread = np.sqrt(scale.share * (1 - scale.share)).sum(keepdims=True)
    return Placed(vectors, turned * np.sqrt(len(peaks)) * _summed(spread, runtime) / n_cells)


def leading_vectors(
    data: WorkerData,
    peaks: NDArray[np.int64],
    runtime: Runtime,
    *,
    dim: int,
    n_positives: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return `Placed.vectors` without placing any cell."""
    scale = _scale(_open_peaks(data, peaks), len(peaks))
    labels, own = _sample(data, peaks, scale, n_positives, most=SAMPLE_POSITIVES)
    return _vectors(labels, own, runtime, dim, seed, n=POWER_ITERATIONS)


def _open_peaks(data: WorkerData, peaks: NDArray[np.int64]) -> NDArray[np.float64]:
    n_open = np.zeros(data.n_cells)
    for _, labels in data.label_tiles(peaks):
        n_open += labels.sum(axis=0)
    return n_open


def _sample(
    data: WorkerData, peaks: NDArray[np.int64], scale: _Scale, n_positives: int, *, most: int
) -> tuple[sparse.csr_array, _Scale]:
    """Return labels of every n-th cell and their scale; of `most` open pairs in the whole atlas."""
    stride = max(1, -(-n_positives // most))
    sample = np.arange(-data.start % stride, data.n_cells, stride)
    return _sampled(data, peaks, sample), scale.at(sample)


def _scale(n_open: NDArray[np.float64], n_peaks: int) -> _Scale:
    share = n_open / n_peaks
    variance = share * (1 - share)
    weight = np.divide(1, np.sqrt(variance), out=np.zeros_like(share), where=variance > 0)
    return _Scale(share, weight)


def _sampled(
    data: WorkerData, peaks: NDArray[np.int64], sample: NDArray[np.int64]
) -> sparse.csr_array:
    """Return the sampled cells' labels, float32 CSR (peaks, cells)."""
    tiles = [labels[:, sample].astype(np.float32) for _, labels in data.label_tiles(peaks)]
    return sparse.csr_array(sparse.vstack(tiles, format="csr"))


def _vectors(
    labels: sparse.csr_array,
    scale: _Scale,
    runtime: Runtime,
    dim: int,
    seed: int,
    *,
    n: int,
    on_pass: Callable[[], None] = lambda: None,
) -> NDArray[np.float64]:
    """Return an orthonormal basis of the leading right singular vectors, (peaks, dim + 10).

    By `n` power iterations.
    """
    n_peaks = labels.shape[0]
    rng = np.random.default_rng([seed, Stream.SVD])
    basis = rng.standard_normal((n_peaks, min(dim + OVERSAMPLING, n_peaks)))
    for _ in range(n):
        along = _weighted(labels.T @ basis, basis.sum(0), scale) * scale.weight[:, None]
        back = labels @ along - scale.share @ along
        basis = _of_the_first(np.linalg.qr(_summed(back, runtime))[0], runtime)
        on_pass()
    return basis


def _weighted(
    products: NDArray[np.float64], column_sums: NDArray[np.float64], scale: _Scale
) -> NDArray[np.float64]:
    """Turn products of labels into products of standardised labels, in place.

    Column by column: for millions of cells a second table of this size would be the run's peak.
    """
    for column, total in zip(products.T, column_sums, strict=True):
        column -= scale.share * total
        column *= scale.weight
    return products


def _project_all(
    data: WorkerData, peaks: NDArray[np.int64], scale: _Scale, vectors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return all of the worker's cells along `vectors`, (n, k)."""
    products = np.zeros((data.n_cells, vectors.shape[1]))
    for rows, labels in data.label_tiles(peaks):
        products += labels.T @ vectors[rows]
    return _weighted(products, vectors.sum(0), scale)


@torch.no_grad()
def _place(
    cells: CellLayer, coordinates: NDArray[np.float64], runtime: Runtime, n_cells: int
) -> NDArray[np.float64]:
    """Rotate the coordinates to singular vectors, keep the first E, scale, and write them.

    Returns
    -------
    numpy.ndarray
        (k, E) what `coordinates` were multiplied by.
    """
    dim = cells.embedding.shape[1]
    gram = _summed(coordinates.T @ coordinates, runtime)
    values, rotation = np.linalg.eigh(gram)
    leading = _of_the_first(np.ascontiguousarray(rotation[:, ::-1][:, :dim]), runtime)
    total = max(float(values[::-1][:dim].clip(0).sum()), np.finfo(float).tiny)
    factor = np.sqrt(2 / dim * n_cells * dim / total)
    embedding = coordinates @ leading * factor
    cells.embedding[:, : leading.shape[1]] = torch.from_numpy(embedding).to(cells.embedding)
    turned = np.zeros((len(leading), dim))
    turned[:, : leading.shape[1]] = leading * factor
    return turned


def _summed(values: NDArray[np.float64], runtime: Runtime) -> NDArray[np.float64]:
    return runtime.sum_(torch.from_numpy(values).to(runtime.device)).cpu().numpy()


def _of_the_first(values: NDArray[np.float64], runtime: Runtime) -> NDArray[np.float64]:
    """Return rank 0's values: machines of other kinds may choose other signs."""
    return _summed(values if runtime.rank == 0 else np.zeros_like(values), runtime)
