"""Batches of new cells: rows that the model has, and effects of new ones beside its cells.

A batch that the model knows keeps its row. The effects of new batches are estimated as in training
(docs/batch-effects.md): a sample of their cells, solved without regard to batches, and a sample of
the model's cells, which count as one batch more, are drawn around common states. An effect is taken
relative to the model's cells; where nothing joins a batch to them, none is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from atlasbasset.core.batch_effect import fit_mixture, groups_of_batches
from atlasbasset.core.newton import solve_cells
from atlasbasset.engine.batch_effects import logit_root
from atlasbasset.inference.cell_labels import cell_labels
from atlasbasset.verbs.map_cells.work import BatchRows, open_features, open_sums
from atlasstore.errors import UserInputError
from atlasstore.events import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.inference.model import Model
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.models.model_store import ModelStore

__all__ = ["NewBatches", "new_batches", "rows_of_batches"]

_SAMPLE_CELLS = 16_384
_SEED = 0


@dataclass(frozen=True, eq=False, slots=True)
class NewBatches:
    """The batches of an atlas's cells."""

    key: str
    names: tuple[str, ...]
    codes: NDArray[np.int64]
    """(N,): each cell's batch."""
    known: NDArray[np.int64]
    """(B,): the row of each batch in the model; -1 for a new one."""

    @property
    def new(self) -> list[str]:
        """Names of those that the model does not have."""
        return [name for name, row in zip(self.names, self.known, strict=True) if row < 0]


def new_batches(model: ModelStore, atlas: Atlas, key: str | None) -> NewBatches | None:
    """Return the batches of an atlas's cells; None where `key` is None.

    Raises
    ------
    UserInputError
        The model is batch-corrected and `key` is None, or a cell has no batch.
    """
    if key is None:
        if model.batches:
            raise UserInputError(
                f"{model.url} is batch-corrected ({len(model.batches)} batches), so the new cells' "
                "batches must be known; name their column (batch_key), such as sample."
            )
        return None
    found = cell_labels(atlas.obs, key, what=atlas.url)
    if found.n_unlabelled:
        raise UserInputError(
            f"{found.n_unlabelled:,} of {len(found.codes):,} cells of {atlas.url} have no batch in "
            f"{key!r}; fill it in, or name another column."
        )
    rows = {name: row for row, name in enumerate(model.batches)}
    known = np.array([rows.get(name, -1) for name in found.names], np.int64)
    return NewBatches(key, found.names, found.codes, known)


def rows_of_batches(
    model: Model,
    atlas: Atlas,
    batches: NewBatches,
    h: NDArray[np.float32],
    peaks: NDArray[np.int64],
    l2: float,
    *,
    on_event: Subscriber,
) -> BatchRows:
    """Return the rows of known batches, and the estimated ones of new batches.

    Parameters
    ----------
    h, peaks
        (P, E) embeddings of the fitted peaks, and their rows in the atlas.
    l2
        As for `solve_cells`.
    """
    embedding = np.zeros((len(batches.names), h.shape[1]), np.float32)
    intercept = np.zeros(len(batches.names), np.float32)
    is_known = batches.known >= 0
    if model.batch_embedding is not None and model.batch_intercept is not None:
        embedding[is_known] = model.batch_embedding[batches.known[is_known]]
        intercept[is_known] = model.batch_intercept[batches.known[is_known]]
    if is_known.all():
        return BatchRows(embedding, intercept, ())
    cells = _sampled(batches)
    solved = _solved(atlas, cells, h, peaks, l2, on_event=on_event)
    effects, joined = _effects(model, solved, batches.codes[cells], batches, h)
    new = np.flatnonzero(~is_known)
    embedding[new] = np.where(joined[new, None], effects[new], 0)
    return BatchRows(embedding, intercept, tuple(batches.names[n] for n in new if not joined[n]))


def _sampled(batches: NewBatches) -> NDArray[np.int64]:
    """Return cells of new batches, rising: a seeded sample of each where there are many."""
    each = _SAMPLE_CELLS // max(1, len(batches.new))
    found = []
    for batch in np.flatnonzero(batches.known < 0):
        own = np.flatnonzero(batches.codes == batch)
        rng = np.random.default_rng([_SEED, int(batch)])
        found.append(rng.choice(own, min(each, len(own)), replace=False))
    return np.sort(np.concatenate(found))


def _solved(
    atlas: Atlas,
    cells: NDArray[np.int64],
    h: NDArray[np.float32],
    peaks: NDArray[np.int64],
    l2: float,
    *,
    on_event: Subscriber,
) -> NDArray[np.float64]:
    """Solve cells without regard to batches, (len(cells), E)."""
    features = open_features(h, peaks, atlas.n_peaks)
    sums = []
    for block in atlas.blocks:
        inside = cells[(cells >= block.start) & (cells < block.stop)] - block.start
        if inside.size:
            sums.append(open_sums(atlas, block, range(block.n_cells), features)[inside])
        on_event(Progress("reading batches", block.index + 1, len(atlas.blocks), "blocks"))
    solved = solve_cells(torch.from_numpy(h), torch.from_numpy(np.concatenate(sums)), l2=l2)
    return solved.embedding.numpy()


def _effects(
    model: Model,
    solved: NDArray[np.float64],
    codes: NDArray[np.int64],
    batches: NewBatches,
    h: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each batch's effect beside the model's cells, and whether anything joins the two."""
    rng = np.random.default_rng(_SEED)
    n_batches, n_reference = len(batches.names), min(_SAMPLE_CELLS, model.n_cells)
    reference = model.cell_embedding[rng.choice(model.n_cells, n_reference, replace=False)]
    root = logit_root(torch.from_numpy(h)).numpy()
    x = np.concatenate([solved, reference]) @ root
    batch = np.concatenate([codes, np.full(n_reference, n_batches)])
    mixture, sums = fit_mixture(x, batch, n_batches=n_batches + 1, rng=rng)
    groups = groups_of_batches(mixture, sums.counts)
    relative = mixture.effects[:-1] - mixture.effects[-1]
    return np.linalg.solve(root.T, relative.T).T, groups[:-1] == groups[-1]
