"""The batches' effects on a sample of cells: the best of several fits of `Mixture`.

EM finds the best account near where it begins. It begins with no effects, and with effects equal
to the batches' means (the paper's plain form); from either, with more states than are wanted,
spread by k-means++, of which the nearest are joined step by step. Of all those tried, that with
the most evidence is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from atlasbasset.core.batch_mixture import Mixture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from atlasbasset.core.batch_mixture import Sums

    Floats = NDArray[np.float64]

__all__ = ["by_batch", "fit_mixture", "groups_of_batches"]

_MOST_STATES = 32
_CELLS_PER_STATE = 10
"""States to begin with have this many cells or more, in the mean."""
_LOOSE, _TIGHT = 3e-5, 1e-9
"""Relative rise of the evidence at which EM stops: of a candidate, of the one that is taken."""
_ROUNDS = 30, 500
_FEW = 3
"""Cells of a batch that are too few to say that it has a state."""
_FEW_SHARE = 0.02
_CLOSE = 3.0
"""Standard deviations between two batches' cells of one state that are seen to be one."""


class _Fit(NamedTuple):
    mixture: Mixture
    sums: Sums
    evidence: float


Cells = list[tuple[int, "Floats"]]


def by_batch(x: Floats, batch: NDArray[np.int64]) -> Iterator[tuple[int, Floats]]:
    """Yield each batch that occurs with the coordinates of its cells, float64 (n, E)."""
    order = np.argsort(batch, kind="stable")
    names, first = np.unique(batch[order], return_index=True)
    for name, rows in zip(names, np.split(order, first[1:]), strict=True):
        yield int(name), np.asarray(x[rows], np.float64)


def fit_mixture(
    x: Floats,
    batch: NDArray[np.int64],
    *,
    n_batches: int,
    rng: np.random.Generator,
    pull: float = 0,
) -> tuple[Mixture, Sums]:
    """Return the best account of the cells, and its sums.

    Parameters
    ----------
    x
        (N, E) coordinates in which noise is about the same in every direction.
    batch
        (N,) each cell's batch, 0 to `n_batches` - 1.
    rng
        Places the states that a fit begins with.
    pull
        See `Mixture.updated`.
    """
    x = np.asarray(x, np.float64)
    cells = list(by_batch(x, batch))
    means = np.zeros((n_batches, x.shape[1]))
    for name, own in cells:
        means[name] = own.mean(0)
    seed = int(rng.integers(2**63))  # both begin with the same draws
    fits: list[_Fit] = []
    for effects in (np.zeros_like(means), means - means.mean(0)):
        start = _start(x - effects[batch], effects, np.random.default_rng(seed))
        fits += _path(cells, start, pull)
    best = max(fits, key=lambda fit: fit.evidence)
    final = _converged(cells, best.mixture, pull, tolerance=_TIGHT, rounds=_ROUNDS[1])
    return final.mixture, final.sums


def _start(x: Floats, effects: Floats, rng: np.random.Generator) -> Mixture:
    """Spread the states over the cells by k-means++."""
    n_states = max(1, min(_MOST_STATES, len(x) // _CELLS_PER_STATE))
    chosen = [x[rng.integers(len(x))]]
    nearest = np.square(x - chosen[0]).sum(1)
    while len(chosen) < n_states and nearest.sum() > 0:
        chosen.append(x[rng.choice(len(x), p=nearest / nearest.sum())])
        nearest = np.minimum(nearest, np.square(x - chosen[-1]).sum(1))
    noise = max(float(nearest.mean()) / x.shape[1], float(np.finfo(np.float32).tiny))
    return Mixture.start(np.array(chosen), effects, noise=noise)


def _path(cells: Cells, mixture: Mixture, pull: float) -> Iterator[_Fit]:
    """Yield a fit of as many states as there are, then of an eighth fewer, down to one."""
    while True:
        alike = _converged(cells, mixture, pull, tolerance=_LOOSE, rounds=_ROUNDS[0])
        mixture = alike.mixture.with_deviations()
        fit = _converged(cells, mixture, pull, tolerance=_LOOSE, rounds=_ROUNDS[0])
        yield fit
        n_states = len(mixture.states)
        if n_states == 1:
            return
        mixture = fit.mixture.merged(fit.sums.counts, max(1, n_states // 8))


def _converged(
    cells: Cells, mixture: Mixture, pull: float, *, tolerance: float, rounds: int
) -> _Fit:
    last = -np.inf
    for _ in range(rounds):
        sums = mixture.sums(cells)
        evidence = mixture.evidence(sums)
        if abs(evidence - last) <= tolerance * abs(evidence):
            break
        last, mixture = evidence, mixture.updated(sums, pull=pull)
    return _Fit(mixture, sums, evidence)


def groups_of_batches(mixture: Mixture, counts: Floats) -> NDArray[np.int64]:
    """Return each batch's group, int64 (B,): between groups effect and state look alike.

    Two batches are linked when they have two states in common, or one in which their cells lie
    together as they are: any one state can be moved onto any other. Groups are what links join.

    Parameters
    ----------
    counts
        (B, K) expected cells of each batch in each state.
    """
    sizes = counts.sum(1, keepdims=True)
    has = counts >= np.maximum(_FEW, _FEW_SHARE * sizes)
    has |= (counts == counts.max(1, keepdims=True)) & (sizes > 0)
    shared = has.astype(np.int64) @ has.T.astype(np.int64)
    apart = np.square(mixture.effects[:, None] - mixture.effects).sum(2)
    linked = (shared >= 2) | ((shared == 1) & (apart < _CLOSE**2 * mixture.noise))
    linked |= np.eye(len(linked), dtype=bool)
    reached = linked
    while True:
        further = (reached.astype(np.float32) @ linked.astype(np.float32)) > 0
        if (further == reached).all():
            break
        reached = further
    return np.unique(reached.argmax(1), return_inverse=True)[1].astype(np.int64)
