"""Binary cross-entropy of a factored prediction with sparse labels, fused with its gradients.

``loss = sum over (p, c) of softplus(z) - sum over positives of z``, with ``z = h @ W.T + b``
(docs/method.md, "Cell layer and loss"; docs/loss.md). Logits are made, used and dropped one tile of
cells at a time, forward and backward together, so memory does not grow with the number of cells and
labels are never dense. This module is plain torch, for any device and float dtype. Where they are
installed, numba computes float32 on the CPU (`_loss_cpu`) and Triton float32 on CUDA
(`_loss_triton`).
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import softplus

from atlasbasset.core.loss_types import LossAndGradients

if TYPE_CHECKING:
    from atlasbasset.core.loss_types import CellTable, Positives, Products

__all__ = ["fused_bce"]

TILE_CELLS = 2048
"""Cells per tile; 1-4 thousand keep a tile of logits in the CPU's cache."""


def fused_bce(
    h_BE: Tensor,
    table: CellTable,
    positives: Positives,
    *,
    scale: float = 1.0,
    tile_cells: int = TILE_CELLS,
    products: Products = "fp32",
) -> LossAndGradients:
    """Return the summed loss over all (peak, cell) pairs and its gradients.

    Parameters
    ----------
    h_BE
        (B, E) embeddings of the batch's peaks; no gradient is tracked.
    table
        The cells; any float dtype, the same as `h_BE`.
    positives
        Distinct open pairs sorted by cell.
    scale
        Gradients are multiplied by this (``1 / (B N)`` for the mean).
    tile_cells
        Cells per tile of the torch tiles; lower it when memory is short: B x tile values live at
        once. The compiled kernels choose their own, which fit in cache or registers.
    products
        "bf16" rounds the operands of the three products: faster on a GPU, not on a CPU.
    """
    if _triton_takes(h_BE):
        from atlasbasset.core._loss_triton import fused_bce_triton

        return fused_bce_triton(h_BE, table, positives, scale=scale, products=products)
    if _numba_takes(h_BE, products):
        from atlasbasset.core._loss_cpu import fused_bce_numba

        return fused_bce_numba(h_BE, table, positives, scale=scale)
    return _by_tiles(h_BE.detach(), table, positives, scale, tile_cells, products)


def _triton_takes(h: Tensor) -> bool:
    return h.device.type == "cuda" and h.dtype == torch.float32 and _is_installed("triton")


def _numba_takes(h: Tensor, products: Products) -> bool:
    single = h.dtype == torch.float32 and products == "fp32"
    return h.device.type == "cpu" and single and _is_installed("numba")


@cache
def _is_installed(module: str) -> bool:
    return find_spec(module) is not None


def _by_tiles(
    h: Tensor,
    table: CellTable,
    positives: Positives,
    scale: float,
    tile_cells: int,
    products: Products,
) -> LossAndGradients:
    n_cells, factor_h = table.embedding.shape[0], _operand(h, products)
    starts = torch.arange(0, n_cells + tile_cells, tile_cells, device=h.device).clamp_(max=n_cells)
    bounds = torch.searchsorted(positives.cell, starts).tolist()
    grad_h, loss_sum = torch.zeros_like(h), torch.zeros((), dtype=torch.float64, device=h.device)
    grad_embedding = torch.empty_like(table.embedding)
    grad_intercept = torch.empty_like(table.intercept)
    for index, start in enumerate(range(0, n_cells, tile_cells)):
        cells = slice(start, min(start + tile_cells, n_cells))
        hits = slice(bounds[index], bounds[index + 1])
        embedding, intercept = table.tile(cells)
        embedding = _operand(embedding, products)
        logits = torch.addmm(intercept, factor_h, embedding.T)
        at = positives.row[hits], positives.cell[hits] - start
        loss_sum += softplus(logits).sum(dtype=torch.float64) - logits[at].sum(dtype=torch.float64)
        residual = logits.sigmoid_()
        residual[at] -= 1
        residual *= scale
        torch.sum(residual, 0, out=grad_intercept[cells])
        residual = _operand(residual, products)
        grad_h.addmm_(residual, embedding)
        torch.mm(residual.T, factor_h, out=grad_embedding[cells])
    return LossAndGradients(loss_sum, grad_h, grad_embedding, grad_intercept)


def _operand(factor: Tensor, products: Products) -> Tensor:
    return factor if products == "fp32" else factor.bfloat16().to(factor.dtype)
