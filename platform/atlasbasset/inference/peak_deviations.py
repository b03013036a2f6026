"""A model's peak deviations: where training peaks lie beside what their sequences say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from atlasbasset.engine.checkpoints import PEAKS
from atlasstore.genome.peaks import peaks_digest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from atlasstore.models.checkpoint import Checkpoint

__all__ = ["PeakDeviations", "has_deviations"]


def has_deviations(checkpoint: Checkpoint) -> bool:
    """Whether the model's peaks deviate from their sequences."""
    return checkpoint.has_tensors(PEAKS)


@dataclass(frozen=True, eq=False, slots=True)
class PeakDeviations:
    """Deviations of an atlas's peaks; they fit no other peaks."""

    deviation: NDArray[np.float32]
    """float32 (P, E), to be added to the embeddings of the peaks' sequences; 0 for peaks that were
    not fitted."""
    peaks_sha256: NDArray[np.uint8]
    """uint8 (32,), of the peaks' coordinates (`peaks_digest`)."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self | None:
        """Read those of a checkpoint; None where it has none."""
        if not has_deviations(checkpoint):
            return None
        found = checkpoint.tensors(PEAKS)
        return cls(found["deviation"], found["peaks_sha256"])

    def as_tensors(self) -> dict[str, NDArray[Any]]:
        """Return what `of` reads."""
        return {"deviation": self.deviation, "peaks_sha256": self.peaks_sha256}

    def fit(self, peaks: pd.DataFrame) -> bool:
        """Whether `peaks`, an atlas's table, are the peaks that they are of."""
        return bool((peaks_digest(peaks) == self.peaks_sha256).all())
