"""How well the scores of the bases at a motif's site follow the motif."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasstore.genome.motifs import Motif

__all__ = ["METHODS", "Method", "site_scores"]

Method = Literal["pearson", "dot"]
METHODS: tuple[Method, ...] = ("pearson", "dot")


def site_scores(
    motif: Motif, effects: NDArray[np.float32], reverse: NDArray[np.bool_], *, method: Method
) -> NDArray[np.float32]:
    """Score sites of one motif.

    Parameters
    ----------
    motif
        Of width w.
    effects
        float32 (H, w, 4, G): scores of all bases at each site, on the forward strand.
    reverse
        bool (H,): which sites lie on the reverse strand.

    Returns
    -------
    numpy.ndarray
        float32 (H, G); a correlation is 0 where nothing varies.
    """
    forward = (motif.probabilities - 0.25).astype(np.float32)  # what is constant adds nothing
    weights = np.where(reverse[:, None, None], forward[None, ::-1, ::-1], forward[None])
    flat, weights = (v.reshape(len(v), forward.size, -1) for v in (effects, weights))
    found = np.zeros((len(flat), flat.shape[2]), np.float32)
    squares = np.zeros_like(found)
    for at in range(forward.size):
        found += weights[:, at] * flat[:, at]
        squares += np.square(flat[:, at])
    if method == "pearson":
        norm = np.linalg.norm(forward) * np.sqrt(squares)
        np.divide(found, norm, out=found, where=norm > 0)
    return found
