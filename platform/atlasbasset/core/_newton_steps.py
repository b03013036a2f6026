"""Damped Newton steps for many logistic regressions on the same features.

Every problem minimises ``sum over r of softplus(x . f_r + o_r) - x . s + penalty . x^2 / 2``, where
s is the sum of the features of its own positive rows: that is all of its labels that it sees.

Hessians are one product of the problems' R weights with R x F (F + 1) / 2 products of features, for
the problems that have not converged. Reusing a Hessian for several steps saved nothing: more steps
were taken. Products are in the features' dtype, sums over tiles of rows and the F x F solves in
float64. No array is larger than the problems times a tile of rows.

Shape letters: R rows, n problems, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Points", "Problem", "errors", "evaluate", "iterate"]

_ARMIJO = 1e-4
_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Problem:
    """What all problems share."""

    features_RF: Tensor
    penalty_F: Tensor
    """float64, above 0."""
    tile_rows: int
    max_iterations: int
    offset_R: Tensor | None = None
    """Added to every problem's logits."""

    @property
    def slack(self) -> float:
        """Relative error of an objective's terms: a rise below it is rounding."""
        return 16 * torch.finfo(self.features_RF.dtype).eps

    def logits(self, x_nF: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each tile's features (r, F) and logits (n, r)."""
        x = x_nF.to(self.features_RF.dtype)
        for start in range(0, len(self.features_RF), self.tile_rows):
            rows = slice(start, start + self.tile_rows)
            features = self.features_RF[rows]
            logits = x @ features.T
            yield features, logits if self.offset_R is None else logits.add_(self.offset_R[rows])


class Points(NamedTuple):
    """Where problems stand."""

    x_nF: Tensor
    value_n: Tensor
    gradient_nF: Tensor

    def at(self, problems: Tensor) -> Points:
        """Return some of them."""
        return Points(self.x_nF[problems], self.value_n[problems], self.gradient_nF[problems])

    def replace_(self, problems: Tensor, by: Points) -> None:
        """Move some of them."""
        for ours, theirs in zip(self, by, strict=True):
            ours[problems] = theirs


def iterate(
    problem: Problem, points: Points, sums_nF: Tensor, goal_n: Tensor, *, from_zero: bool = False
) -> tuple[Tensor, Tensor]:
    """Move `points` to the minimum in place; return (iterations, converged).

    Parameters
    ----------
    goal_n
        Norm of the gradient at which a problem has converged.
    from_zero
        Whether all features but the last, a constant, have coefficients of 0: Hessians are then the
        same but for a factor.
    """
    iterations = torch.zeros_like(goal_n, dtype=torch.int64)
    for count in range(problem.max_iterations):
        active = (points.gradient_nF.norm(dim=1) > goal_n).nonzero().squeeze(1)
        if not len(active):
            break
        before = points.at(active)
        factors = _factors(problem, before.x_nF, shared=from_zero and not count)
        step = -torch.cholesky_solve(before.gradient_nF[:, :, None], factors).squeeze(2)
        points.replace_(active, _descend(problem, before, step, sums_nF[active]))
        iterations[active] += 1
    return iterations, points.gradient_nF.norm(dim=1) <= goal_n


def evaluate(problem: Problem, x_nF: Tensor, sums_nF: Tensor) -> Points:
    """Return objective and gradient at `x_nF`."""
    value = (x_nF * (problem.penalty_F * x_nF / 2 - sums_nF)).sum(1)
    gradient = problem.penalty_F * x_nF - sums_nF
    for features, logits in problem.logits(x_nF):
        value += softplus(logits, threshold=40).sum(1, dtype=torch.float64)
        gradient += logits.sigmoid_() @ features
    return Points(x_nF, value, gradient)


def errors(problem: Problem, points: Points) -> Tensor:
    """Return the posterior sd of each coefficient (n, F): roots of the inverse Hessian's diagonal.

    The penalty is the prior's, and the posterior is taken as normal around its mode (Laplace).
    """
    inverse = torch.cholesky_inverse(_factors(problem, points.x_nF, shared=False))
    found: Tensor = inverse.diagonal(dim1=1, dim2=2).sqrt()
    return found


def _descend(problem: Problem, before: Points, step_nF: Tensor, sums_nF: Tensor) -> Points:
    """Take each problem's step, halved until its objective falls; none where it never does."""
    slope = _ARMIJO * (before.gradient_nF * step_nF).sum(1)
    terms = before.value_n.abs() + (before.x_nF * sums_nF).abs().sum(1)
    bound = before.value_n + problem.slack * terms
    found = evaluate(problem, before.x_nF + step_nF, sums_nF)
    size = 1.0
    for _ in range(_HALVINGS):
        # "not below" rather than "above": a NaN is too high as well
        high = (~(found.value_n <= bound + size * slope)).nonzero().squeeze(1)
        if not len(high):
            return found
        size /= 2
        shorter = before.x_nF[high] + size * step_nF[high]
        found.replace_(high, evaluate(problem, shorter, sums_nF[high]))
    high = (~(found.value_n <= bound)).nonzero().squeeze(1)
    found.replace_(high, before.at(high))
    return found


def _factors(problem: Problem, x_nF: Tensor, *, shared: bool) -> Tensor:
    """Return the Cholesky factors (n, F, F) of the Hessians at `x_nF`, float64."""
    hessian = _shared_hessian(problem, x_nF) if shared else _hessian(problem, x_nF)
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    # rounding must not make the sum of products indefinite
    rounding = 32 * torch.finfo(problem.features_RF.dtype).eps * diagonal.amax(1, keepdim=True)
    diagonal += problem.penalty_F + rounding
    factors: Tensor = torch.linalg.cholesky(hessian)
    return factors


def _hessian(problem: Problem, x_nF: Tensor) -> Tensor:
    """Return the Hessians (n, F, F) of the cross-entropy: sum of s (1 - s) f f' over rows."""
    n_features = x_nF.shape[1]
    i, j = torch.triu_indices(n_features, n_features, device=x_nF.device)
    packed = problem.features_RF.new_zeros(len(x_nF), len(i))
    for features, logits in problem.logits(x_nF):
        share, columns = logits.sigmoid_(), features.T.contiguous()
        packed.addmm_(share.mul_(1 - share), (columns[i] * columns[j]).T)
    place = i.new_empty(n_features, n_features)
    place[i, j] = place[j, i] = torch.arange(len(i), device=i.device)
    return packed.index_select(1, place.flatten()).view(-1, *place.shape).to(x_nF)


def _shared_hessian(problem: Problem, x_nF: Tensor) -> Tensor:
    """Return the Hessians where every coefficient but the constant's is 0: one product for all."""
    share = x_nF[:, -1].sigmoid()
    features = problem.features_RF
    return (share * (1 - share))[:, None, None] * (features.T @ features).to(x_nF)
