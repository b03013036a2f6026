"""False discovery rates (Benjamini and Hochberg 1995) of more p-values than are held.

p-values from a null of N chance sites take at most N + 1 different values, so how often each occurs
is all that is kept of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["QValues"]


class QValues:
    """Turns p-values into q-values once all of them have been added.

    Parameters
    ----------
    n_groups
        G; each group is corrected by itself.
    """

    def __init__(self, n_groups: int) -> None:
        none = np.empty(0), np.empty(0, np.int64)
        self._counted = [none] * n_groups

    def add(self, p: NDArray[np.float64]) -> None:
        """Add p-values of tests, (H, G)."""
        for group, (known, counts) in enumerate(self._counted):
            values, inverse = np.unique(np.append(known, p[:, group]), return_inverse=True)
            weights = np.append(counts, np.ones(len(p), np.int64))
            total = np.bincount(inverse, weights, minlength=len(values)).astype(np.int64)
            self._counted[group] = values, total

    def q(self, p: NDArray[np.float64], group: int) -> NDArray[np.float64]:
        """Return the q-values of some of a group's p-values, (n,).

        The least false discovery rate at which a test counts as a discovery: the minimum, over all
        p' >= p, of ``p' x tests / tests with at most p'``.
        """
        values, counts = self._counted[group]
        rates = values * counts.sum() / np.cumsum(counts)
        least = np.minimum.accumulate(rates[::-1])[::-1]
        return np.asarray(least[np.searchsorted(values, p)])
