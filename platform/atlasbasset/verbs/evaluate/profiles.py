"""Denoised profiles, judged by labels and by RNA (docs/method.md, "Measures")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.metrics import (
    CellTypeAsw,
    LabelScore,
    NeighborScore,
    cell_type_asw,
    label_score,
    neighbor_score,
    sample_rows,
)
from atlasbasset.metrics.profiles import profile_components, profile_directions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.verbs.evaluate.rna import RnaCells

__all__ = ["ProfileMeasures", "measure_profiles", "profile_peaks"]

_MOST_PEAKS = 10_000


@dataclass(frozen=True, slots=True)
class ProfileMeasures:
    """Measures of denoised profiles on the linear scale; None where nothing to compare is given."""

    labels: LabelScore | None
    """Label score of their 50 principal components."""
    neighbors: NeighborScore | None
    """Neighbor score of these components and the RNA."""
    asw: CellTypeAsw | None
    """Cell-type silhouette with distance 1 - Pearson r."""
    n_peaks: int
    """Peaks of the atlas."""
    n_peaks_used: int
    """Peaks of the profiles; fewer than `n_peaks` means a seeded sample."""
    peak_deviations: bool
    """Whether the peaks' deviations from their sequences are part of the profiles."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        parts = {"labels": self.labels, "neighbors": self.neighbors, "asw": self.asw}
        return {
            **{name: None if part is None else part.as_json() for name, part in parts.items()},
            "n_peaks": self.n_peaks,
            "n_peaks_used": self.n_peaks_used,
            "peak_deviations": self.peak_deviations,
        }


def profile_peaks(n_peaks: int) -> NDArray[np.int64]:
    """Return the rows of the peaks that profiles are made of: all up to 10,000, or a sample."""
    return sample_rows(n_peaks, _MOST_PEAKS, seed=0).astype(np.int64)


def measure_profiles(
    embedding: NDArray[np.float32],
    h: NDArray[np.float32],
    *,
    label: NDArray[np.object_] | None,
    rna: RnaCells | None,
    ks: Sequence[int],
    n_peaks: int,
    peak_deviations: bool,
) -> ProfileMeasures:
    """Measure the profiles ``embedding @ h.T`` from their factors.

    Parameters
    ----------
    embedding
        float32 (N, E).
    h
        float32 (peaks, E), of the peaks of `profile_peaks`.
    label
        Of each cell, or None.
    rna
        Cells with their RNA's embedding, or None.
    """
    components = profile_components(embedding, h)
    directions = profile_directions(embedding, h)
    return ProfileMeasures(
        labels=None if label is None else label_score(components, label, ks),
        neighbors=None if rna is None else neighbor_score(components[rna.cells], rna.embedding, ks),
        asw=None if label is None else cell_type_asw(directions, label, metric="cosine"),
        n_peaks=n_peaks,
        n_peaks_used=len(h),
        peak_deviations=peak_deviations,
    )
