"""The exact cell layer inside training: every cell solved on the training peaks' embeddings.

Each worker solves the cells it holds (`atlasbasset.core.newton`); only the peaks' embeddings are
shared. With batch correction what is solved for is the sum of a cell's row and its batch's, held by
its penalty to the latter. Then the sums are divided: batches' rows are their effects given the
cells' states, or, in the plain form, their cells' means. For the former the penalty holds cells to
effects that were estimated, on a sample, without any such penalty: so it cannot uphold an effect
that is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from atlasbasset.core.newton import solve_cells
from atlasbasset.engine.batch_effects import BatchSettings, estimate_effects, solve_effects
from atlasbasset.engine.batch_means import centre_batches, set_batches
from atlasbasset.engine.embed_shared import embed_shared
from atlasbasset.engine.events import SOLVING
from atlasstore.events import Progress, ignore
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.core.cells import CellLayer
    from atlasbasset.core.runtime import Runtime
    from atlasbasset.core.step import Learner
    from atlasbasset.engine.labels.host import WorkerData
    from atlasstore.events import Subscriber

__all__ = ["SOLVE_CELLS", "Solved", "open_sums", "solve_layer"]

SOLVE_CELLS = 65_536
_PLAIN = BatchSettings()


class Solved(NamedTuple):
    """What one solve of the whole layer came to, over all workers."""

    loss: float
    """Mean cross-entropy and penalty, nats per peak and cell."""
    n_converged: int
    """Cells."""


def solve_layer(
    learner: Learner,
    data: WorkerData,
    peaks: NDArray[np.int64],
    runtime: Runtime,
    *,
    l2: float,
    h: Tensor | None = None,
    batches: BatchSettings = _PLAIN,
    on_event: Subscriber = ignore,
) -> Solved:
    """Replace every cell's embedding and intercept by the best there are for the trunk as it is.

    Parameters
    ----------
    peaks
        The peaks to fit, ascending.
    l2
        Weight of ``|w|^2 / 2`` relative to the cross-entropy summed over `peaks`.
    h
        (P, E) float32 embeddings to solve on, the same on all workers; by default the trunk's.
    batches
        How batches' effects are separated from cells, where there are batches.
    on_event
        Called with `Progress`.
    """
    if h is None:
        h = embed_shared(learner, data.codes, peaks, runtime, on_event=on_event)
    on_event(Progress(SOLVING, 0, data.n_cells, "cells"))
    sums = open_sums(data, peaks, h.cpu().numpy())
    layer = learner.cells
    given_state = layer.batch is not None and batches.effect == "given_state"
    if given_state:
        set_batches(layer, solve_effects(layer, h, sums, runtime, batches).effects)
    totals = torch.zeros(2, dtype=torch.float64)
    for start, stop in runs(data.n_cells, SOLVE_CELLS):
        cells = slice(start, stop)
        totals += _solve_rows(layer, cells, h, torch.from_numpy(sums[cells]), l2)
        on_event(Progress(SOLVING, stop, data.n_cells, "cells"))
    if given_state:  # the penalty has moved cells nearer to their batches' rows, or further away
        set_batches(layer, estimate_effects(layer, h, runtime, batches).effects)
    else:
        centre_batches(layer, runtime, pull=batches.pull)
    objective, n_converged = runtime.sum_(totals.to(runtime.device)).tolist()
    return Solved(objective / (len(peaks) * learner.n_cells_total), int(n_converged))


def open_sums(
    data: WorkerData, peaks: NDArray[np.int64], h: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Sum ``[h_p, 1]`` over the open peaks of each of the worker's cells, float64 (N, E + 1)."""
    features = np.concatenate([h, np.ones((len(h), 1))], axis=1, dtype=np.float64)
    sums = np.zeros((data.n_cells, features.shape[1]))
    for rows, labels in data.label_tiles(peaks):
        sums += labels.T @ features[rows]
    return sums


@torch.no_grad()
def _solve_rows(cells: CellLayer, rows: slice, h: Tensor, sums: Tensor, l2: float) -> Tensor:
    """Solve a range of cells in place; return (summed objective, converged cells)."""
    own = cells.embedding[rows], cells.intercept[rows]
    shared = _batch_rows(cells, rows)
    prior = None if shared is None else shared[0]
    start = own if shared is None else (own[0] + shared[0], own[1] + shared[1])
    solved = solve_cells(h, sums, l2=l2, start=start, prior=prior)
    embedding, intercept = solved.embedding.float(), solved.intercept.float()
    cells.embedding[rows] = embedding if shared is None else embedding - shared[0]
    cells.intercept[rows] = intercept if shared is None else intercept - shared[1]
    return torch.stack([solved.objective.sum(), solved.converged.sum().double()]).cpu()


def _batch_rows(cells: CellLayer, rows: slice) -> tuple[Tensor, Tensor] | None:
    if cells.batch is None:
        return None
    batch = cells.batch[rows]
    return cells.batch_embedding[batch], cells.batch_intercept[batch]
