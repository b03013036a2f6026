"""The fused loss of `loss` as one Triton kernel: float32 tables on a GPU.

A program owns a range of cell tiles and goes over all rows of the batch for each, so it alone
writes those cells' gradients, summed in registers. It adds the gradient of the rows to a buffer of
its own (B x E, small enough for the caches); torch sums the buffers. No float atomics: equal input
gives equal bits. The alternative, a second kernel for the rows' gradient, would make all logits and
exponentials twice.

Rows are taken 32 at a time: their labels, which come as positives, are then the bits of one word
per cell of the tile, and exist nowhere else. One launch regardless of the sizes; nothing waits for
the device.

Letters: B 32 rows of the batch, C cells of a tile, E embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

from atlasbasset.core.loss_types import LossAndGradients

if TYPE_CHECKING:
    from torch import Tensor

    from atlasbasset.core.loss_types import CellTable, Positives, Products

__all__ = ["fused_bce_triton"]

MAX_PROGRAMS = 1024
"""Buffers of the rows' gradient; fixed, so that no result depends on the GPU."""

TILE_CELLS, WARPS = 64, 4
"""With 32 rows at a time. Twice the rows or the cells spill registers at this many warps."""


def fused_bce_triton(
    h_BE: Tensor,
    table: CellTable,
    positives: Positives,
    *,
    scale: float = 1.0,
    products: Products = "fp32",
) -> LossAndGradients:
    """Return what `loss.fused_bce` returns; all tensors float32 on one CUDA device.

    Parameters
    ----------
    h_BE
        (B, E) embeddings of the batch's peaks; no gradient is tracked.
    table
        The cells.
    positives
        Distinct open pairs sorted by cell.
    scale
        Gradients are multiplied by this.
    products
        "fp32": IEEE float32, never TF32. "bf16": operands rounded, sums in float32.
    """
    h, (n_cells, embedding_dim) = h_BE.detach().contiguous(), table.embedding.shape
    tiles = max(1, -(-n_cells // TILE_CELLS))
    tiles_each = -(-tiles // MAX_PROGRAMS)
    programs = -(-tiles // tiles_each)
    cells = torch.arange(n_cells + 1, device=h.device)
    loss = torch.empty(programs, dtype=torch.float64, device=h.device)
    grad_h = torch.zeros(programs, *h.shape, device=h.device)
    grad_embedding = torch.empty(n_cells, embedding_dim, device=h.device)
    grad_intercept = torch.empty(n_cells, device=h.device)
    _fused_bce_kernel[(programs,)](
        h,
        *(None if tensor is None else tensor.contiguous() for tensor in table),
        torch.searchsorted(positives.cell.contiguous(), cells),
        positives.row.contiguous(),
        loss,
        grad_h,
        grad_embedding,
        grad_intercept,
        scale,
        h.shape[0],
        n_cells,
        tiles_each,
        **_compiled_for(embedding_dim, products, batches=table.batch is not None),
    )
    return LossAndGradients(loss.sum(), grad_h.sum(0), grad_embedding, grad_intercept)


def _compiled_for(embedding_dim: int, products: Products, *, batches: bool) -> dict[str, Any]:
    # Triton's interpreter truncates to bf16 and cannot multiply it; this is the same in float32
    emulated = products == "bf16" and triton.knobs.runtime.interpret
    return {
        "E": embedding_dim,
        "TILE_E": max(16, triton.next_power_of_2(embedding_dim)),
        "TILE_C": TILE_CELLS,
        "BATCHES": batches,
        "PRODUCTS": "rounded" if emulated else products,
        "num_warps": WARPS,
        "num_stages": 1,  # no load may be moved before the store that `_add` waits for
        "enable_fp_fusion": True,
    }


@triton.jit
def _rounded(x):  # type: ignore[no-untyped-def]
    """Round to the nearest bfloat16, ties to even; stays float32."""
    bits = x.to(tl.int32, bitcast=True)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def _dot(a, b, PRODUCTS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Matrix product with float32 sums."""
    if PRODUCTS == "fp32":
        return tl.dot(a, b, input_precision="ieee")
    if PRODUCTS == "bf16":
        return tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16))
    return tl.dot(_rounded(a), _rounded(b), input_precision="ieee")


@triton.jit
def _softplus_and_sigmoid(z):  # type: ignore[no-untyped-def]
    """Return both from one exponential, each accurate relative to itself.

    ``log(1 + e) = 2 atanh(e / (2 + e))``; e is at most 1, and seven terms of the series leave a
    relative error of 2e-8.
    """
    e = tl.exp(-tl.abs(z))
    s = e / (2.0 + e)
    t = s * s
    series = t * (1 / 13) + 1 / 11
    series = series * t + 1 / 9
    series = series * t + 1 / 7
    series = series * t + 1 / 5
    series = series * t + 1 / 3
    series = series * t + 1.0
    return tl.maximum(z, 0.0) + 2.0 * s * series, tl.where(z >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def _labels(row, begin, count, row0):  # type: ignore[no-untyped-def]
    """Return bool (C, B), rows from `row0` on; a cell has `count` positives at `begin`."""
    bits = tl.zeros_like(begin).to(tl.int32)
    for index in range(tl.max(count, 0)):
        at = tl.load(row + begin + index, mask=index < count, other=-1) - row0
        inside = (at >= 0) & (at < 32)
        bits |= tl.where(inside, 1 << tl.where(inside, at, 0).to(tl.int32), 0)
    return ((bits[:, None] >> tl.arange(0, 32)[None, :]) & 1) != 0


@triton.jit
def _cells(  # type: ignore[no-untyped-def]
    embedding,
    intercept,
    batch,
    batch_embedding,
    batch_intercept,
    cell_C,
    here_C,
    E: tl.constexpr,
    TILE_E: tl.constexpr,
    BATCHES: tl.constexpr,
):
    """Return the tile's effective embeddings (C, E) and intercepts (C,)."""
    column_E = tl.arange(0, TILE_E)
    here = here_C[:, None] & (column_E < E)[None, :]
    w = tl.load(embedding + cell_C[:, None] * E + column_E[None, :], mask=here, other=0.0)
    b = tl.load(intercept + cell_C, mask=here_C, other=0.0)
    if BATCHES:
        of = tl.load(batch + cell_C, mask=here_C, other=0)
        w += tl.load(batch_embedding + of[:, None] * E + column_E[None, :], mask=here, other=0.0)
        b += tl.load(batch_intercept + of, mask=here_C, other=0.0)
    return w, b


@triton.jit
def _loss_and_residual(w, b, h_BE, labels, here, PRODUCTS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the tile's summed loss, float64, and sigmoid(z) - label, 0 where not `here`."""
    # softplus(z) - y z is softplus(z) or softplus(-z): no difference of near equals
    sign = tl.where(labels, -1.0, 1.0)
    z = sign * (_dot(w, tl.trans(h_BE), PRODUCTS) + b[:, None])
    softplus, sigmoid = _softplus_and_sigmoid(z)
    loss = tl.sum(tl.sum(tl.where(here, softplus, 0.0), 1), 0).to(tl.float64)
    return loss, tl.where(here, sign * sigmoid, 0.0)


@triton.jit
def _add(pointer, value, mask):  # type: ignore[no-untyped-def]
    """Add to memory of this program's own."""
    tl.debug_barrier()  # see what its other threads stored before
    tl.store(pointer, value + tl.load(pointer, mask=mask, other=0.0), mask=mask)


@triton.jit(do_not_specialize=["n_rows", "n_cells", "tiles_each"])
def _fused_bce_kernel(  # type: ignore[no-untyped-def]
    h,
    embedding,
    intercept,
    batch,
    batch_embedding,
    batch_intercept,
    first,
    row,
    loss_part,
    grad_h_part,
    grad_embedding,
    grad_intercept,
    scale,
    n_rows,
    n_cells,
    tiles_each,
    E: tl.constexpr,
    TILE_E: tl.constexpr,
    TILE_C: tl.constexpr,
    BATCHES: tl.constexpr,
    PRODUCTS: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    grad_h_part += program * n_rows * E
    column_E = tl.arange(0, TILE_E)
    loss = tl.zeros((), dtype=tl.float64)
    for tile in range(tiles_each):
        cell_C = (program * tiles_each + tile) * TILE_C + tl.arange(0, TILE_C)
        here_C = cell_C < n_cells
        w, b = _cells(
            embedding, intercept, batch, batch_embedding, batch_intercept,
            cell_C, here_C, E, TILE_E, BATCHES,
        )  # fmt: skip
        begin = tl.load(first + cell_C, mask=here_C, other=0)
        count = tl.load(first + cell_C + 1, mask=here_C, other=0) - begin
        grad_w = tl.zeros((TILE_C, TILE_E), dtype=tl.float32)
        grad_b = tl.zeros((TILE_C,), dtype=tl.float32)
        for row0 in range(0, n_rows, 32):
            row_B = row0 + tl.arange(0, 32)
            at_BE = row_B[:, None] * E + column_E[None, :]
            here_BE = (row_B < n_rows)[:, None] & (column_E < E)[None, :]
            h_BE = tl.load(h + at_BE, mask=here_BE, other=0.0)
            labels = _labels(row, begin, count, row0)
            here = here_C[:, None] & (row_B < n_rows)[None, :]
            more, residual = _loss_and_residual(w, b, h_BE, labels, here, PRODUCTS)
            loss += more
            grad_w += _dot(residual, h_BE, PRODUCTS)
            grad_b += tl.sum(residual, 1)
            _add(grad_h_part + at_BE, _dot(tl.trans(residual), w, PRODUCTS) * scale, here_BE)
        at = cell_C[:, None] * E + column_E[None, :]
        here_CE = here_C[:, None] & (column_E < E)[None, :]
        tl.store(grad_embedding + at, grad_w * scale, mask=here_CE)
        tl.store(grad_intercept + cell_C, grad_b * scale, mask=here_C)
    tl.store(loss_part + program, loss)
