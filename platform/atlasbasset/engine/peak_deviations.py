"""Peaks that deviate from their sequences, solved in turn with the cells at the end of training.

Only training peaks deviate: the labels of others stay unseen. Sequences say where a peak lies by a
linear readout of their embeddings, fitted in every round to where the training peaks lie. Labels
enter a peak's problem through 33 sums over its open cells, to which every worker adds its own
cells; then the cells' table, 132 bytes a cell, is gathered, and each worker solves a share of the
peaks (docs/peak-deviations.md). So the result depends on the number of workers by rounding alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from atlasbasset.core.deviation_choice import (
    FEWEST,
    FOLDS,
    Losses,
    Weights,
    chosen,
    deviation_weight,
    held_out_folds,
    neighbour_losses,
)
from atlasbasset.core.peak_deviations import (
    Readout,
    fit_readout,
    solve_deviating,
    solving_bytes,
)
from atlasbasset.core.runtime import gather_rows, share_of
from atlasbasset.core.seeds import Stream
from atlasbasset.engine.batch_effects import BatchSettings
from atlasbasset.engine.events import CHOOSING, SOLVING_PEAKS
from atlasbasset.engine.solving import solve_layer
from atlasstore.events import Progress, ignore
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.core.runtime import Runtime
    from atlasbasset.core.step import Learner
    from atlasbasset.engine.labels.host import WorkerData
    from atlasbasset.engine.solving import Solved
    from atlasstore.events import Subscriber

__all__ = ["Choice", "DeviationSettings", "deviate", "deviating_bytes"]

_PLAIN = BatchSettings()
_CELLS_FACTOR = 3.0
"""The cells' weight where peaks deviate, as a multiple of that of other solves."""
_MOST_PEAKS = _MOST_CELLS = 4096
"""Of the sample that it is seen on."""
_SOLVE_PEAKS = 8192
"""Between two events."""


@dataclass(frozen=True, slots=True)
class DeviationSettings:
    """How peaks may deviate."""

    l2_cells: float
    """Weight of ``|w|^2 / 2`` of a cell without deviations."""
    rounds: int
    """Solves of all peaks, the readout and all cells."""
    weight: float = 0.0
    """Of ``|x|^2 / 2`` of a peak and of ``|d|^2 / 2`` of its deviation; 0: this and the cells'
    weight are chosen."""
    open_share: float = 0.5
    """Of the atlas's pairs of peak and cell."""
    batches: BatchSettings = _PLAIN
    seed: int = 0

    def weights(self, n_peaks: int, n_cells: int) -> Weights:
        """Return the weights that noise in a table of this size does not overcome."""
        cells = _CELLS_FACTOR * self.l2_cells
        return Weights(cells, deviation_weight(n_peaks, n_cells, self.open_share, cells))


class Choice(NamedTuple):
    """The weights and the rounds, and what spoke for them."""

    l2_cells: float
    weight: float | None
    """None: no deviations."""
    rounds: int
    tried: list[dict[str, Any]]
    """``l2_cells``, ``weight``, ``rounds`` and ``loss`` on the sample: without deviations, with the
    cells held as with them, with them; empty where nothing was tried."""


class Deviated(NamedTuple):
    """What was found; the same on every worker."""

    deviation: Tensor
    """(P, E) float32 of the fitted peaks, from what their sequences say."""
    said: Readout | None
    """What sequences say; None where nothing deviates: h itself."""
    explained: float
    """Share of the variance of the peaks' embeddings that sequences explain, 0 to 1."""
    choice: Choice
    solved: Solved | None
    """The last solve of the cells; None where nothing deviates."""


def deviate(
    learner: Learner,
    data: WorkerData,
    peaks: NDArray[np.int64],
    h: Tensor,
    runtime: Runtime,
    settings: DeviationSettings,
    *,
    on_event: Subscriber = ignore,
) -> Deviated:
    """Let peaks deviate from what `h` says, and solve the cells on what they become.

    Parameters
    ----------
    learner
        Its cells have been solved on `h`.
    peaks
        The fitted peaks, ascending.
    h
        (P, E) float32 embeddings of their sequences.
    on_event
        Called with `Progress`.
    """
    n_cells = learner.n_cells_total
    choice = Choice(settings.l2_cells, settings.weight, settings.rounds, [])
    if not settings.weight and learner.cells.batch is not None:
        # what deviates tells batches apart as well, a little (docs/batch-effects.md)
        choice = Choice(settings.l2_cells, None, 0, [])
    elif not settings.weight:
        choice = _chosen(data, peaks, n_cells, h, runtime, settings, on_event)
    x, said, readout, solved = h, h, None, None
    before: Tensor | None = None
    for n_done in range(choice.rounds + 1):
        if choice.weight is not None and n_done:
            x = before = _solve_peaks(
                learner, data, peaks, said, before, runtime, choice.weight, on_event
            )
            readout = _of_the_first(fit_readout(h, x), runtime)
            said = readout.of(h)
        elif choice.l2_cells == settings.l2_cells:
            continue  # as the cells have been solved
        solved = solve_layer(
            learner,
            data,
            peaks,
            runtime,
            l2=choice.l2_cells,
            h=x,
            batches=settings.batches,
            on_event=on_event,
        )
    return Deviated(x - said, readout, _explained(x, said), choice, solved)


def deviating_bytes(n_peaks: int, n_cells: int, n_own_cells: int, embedding_dim: int) -> int:
    """Return what `deviate` holds at most beside a solve of the cells, bytes.

    Parameters
    ----------
    n_cells, n_own_cells
        Cells over all workers, and this worker's.
    """
    width = embedding_dim + 1
    sums = 8 * width * (n_peaks + n_own_cells)
    embedded = (5 * 4 + 3 * 8) * n_peaks * embedding_dim  # the readout is fitted in float64
    solver = solving_bytes(min(n_peaks, _SOLVE_PEAKS), n_cells, embedding_dim)
    sample = 8 * min(n_peaks, _MOST_PEAKS) * min(n_cells, _MOST_CELLS)
    return sums + embedded + 4 * n_cells * width + max(solver, sample)


