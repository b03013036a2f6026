"""Adam for the cell layer, updating only the cells of a step.

torch's own fused kernel does the arithmetic, on views of the ranges of cells. Every cell is sampled
equally often (the sampler ensures this), so one count of visits serves all cells of a step and
none is stored; moments of cells that are not sampled do not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.adam import adam

if TYPE_CHECKING:
    from atlasbasset.core.cells import CellGradients, CellLayer, Tiles

__all__ = ["CellAdam"]


@dataclass(frozen=True, slots=True)
class _Moments:
    """First and second moment of one parameter."""

    exp_avg: Tensor
    exp_avg_sq: Tensor


class CellAdam:
    """Adam over a `CellLayer`'s embeddings and intercepts.

    Parameters
    ----------
    cells
        The layer, on its device.
    betas
        Decays of the two moments, [0, 1).
    eps
        Added to the root of the second moment.
    """

    def __init__(self, cells: CellLayer, *, betas: tuple[float, float], eps: float) -> None:
        self._parameters = {"embedding": cells.embedding, "intercept": cells.intercept}
        self._betas, self._eps = betas, eps
        self._moments = {
            name: _Moments(torch.zeros_like(p.detach()), torch.zeros_like(p.detach()))
            for name, p in self._parameters.items()
        }

    def tables(self) -> dict[str, Tensor]:
        """Return the moments, ``<parameter>/<moment>`` -> (N, ...)."""
        return {
            f"{name}/{moment}": getattr(moments, moment)
            for name, moments in self._moments.items()
            for moment in ("exp_avg", "exp_avg_sq")
        }

    @torch.no_grad()
    def step(
        self, gradients: CellGradients, tiles: Tiles, *, visits: int, learning_rate: float
    ) -> None:
        """Move the cells of `tiles`.

        Parameters
        ----------
        gradients
            Of those cells, in their order.
        visits
            How often each of them has been sampled, this step included.
        """
        views: tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]] = ([], [], [], [])
        for name, parameter in self._parameters.items():
            moments, gradient = self._moments[name], getattr(gradients, name)
            for rows, taken in _pieces(tiles, parameter.shape[0]):
                views[0].append(parameter.detach()[rows])
                views[1].append(gradient[taken])
                views[2].append(moments.exp_avg[rows])
                views[3].append(moments.exp_avg_sq[rows])
        if not views[0]:
            return
        before = torch.full((), float(visits - 1), device=views[0][0].device)
        adam(
            *views,
            [],
            [before.clone() for _ in views[0]],
            fused=True,
            amsgrad=False,
            beta1=self._betas[0],
            beta2=self._betas[1],
            lr=learning_rate,
            weight_decay=0.0,
            eps=self._eps,
            maximize=False,
        )


def _pieces(tiles: Tiles, n_cells: int) -> list[tuple[slice, slice]]:
    """Pair each range of rows with where it is stored in the gathered rows."""
    pieces, at = [], 0
    for rows in (slice(0, n_cells),) if tiles is None else tiles:
        size = rows.stop - rows.start
        pieces.append((rows, slice(at, at + size)))
        at += size
    return pieces
