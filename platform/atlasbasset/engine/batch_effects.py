"""The batches' effects given the cells' states, estimated over all workers.

A seeded sample of every batch's cells is gathered (a sum of pieces padded with zeros), rank 0 fits
the mixture of `atlasbasset.core.batch_mixture` to it, and all are told. So the result depends on
the number of workers only as far as the cells themselves do: by rounding.

Cells are compared by their logits: with C the covariance of the peaks' embeddings h, cells x and x'
are ``(x - x')' C (x - x')`` apart, the mean square difference of their logits over peaks. Noise of
a solved cell is about the same in every direction there.
"""

from __future__ import annotations

__all__ = ["BatchEffects", "BatchSettings", "estimate_effects", "solve_effects"]

_SAMPLE_CELLS = 16_384
_LEAST_CELLS = 128
"""Of one batch, where there are many."""
