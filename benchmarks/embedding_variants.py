"""A trained model's cells, and its trunk's solved anew, on the labels of its training peaks.

What `benchmarks/embedding_quality.py` measures of a model. Letters: P peaks, N cells, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from atlasbasset import load_model
from atlasbasset.core.newton import solve_cells
from atlasbasset.core.peak_deviations import (
    SequenceMap,
    fit_sequence_map,
    solve_deviating,
    solve_peaks,
)
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.peak_deviations import DeviationSettings
from atlasbasset.metrics.baselines import open_sums, unit_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import scipy.sparse as sp
    from numpy.typing import NDArray
    from torch import Tensor

    from atlasstore import Atlas

L2 = TrainConfig().solve_l2
RULE_ROUNDS = TrainConfig().peak_rounds
ROUNDS = 4
EMPIRICAL_ROUNDS = 5
PLAIN, DEVIATING = "without deviations", "with deviations"
"""The trained model's own cells, by whether its peaks deviate."""
HELD, RULE = "cells held", "deviations by the rule"
"""What the model's last solve chooses from, beside `PLAIN`: whatever it has chosen."""


class Cells(NamedTuple):
    """Solved cells, and the peaks' embeddings that they are solved on."""

    name: str
    embedding: NDArray[np.float32]
    intercept: NDArray[np.float32]
    x: Tensor
    said: SequenceMap | None = None
    """What sequences say of peaks; None: their embeddings."""

    def by_metric(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield tables whose Euclidean distances are the metrics tried.

        Less noise: along the table's own axes, each shorter by the share of its variance that the
        median axis has too. By prediction: a distance is how far two cells' logits differ, root
        mean square over peaks.
        """
        yield "raw", self.embedding
        yield "unit", unit_rows(self.embedding)
        yield "centred, unit", unit_rows(self.embedding - self.embedding.mean(0))
        variances, axes = np.linalg.eigh(np.cov(self.embedding.T))
        kept = np.sqrt((1 - np.median(variances) / variances).clip(0))
        yield "less noise, unit", unit_rows((self.embedding @ axes * kept).astype(np.float32))
        seen = self.embedding @ root(np.cov(self.x.numpy().T)).astype(np.float32)
        yield "by prediction", seen
        yield "by prediction, unit", unit_rows(seen - seen.mean(0))


@dataclass(frozen=True)
class Trained:
    """A model's view of an atlas."""

    h: Tensor
    """(P, E) of the training peaks."""
    held_out: NDArray[np.float32]
    """(peaks, E) of all others."""
    is_open: sp.csr_array
    """(N, P) of the training peaks."""
    own: Cells
    """Its cells as `train` left them, on its peaks with their deviations."""

    def of_others(self, cells: Cells) -> NDArray[np.float32]:
        """Return what the sequences of all other peaks say, (peaks, E)."""
        if cells.said is None:
            return self.held_out
        found: NDArray[np.float32] = cells.said.of(torch.from_numpy(self.held_out)).numpy()
        return found

    @classmethod
    def of(cls, url: str, atlas: Atlas, is_open: sp.csr_array) -> Trained:
        """Embed an atlas's peaks with a model's trunk."""
        model = load_model(url)
        head = model.trunk.bottleneck
        said = None
        if head.map_weight is not None and head.map_offset is not None:
            said = SequenceMap(head.map_weight.double(), head.map_offset.double())
            head.map_weight = head.map_offset = None  # what follows begins without
        flank = (atlas.sequence_codes(0, 1).shape[1] - model.window_bp) // 2
        parts = []
        for start in range(0, atlas.n_peaks, 256):
            codes = atlas.sequence_codes(start, min(start + 256, atlas.n_peaks))
            codes = codes[:, flank : flank + model.window_bp]
            unknown = np.float32(0.25) * (codes == 4)[..., None]
            parts.append(model.embed(np.eye(5, 4, dtype=np.float32)[codes] + unknown))
        h, train = np.concatenate(parts), (atlas.var["split"] == "train").to_numpy()
        x = h if said is None else said.of(torch.from_numpy(h)).numpy()
        x = (x if model.deviations is None else x + model.deviations.deviation)[train]
        own = Cells(DEVIATING, model.cell_embedding, model.intercept, torch.from_numpy(x), said)
        labels = is_open[:, np.flatnonzero(train)]
        return cls(torch.from_numpy(h[train]), h[~train], labels, own)

    def cells(self, name: str, x: Tensor, *, l2: float = L2) -> Cells:
        """Solve all cells on `x`."""
        solved = solve_cells(x, open_sums(self.is_open, x), l2=l2)
        return Cells(name, *_floats(solved.embedding, solved.intercept), x)

    def deviating(self, weight: float, rounds: int, *, l2: float = L2) -> Iterator[Cells]:
        """Yield the cells after each round of peaks and cells solved in turn."""
        found, said = self.cells("", self.h, l2=l2), None
        for n_done in range(1, rounds + 1):
            of_h = self.h if said is None else said.of(self.h)
            x = solve_deviating(*self._given(found), of_h, l2=weight, start=found.x)
            said = fit_sequence_map(self.h, x.embedding.float())
            name = f"deviations {weight:g}, L2 {l2:g}, round {n_done}"
            found = self.cells(name, x.embedding.float(), l2=l2)._replace(said=said)
            yield found

    def around_sequences(self, weight: float, rounds: int, *, l2: float) -> Cells:
        """Let peaks deviate from the sequences' own embeddings: no map, and held to no zero."""
        found = self.cells("", self.h, l2=l2)
        for _ in range(rounds):
            x = solve_peaks(*self._given(found), self.h, l2=weight, start=found.x).embedding
            found = self.cells("around sequences", x.float(), l2=l2)
        return found

    def _given(self, cells: Cells) -> tuple[Tensor, Tensor, Tensor]:
        """Return cells and the sums over each peak's open ones, as solves of peaks need them."""
        w, intercept = (torch.from_numpy(t) for t in (cells.embedding, cells.intercept))
        return w, intercept, open_sums(self.is_open.T, w)

    def by_rule(self) -> Iterator[Cells]:
        """Yield cells held as with deviations, with them, and with ones around sequences alone.

        Weights by train's rule.
        """
        n_cells, n_peaks = self.is_open.shape
        share = self.is_open.nnz / (n_cells * n_peaks)
        weights = DeviationSettings(L2, RULE_ROUNDS, open_share=share).weights(n_peaks, n_cells)
        yield self.cells(HELD, self.h, l2=weights.cells)
        *_, last = self.deviating(weights.deviations, RULE_ROUNDS, l2=weights.cells)
        yield last._replace(name=RULE)
        twice = 2 * weights.deviations
        yield self.around_sequences(twice, 2, l2=weights.cells)

    def empirical_prior(self, name: str, peaks: Tensor) -> Cells:
        """Solve cells under a Gaussian prior with their own mean and covariance (EM, Laplace)."""
        mean, covariance = np.zeros(peaks.shape[1]), np.eye(peaks.shape[1]) / L2
        for _ in range(EMPIRICAL_ROUNDS):
            turn = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(mean)))
            x = peaks @ torch.from_numpy(turn).float()
            prior = torch.from_numpy(np.linalg.solve(turn, mean)).expand(self.is_open.shape[0], -1)
            solved = solve_cells(x, open_sums(self.is_open, x), l2=1.0, prior=prior)
            w = solved.embedding.numpy() @ turn.T
            unsure = _posterior(x.numpy(), solved.embedding.numpy(), solved.intercept.numpy())
            mean, covariance = w.mean(0), np.cov(w.T) + turn @ unsure @ turn.T
        return Cells(name, *_floats(torch.from_numpy(w), solved.intercept), peaks)


