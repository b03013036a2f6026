"""Denoised profiles judged from their factors: no N x P table is made.

A denoised profile is ``h @ w``, so N profiles have rank E at most, whatever the number of peaks:

* their principal components are those of ``W sqrt(h' h)``, exactly;
* 1 - Pearson r of two of them, over peaks, is the cosine distance of their rows in
  ``W sqrt(c' c)``, where c is h less its mean over peaks.

Source: docs/method.md, "Measures". Letters: P peaks, N cells, E numbers per cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["profile_components", "profile_directions"]


def profile_components(
    embedding: NDArray[np.float32], h: NDArray[np.float32], *, n_components: int = 50
) -> NDArray[np.float32]:
    """Return the principal components of the denoised profiles, float32 (N, min(E, n)).

    Parameters
    ----------
    embedding
        W: float32 (N, E).
    h
        float32 (P, E): the peaks' embeddings.
    n_components
        At most; more than E are zero and left out.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> profile_components(rng.normal(size=(30, 4)), rng.normal(size=(90, 4))).shape
    (30, 4)
    """
    centred = embedding.astype(np.float64)
    centred -= centred.mean(0)
    profiles = centred @ _root(h.astype(np.float64))
    _, vectors = np.linalg.eigh(profiles.T @ profiles)
    return np.asarray(profiles @ vectors[:, ::-1][:, :n_components], np.float32)


def profile_directions(
    embedding: NDArray[np.float32], h: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return rows whose cosines are Pearson's r of the denoised profiles, float32 (N, E).

    Parameters are those of `profile_components`.
    """
    centred = h.astype(np.float64)
    centred -= centred.mean(0)
    return np.asarray(embedding.astype(np.float64) @ _root(centred), np.float32)


def _root(h: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the symmetric square root of ``h' h``, (E, E)."""
    values, vectors = np.linalg.eigh(h.T @ h)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root
