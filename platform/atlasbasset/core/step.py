"""One training step: trunk data-parallel, cell layer cell-sharded.

Every worker embeds its share of the batch's peaks; all embeddings (B x E) are gathered; each worker
computes loss and gradients of all B peaks with its own cells; the gradients of the embeddings are
summed, and each worker pushes its own share back through its trunk; the trunk's gradients are
summed. With batch statistics summed as well (`Reduce`), W workers compute the same as one, to
rounding.

A step may use a sample of the cells only, one in `one_in`: each then counts `one_in` fold, so that
loss and gradients are unbiased estimates of those over all cells, and other cells and their moments
do not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch

from atlasbasset.core.augment import augmented_codes, one_hot_input
from atlasbasset.core.loss import fused_bce
from atlasbasset.core.runtime import gather_rows, reducer, share_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from atlasbasset.core.cell_adam import CellAdam
    from atlasbasset.core.cells import CellGradients, CellLayer, Tiles
    from atlasbasset.core.loss_types import Positives
    from atlasbasset.core.runtime import Runtime
    from atlasbasset.core.trunk import Trunk

__all__ = ["Batch", "Learner", "StepLoss", "StepPace"]


_COMPILE_MODE = "reduce-overhead"  # CUDA graphs: a step is some hundred small kernels


class Batch(NamedTuple):
    """A step's data: the whole batch's random numbers, this worker's cells."""

    codes: Tensor
    """uint8 (B, L + 2 flank)."""
    shift: Tensor
    """int64 (B,), bp."""
    reverse: Tensor
    """bool (B,)."""
    keep: Tensor
    """bool (B, E): bottleneck units that survive dropout."""
    positives: Positives
    """Open pairs of the batch and this worker's cells of `tiles`, counted in their order."""
    tiles: Tiles = None
    """This worker's cells in the step; None for all."""
    one_in: int = 1
    """One in how many cells the step samples, over all workers."""


class StepPace(NamedTuple):
    """How far a step goes."""

    learning_rate: float
    visits: int
    """How often the step's cells have been sampled, this step included."""
    train_trunk: bool = True
    """False while the trunk is frozen: cells alone move, the trunk as in use (`Trunk.eval`)."""


class StepLoss(NamedTuple):
    """Sums over this worker's cells; add them over workers."""

    bce_sum: Tensor
    """Summed cross-entropy, scalar float64."""
    penalty: Tensor
    """This worker's part of the L2 penalties, scalar float64."""


@dataclass(frozen=True)
class Learner:
    """Parameters, their optimisers, and the step that moves them."""

    trunk: Trunk
    cells: CellLayer
    optimizer: torch.optim.Optimizer
    """Of what every worker holds whole: the trunk and the batch tables."""
    cell_optimizer: CellAdam
    n_cells_total: int
    """N over all workers."""
    compute_dtype: torch.dtype
    """Of the convolutions."""
    l2_cells: float = 0.0
    l2_batch: float = 0.0
    compiled: bool = False
    """Whether the trunk's step runs through `torch.compile` (with CUDA graphs on a GPU)."""

    @property
    def arithmetic(self) -> str:
        """The convolutions' arithmetic in words."""
        name = str(self.compute_dtype).removeprefix("torch.")
        return name if self.trunk.convolution == "direct" else f"{name} (minimal convolutions)"

    @cached_property
    def _training_trunk(self) -> Callable[..., Tensor]:
        if not self.compiled:
            return self.trunk
        compiled: Callable[..., Tensor] = torch.compile(
            self.trunk, fullgraph=True, dynamic=False, mode=_COMPILE_MODE
        )
        return compiled

    def step(self, batch: Batch, runtime: Runtime, pace: StepPace) -> StepLoss:
        """Take one optimiser step; every worker calls it with the same rows."""
        n_rows = batch.codes.shape[0]
        share = share_of(n_rows, runtime.rank, runtime.world)
        self.trunk.train(pace.train_trunk)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(pace.train_trunk):
            own = self._embed(batch, share, runtime)
        h = gather_rows(own.detach(), share, n_rows, runtime)
        table = self.cells.table(batch.tiles)
        scale = batch.one_in / (n_rows * self.n_cells_total)
        found = fused_bce(h, table, batch.positives, scale=scale)
        grad_h = runtime.sum_(found.h)
        if pace.train_trunk:
            own.backward(grad_h[share])
        own_penalty, batch_penalty = self.cells.penalty(self.l2_cells, self.l2_batch)
        gradients = self.cells.gradients(found, table, l2_cells=batch.one_in * self.l2_cells)
        self._move(gradients, batch, runtime, pace)
        penalty = own_penalty + batch_penalty / runtime.world
        return StepLoss(found.loss_sum * batch.one_in, penalty)

    def _move(
        self, gradients: CellGradients, batch: Batch, runtime: Runtime, pace: StepPace
    ) -> None:
        _sum_gradients([*self.trunk.parameters(), *self.cells.shared_parameters()], runtime)
        self.cells.add_batch_penalty(self.l2_batch)
        for group in self.optimizer.param_groups:
            group["lr"] = pace.learning_rate
        self.optimizer.step()
        self.cell_optimizer.step(
            gradients, batch.tiles, visits=pace.visits, learning_rate=pace.learning_rate
        )

    def _embed(self, batch: Batch, share: slice, runtime: Runtime) -> Tensor:
        window_bp = self.trunk.config.window_bp
        codes = augmented_codes(
            batch.codes[share], window_bp, batch.shift[share], batch.reverse[share]
        )
        x = one_hot_input(codes, self.compute_dtype)
        embedded: Tensor = self._training_trunk(
            x,
            keep_BE=batch.keep[share],
            reduce=reducer(runtime),
            compute_dtype=self.compute_dtype,
        )
        return embedded


def _sum_gradients(parameters: list[nn.Parameter], runtime: Runtime) -> None:
    """Sum gradients over workers in one message."""
    if runtime.world == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return
    flat = runtime.sum_(torch.cat([g.flatten() for g in grads]))
    for grad, summed in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(summed.view_as(grad))
