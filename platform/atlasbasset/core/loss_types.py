"""Inputs and outputs of the fused loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CellTable", "LossAndGradients", "Positives", "Products"]

Products = Literal["fp32", "bf16"]
"""Operands of the matrix products: as they are, or rounded to bfloat16. Sums are float32."""


class Positives(NamedTuple):
    """The open (peak, cell) pairs of one step, sorted by cell.

    On CUDA pairs with ``cell == N`` may follow, which count for nothing: so that nobody has to ask
    the device how many pairs there are.
    """

    cell: Tensor
    """(K,) int64, row of the cell table, ascending."""
    row: Tensor
    """(K,) int64, row of the batch."""


class CellTable(NamedTuple):
    """The final layer as it acts: one row per cell.

    With batch correction the row is the cell's own plus its batch's
    (``(h . V + c) @ onehot(batch)`` is one more term of the same form).
    """

    embedding: Tensor
    """(N, E) float32."""
    intercept: Tensor
    """(N,) float32."""
    batch: Tensor | None = None
    """(N,) int64, row of the batch tables; None without batch correction."""
    batch_embedding: Tensor | None = None
    """(n_batches, E) float32."""
    batch_intercept: Tensor | None = None
    """(n_batches,) float32."""

    def tile(self, cells: slice) -> tuple[Tensor, Tensor]:
        """Return the effective (embedding, intercept) of a range of cells."""
        embedding, intercept = self.embedding[cells], self.intercept[cells]
        if self.batch is None or self.batch_embedding is None or self.batch_intercept is None:
            return embedding, intercept
        batch = self.batch[cells]
        return embedding + self.batch_embedding[batch], intercept + self.batch_intercept[batch]


class LossAndGradients(NamedTuple):
    """Loss summed over peaks and cells, and its gradients times the caller's `scale`."""

    loss_sum: Tensor
    """Scalar float64, unscaled."""
    h: Tensor
    """(B, E)."""
    embedding: Tensor
    """(N, E), of the effective table."""
    intercept: Tensor
    """(N,), of the effective table."""
