"""A trained model's cells, and its trunk's solved anew, on the labels of its training peaks.

What `benchmarks/embedding_quality.py` measures of a model. Letters: P peaks, N cells, E embedding.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from atlasbasset import load_model
from atlasbasset.core.newton import solve_cells
from atlasbasset.core.peak_deviations import (
    Readout,
    fit_readout,
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

    from atlasbasset.core.deviation_choice import Weights
    from atlasstore import Atlas

L2 = TrainConfig().solve_l2
RULE_ROUNDS = TrainConfig().peak_rounds
EMPIRICAL_ROUNDS = 5
PLAIN, DEVIATING = "without deviations", "with deviations"
"""The trained model's own cells, by whether its peaks deviate."""
HELD, RULE, AROUND = "cells held", "deviations by the rule", "around sequences by the rule"
"""What the model's last solve chooses from, beside `PLAIN`: whatever it has chosen; and peaks that
deviate from the sequences' own embeddings, two rounds."""
ONE_STEP = "one step from the mean cell"
"""The trained model's cells as their first Newton step from the mean cell leaves them."""
_PINNED = 1e9


class Cells(NamedTuple):
    """Solved cells, and the peaks' embeddings that they are solved on."""

    name: str
    embedding: NDArray[np.float32]
    intercept: NDArray[np.float32]
    x: Tensor
    said: Readout | None = None
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
        if head.readout_weight is not None and head.readout_offset is not None:
            said = Readout(head.readout_weight.double(), head.readout_offset.double())
            head.readout_weight = head.readout_offset = None  # what follows begins without
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

    def one_step(self) -> Cells:
        """Move every cell from the mean one, at its own depth, by a single Newton step.

        Held to the mean cell by `L2`. To first order that is the exact cell; beyond, the mean's
        rates say how much a peak counts, so that how far a closed peak is closed counts little.
        """
        x, sums = self.own.x, open_sums(self.is_open, self.own.x)
        mean = torch.from_numpy(self.own.embedding).mean(0).double().expand(len(sums), -1)
        at_depth = solve_cells(x, sums, l2=_PINNED, prior=mean)
        start = mean, at_depth.intercept
        found = solve_cells(x, sums, l2=L2, prior=mean, start=start, max_iterations=1)
        values = _floats(found.embedding, found.intercept)
        return Cells(ONE_STEP, *values, x, self.own.said)

    def deviating(
        self, weight: float, rounds: int, *, l2: float = L2, read_out: bool = True
    ) -> Iterator[Cells]:
        """Yield the cells after each round of peaks, readout and cells solved in turn.

        Not `read_out`: peaks deviate from the sequences' own embeddings, and are not held to zero.
        """
        found, said = self.cells("", self.h, l2=l2), None
        for n_done in range(1, rounds + 1):
            of_h, before = (self.h, None) if said is None else (said.of(self.h), found.x)
            if read_out:
                x = solve_deviating(*self._given(found), of_h, l2=weight, before=before).float()
            else:
                given = *self._given(found), of_h
                x = solve_peaks(*given, l2=weight, start=found.x).embedding.float()
            said = fit_readout(self.h, x) if read_out else None
            kind = "deviations" if read_out else "around sequences"
            found = self.cells(f"{kind} {weight:.3g}, L2 {l2:g}, round {n_done}", x, l2=l2)
            found = found._replace(said=said)
            yield found

    def _given(self, cells: Cells) -> tuple[Tensor, Tensor, Tensor]:
        """Return cells and the sums over each peak's open ones, as solves of peaks need them."""
        w, intercept = (torch.from_numpy(t) for t in (cells.embedding, cells.intercept))
        return w, intercept, open_sums(self.is_open.T, w)

    def rule(self) -> Weights:
        """Return the weights that `train` takes."""
        n_cells, n_peaks = self.is_open.shape
        share = self.is_open.nnz / (n_cells * n_peaks)
        return DeviationSettings(L2, RULE_ROUNDS, open_share=share).weights(n_peaks, n_cells)

    def by_rule(self) -> Iterator[Cells]:
        """Yield cells held as with deviations, with them, and with ones around sequences alone."""
        cells, weight = self.rule()
        yield self.cells(HELD, self.h, l2=cells)
        for name, strength, rounds in ((RULE, weight, RULE_ROUNDS), (AROUND, 2 * weight, 2)):
            *_, last = self.deviating(strength, rounds, l2=cells, read_out=name == RULE)
            yield last._replace(name=name)

    def sweep(self) -> Iterator[Cells]:
        """Yield other weights, rounds and priors."""
        for l2 in (1.0, 30.0, 100.0):
            yield self.cells(f"L2 {l2:g}", self.h, l2=l2)
        yield self.empirical_prior("empirical prior", self.h)
        cells, weight = self.rule()
        for factor in (0.5, 1.0, 2.0, 4.0):
            for found in self.deviating(factor * weight, 8 if factor == 1 else 4, l2=cells):
                yield found._replace(name=f"rule x {factor:g}, {found.name}")
        for other in (cells / 3, cells * 3):
            *_, found = self.deviating(cells * weight / other, RULE_ROUNDS, l2=other)
            yield found._replace(name=f"rule, cells {other:g}, {found.name}")
        for weight, l2 in itertools.product((3.0, 10.0, 30.0, 100.0), (L2, 30.0)):
            yield from self.deviating(weight, 3, l2=l2, read_out=False)

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
    yield from (held, deviating, around, trained.own, trained.one_step())
    if sweep:
        yield from trained.sweep()


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
