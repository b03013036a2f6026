"""Sites of known motifs in sequences, by FIMO (Grant et al. 2011), as memelite computes it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasbasset.extras import needed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from atlasstore.genome.motifs import Motif

__all__ = ["SITE_BYTES", "Hits", "find_hits"]

SITE_BYTES = 200
"""What `find_hits` takes of a site while it makes `Hits`, about."""


@dataclass(frozen=True, eq=False, slots=True)
class Hits:
    """Sites, ordered by motif; each array has one value per site."""

    motif: NDArray[np.int64]
    """Index of the motif, rising."""
    sequence: NDArray[np.int64]
    """Index of the sequence."""
    start: NDArray[np.int64]
    """First position, 0-based, on the forward strand."""
    reverse: NDArray[np.bool_]
    """Whether the motif lies on the reverse strand."""
    p: NDArray[np.float64]
    """FIMO's p-value: of a sequence of uniform random bases."""

    def __len__(self) -> int:
        return len(self.motif)

    def of_motifs(self, first: int, last: int) -> tuple[Hits, slice]:
        """Return the sites of motifs [first, last), which count from 0 then, and where they lie."""
        at = slice(*np.searchsorted(self.motif, (first, last)).tolist())
        motif = self.motif[at] - first
        return Hits(motif, self.sequence[at], self.start[at], self.reverse[at], self.p[at]), at

    def by_motif(self) -> Iterator[tuple[int, slice]]:
        """Yield each motif that has sites, and where they lie."""
        found, first = np.unique(self.motif, return_index=True)
        edges = pairwise([*first.tolist(), len(self)])
        for motif, (start, stop) in zip(found.tolist(), edges, strict=True):
            yield motif, slice(start, stop)


def find_hits(motifs: Sequence[Motif], codes: NDArray[np.uint8], *, p: float) -> Hits:
    """Find sites of motifs on both strands.

    Parameters
    ----------
    motifs
        With distinct names.
    codes
        uint8 (n, L): A, C, G, T = 0..3; a site may hold unknown bases (4), which count as average.
    p
        FIMO's p-value of a site is below this.

    Raises
    ------
    MissingExtraError
        memelite is not installed.
    """
    fimo = needed("memelite", extra="interpret", purpose="Matching motifs").fimo
    onehot = (codes[:, None, :] == np.arange(4)[None, :, None]).astype(np.int8)
    tables = fimo({m.name: m.probabilities.T for m in motifs}, onehot, threshold=p)
    whole = pd.concat([table for table in tables if len(table)] or tables[:1])
    return Hits(
        motif=whole["motif_idx"].to_numpy(np.int64),
        sequence=whole["sequence_name"].to_numpy(np.int64),
        start=whole["start"].to_numpy(np.int64),
        reverse=whole["strand"].to_numpy() == "-",
        p=whole["p-value"].to_numpy(np.float64),
    )