def variants(trained: Trained, *, sweep: bool) -> Iterator[Cells]:
    """Yield what `train` chooses from, and the cells that it has left; or all."""
    yield trained.cells(PLAIN, trained.h)
    held, deviating, around = trained.by_rule()
    yield from (held, deviating, around, trained.own)
    if sweep:
        for l2 in (1.0, 30.0, 100.0):
            yield trained.cells(f"L2 {l2:g}", trained.h, l2=l2)
        yield trained.empirical_prior("empirical prior", trained.h)
        yield trained.empirical_prior("empirical prior, deviations by the rule", deviating.x)
        for weight in (1.5, 5.0, 15.0, 50.0):
            yield from trained.deviating(weight, ROUNDS)
        for weight in (5.0, 15.0):
            yield from trained.deviating(weight, ROUNDS, l2=30.0)


def root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the symmetric square root."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(values.clip(0))) @ vectors.T)


def _posterior(
    x: NDArray[np.float32], w: NDArray[np.float64], intercept: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean covariance of every twentieth cell under a unit prior, (E, E)."""
    features = np.c_[x, np.ones(len(x))].astype(np.float64)
    total = np.zeros((w.shape[1], w.shape[1]))
    some = range(0, len(w), 20)
    for cell in some:
        share = 1 / (1 + np.exp(-(x @ w[cell] + intercept[cell])))
        hessian = (features * (share * (1 - share))[:, None]).T @ features
        hessian[np.diag_indices(w.shape[1])] += 1
        total += np.linalg.inv(hessian)[:-1, :-1]
    return total / len(some)


def _floats(*tensors: Tensor) -> tuple[NDArray[np.float32], ...]:
    return tuple(t.float().numpy() for t in tensors)
