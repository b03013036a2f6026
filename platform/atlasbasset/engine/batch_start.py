"""Batches at the start of a run: whether they are distinct from the cells' states, and their rows.

Both come from cells solved on the labels' leading singular vectors, which stand for a trunk that
there is not yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from atlasbasset.engine.batch_effects import solve_effects
from atlasbasset.engine.solving import open_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.core.cells import CellLayer
    from atlasbasset.core.runtime import Runtime
    from atlasbasset.engine.batch_effects import BatchEffects, BatchSettings
    from atlasbasset.engine.labels.host import WorkerData

__all__ = ["effects_at_start", "inseparable_batches"]

_PEAKS = 16_384
_NAMED = 5


def effects_at_start(
    cells: CellLayer,
    data: WorkerData,
    peaks: NDArray[np.int64],
    vectors: NDArray[np.float64],
    runtime: Runtime,
    settings: BatchSettings,
) -> BatchEffects:
    """Estimate the batches' effects, (B, k), as weights of ``sqrt(P) vectors`` in the logits.

    Parameters
    ----------
    vectors
        (P, k) leading singular vectors of the labels of `peaks`.
    """
    some = np.arange(0, len(peaks), -(-len(peaks) // _PEAKS))
    h = (vectors[some] * np.sqrt(len(peaks))).astype(np.float32)
    sums = open_sums(data, peaks[some], h)
    return solve_effects(cells, torch.from_numpy(h).to(runtime.device), sums, runtime, settings)


def inseparable_batches(
    key: str, names: Sequence[str], groups: NDArray[np.int64], *, given_state: bool
) -> str | None:
    """Return a sentence where batches cannot be distinguished from cells; None where all can.

    Parameters
    ----------
    groups
        See `BatchEffects.groups`.
    """
    n_groups = int(groups.max()) + 1
    if n_groups == 1:
        return None
    parts = [
        [name for name, own in zip(names, groups, strict=True) if own == group]
        for group in range(n_groups)
    ]
    shown = " | ".join(_listed(part) for part in parts[:_NAMED])
    more = f" | and {n_groups - _NAMED:,} more" if n_groups > _NAMED else ""
    done = (
        "no difference between these groups is corrected; --batch-effect free takes all of it away"
        if given_state
        else "--batch-effect free takes every difference away, that of their cell types included"
    )
    return (
        f"Batches of {key!r} have too few cell states in common to tell a batch's effect from "
        f"other cells: {shown}{more}. No method could; {done}."
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