def _solve_peaks(
    learner: Learner,
    data: WorkerData,
    peaks: NDArray[np.int64],
    said: Tensor,
    before: Tensor | None,
    runtime: Runtime,
    weight: float,
    on_event: Subscriber,
) -> Tensor:
    """Return the solved embeddings, given what sequences say and those of the round before."""
    own = learner.cells.table().tile(slice(None))
    sums = torch.from_numpy(_open_sums(data, peaks, own[0].cpu().numpy())).to(runtime.device)
    sums = runtime.sum_(sums)
    cells = slice(data.start, data.stop)
    w, intercept = (gather_rows(t, cells, learner.n_cells_total, runtime) for t in own)
    share = share_of(len(peaks), runtime.rank, runtime.world)
    solved = [said[:0]]
    on_event(Progress(SOLVING_PEAKS, 0, share.stop - share.start, "peaks"))
    for first, last in runs(share.stop - share.start, _SOLVE_PEAKS):
        rows = slice(share.start + first, share.start + last)
        own_rows, last_x = (sums[rows], said[rows]), None if before is None else before[rows]
        found = solve_deviating(w, intercept, *own_rows, l2=weight, before=last_x)
        solved.append(found.to(said))
        on_event(Progress(SOLVING_PEAKS, last, share.stop - share.start, "peaks"))
    return gather_rows(torch.cat(solved), share, len(peaks), runtime)


def _of_the_first(found: Readout, runtime: Runtime) -> Readout:
    """Return rank 0's readout: machines of other kinds may round otherwise."""
    own = (t.to(runtime.device) if runtime.rank == 0 else torch.zeros_like(t) for t in found)
    return Readout(*(runtime.sum_(t) for t in own))


def _explained(x: Tensor, said: Tensor) -> float:
    """Return the share of the variance of `x` that `said` has."""
    left, whole = (x - said).double().var(0).sum(), x.double().var(0).sum()
    return max(0.0, float(1 - left / whole)) if whole > 0 else 0.0


def _open_sums(
    data: WorkerData, peaks: NDArray[np.int64], w: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Sum ``[w_c, 1]`` over each peak's open cells among the worker's, float64 (P, E + 1)."""
    features = np.concatenate([w, np.ones((len(w), 1))], axis=1, dtype=np.float64)
    sums = np.empty((len(peaks), features.shape[1]))
    for rows, labels in data.label_tiles(peaks):
        sums[rows] = labels @ features
    return sums


def _chosen(
    data: WorkerData,
    peaks: NDArray[np.int64],
    n_cells: int,
    h: Tensor,
    runtime: Runtime,
    settings: DeviationSettings,
    on_event: Subscriber,
) -> Choice:
    """Choose the weights by the table's size, and on a sample whether peaks deviate at all.

    Where they stay, whether cells gain by being held as strongly.
    """
    none = Choice(settings.l2_cells, None, 0, [])
    if min(len(peaks), n_cells) < FEWEST:
        return none
    on_event(Progress(CHOOSING, 0, 1, "samples"))
    rng = np.random.default_rng([settings.seed, Stream.DEVIATIONS])
    rows, labels = _sample(data, peaks, n_cells, runtime, rng)
    weights, rounds = settings.weights(*labels.shape), settings.rounds
    losses = torch.zeros(FOLDS, len(Losses._fields), dtype=torch.float64)
    for i, held in enumerate(held_out_folds(len(rows), rng)):
        if i % runtime.world == runtime.rank:
            found = neighbour_losses(
                h[rows], labels, held, plain_l2=none.l2_cells, weights=weights, rounds=rounds
            )
            losses[i] = losses.new_tensor(found)
    losses = runtime.sum_(losses.to(runtime.device)).cpu()
    on_event(Progress(CHOOSING, 1, 1, "samples"))
    mean, taken = Losses(*losses.mean(0).tolist()), chosen(losses)
    tried = [
        _tried(none.l2_cells, None, 0, mean.plain),
        _tried(weights.cells, None, 0, mean.held),
        _tried(*weights, rounds, mean.deviating),
    ]
    if taken == "deviating":
        return Choice(*settings.weights(len(peaks), n_cells), rounds, tried)
    return Choice(weights.cells if taken == "held" else none.l2_cells, None, 0, tried)


def _tried(l2_cells: float, weight: float | None, rounds: int, loss: float) -> dict[str, Any]:
    return {"l2_cells": l2_cells, "weight": weight, "rounds": rounds, "loss": loss}


def _sample(
    data: WorkerData,
    peaks: NDArray[np.int64],
    n_cells: int,
    runtime: Runtime,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Return positions in `peaks`, and their labels (peaks, cells), uint8, of sampled cells."""
    rows = np.sort(rng.permutation(len(peaks))[:_MOST_PEAKS])
    cells = np.sort(rng.permutation(n_cells)[:_MOST_CELLS])
    first, last = np.searchsorted(cells, (data.start, data.stop))
    labels = np.empty((last - first, len(rows)), np.uint8)
    for part, tile in data.label_tiles(peaks[rows]):
        labels[:, part] = tile[:, cells[first:last] - data.start].toarray().T
    own = torch.from_numpy(labels).to(runtime.device)
    whole = gather_rows(own, slice(int(first), int(last)), len(cells), runtime)
    return torch.from_numpy(rows).to(runtime.device), whole.T
