"""The batches' effects given the cells' states, estimated over all workers.

A seeded sample of every batch's cells is gathered (a sum of pieces padded with zeros), rank 0 fits
the mixture of `atlasbasset.core.batch_mixture` to it, and all receive it. So the result depends on
the number of workers only as far as the cells themselves do: by rounding.

Cells are compared by their logits: with C the covariance of the peaks' embeddings h, cells x and x'
are ``(x - x')' C (x - x')`` apart, the mean square difference of their logits over peaks. Noise of
a solved cell is about the same in every direction there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from atlasbasset.core.batch_effect import fit_mixture, groups_of_batches
from atlasbasset.core.newton import solve_cells
from atlasbasset.core.seeds import Stream

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.core.cells import CellLayer
    from atlasbasset.core.runtime import Runtime
    from atlasbasset.engine.config import BatchEffect

__all__ = [
    "BatchEffects",
    "BatchSettings",
    "estimate_effects",
    "logit_root",
    "solve_effects",
]


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How batches are separated from cells when cells are solved or placed."""

    effect: BatchEffect = "free"
    """given_state: by `BatchEffects`; free: each batch's mean (`centre_batches`)."""
    pull: float = 0.0
    """Weight of a batch row's square against a cell row's, 0 or more."""
    l2: float = 10.0
    """Weight of ``|w|^2 / 2`` of the sampled cells, which are solved without regard to batches."""
    seed: int = 0


class BatchEffects(NamedTuple):
    """What was found; the same on every worker."""

    effects: Tensor
    """(B, E) float64, to be taken from the cells' embeddings."""
    groups: NDArray[np.int64]
    """(B,) between different groups effect and state look alike: mean effects of 0."""


class _Sample(NamedTuple):
    rows: NDArray[np.int64]
    """This worker's sampled cells."""
    slots: NDArray[np.int64]
    """Where each stands among all workers' sampled cells."""
    batch: NDArray[np.int64]
    """Batch of every slot."""
    totals: NDArray[np.int64]
    """(B,) cells of each batch, over all workers."""


def solve_effects(
    cells: CellLayer,
    h: Tensor,
    sums: NDArray[np.float64],
    runtime: Runtime,
    settings: BatchSettings,
) -> BatchEffects:
    """Estimate the effects from cells that are solved on `h` first, without regard to batches.

    Parameters
    ----------
    h
        (P, E) embeddings of the fitted peaks.
    sums
        (N, E + 1) this worker's sums over open peaks (`open_sums`).
    """
    sample = _sampled(cells, runtime, settings.seed)
    own = torch.from_numpy(sums[sample.rows])
    x = solve_cells(h, own, l2=settings.l2).embedding if len(own) else own[:, :-1]
    return _estimated(x, sample, h, runtime, settings)


def estimate_effects(
    cells: CellLayer, h: Tensor, runtime: Runtime, settings: BatchSettings
) -> BatchEffects:
    """Estimate the effects from the cells as they stand, their batches' rows included."""
    sample = _sampled(cells, runtime, settings.seed)
    assert cells.batch is not None
    x = cells.embedding.detach()[sample.rows]
    x = x + cells.batch_embedding.detach()[cells.batch[sample.rows]]
    return _estimated(x, sample, h, runtime, settings)


def _sampled(
    cells: CellLayer, runtime: Runtime, seed: int, *, n_cells: int = 16_384, least: int = 128
) -> _Sample:
    """Choose cells of every batch at random, the same whatever worker holds them.

    About `n_cells`, of one batch `least` or more where batches are many.
    """
    assert cells.batch is not None
    own, n_batches = cells.batch.cpu().numpy(), len(cells.batch_embedding)
    held = torch.zeros(runtime.world, n_batches, dtype=torch.int64, device=runtime.device)
    held[runtime.rank] = torch.from_numpy(np.bincount(own, minlength=n_batches))
    table = runtime.sum_(held).cpu().numpy()
    totals, before = table.sum(0), table[: runtime.rank].sum(0)
    taken = np.minimum(totals, max(least, n_cells // n_batches))
    first_slot = np.cumsum(taken) - taken
    order = np.argsort(own, kind="stable")
    first_row = np.searchsorted(own[order], np.arange(n_batches))
    rows, slots = [], []
    for batch in np.unique(own):
        rng = np.random.default_rng([seed, Stream.BATCHES, int(batch)])
        chosen = np.sort(rng.choice(totals[batch], taken[batch], replace=False)) - before[batch]
        here = np.flatnonzero((chosen >= 0) & (chosen < table[runtime.rank, batch]))
        rows.append(order[first_row[batch] + chosen[here]])
        slots.append(first_slot[batch] + here)
    batches = np.repeat(np.arange(n_batches), taken)
    return _Sample(np.concatenate(rows), np.concatenate(slots), batches, totals)


def _estimated(
    x: Tensor, sample: _Sample, h: Tensor, runtime: Runtime, settings: BatchSettings
) -> BatchEffects:
    root = logit_root(h)
    gathered = torch.zeros(len(sample.batch), x.shape[1], dtype=torch.float64)
    gathered[sample.slots] = x.cpu().double() @ root
    gathered = runtime.sum_(gathered.to(runtime.device)).cpu()
    n_batches = len(sample.totals)
    found = torch.zeros(n_batches, x.shape[1] + 1, dtype=torch.float64)
    if runtime.rank == 0:
        rng = np.random.default_rng([settings.seed, Stream.BATCHES])
        mixture, sums = fit_mixture(
            gathered.numpy(), sample.batch, n_batches=n_batches, rng=rng, pull=settings.pull
        )
        groups = groups_of_batches(mixture, sums.counts)
        effects = _within_groups(mixture.effects, groups, sample.totals)
        found = torch.from_numpy(np.column_stack([effects, groups]))
    found = runtime.sum_(found.to(runtime.device)).cpu()
    effects = torch.linalg.solve_triangular(root, found[:, :-1], upper=False, left=False)
    return BatchEffects(effects, found[:, -1].numpy().astype(np.int64))


def logit_root(h: Tensor) -> Tensor:
    """Return a root L of the covariance of `h`, float64 (E, E): ``x @ L`` is x by its logits."""
    covariance = torch.cov(h.detach().cpu().double().T)
    covariance = torch.atleast_2d(covariance)
    least = 1e-9 * covariance.trace().clamp(min=1e-30)
    root: Tensor = torch.linalg.cholesky(covariance + least * torch.eye(len(covariance)))
    return root


def _within_groups(
    effects: NDArray[np.float64], groups: NDArray[np.int64], totals: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the effects less their mean over the cells of the batch's group."""
    within = effects.copy()
    for group in np.unique(groups):
        own = groups == group
        within[own] -= totals[own] @ effects[own] / max(1, totals[own].sum())
    return within
