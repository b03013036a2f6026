"""Sites of known motifs in sequences, by FIMO (Grant et al. 2011), as memelite computes it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasbasset.extras import needed
from atlasstore.genome.sequences import UNKNOWN

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
    """Find sites of motifs on both strands; no site holds an unknown base.

    Parameters
    ----------
    motifs
        Any, also several of one name.
    codes
        uint8 (n, L): A, C, G, T = 0..3, unknown 4.
    p
        FIMO's p-value of a site is below this.

    Raises
    ------
    MissingExtraError
        memelite is not installed.
    """
    fimo = needed("memelite", extra="interpret", purpose="Matching motifs").fimo
    letters, at = _letters(codes)
    onehot = (letters[None, None, :] == np.arange(4)[None, :, None]).astype(np.int8)
    named = {str(number): motif.probabilities.T for number, motif in enumerate(motifs)}
    tables = fimo(named, onehot, threshold=p)
    whole = pd.concat([table for table in tables if len(table)] or tables[:1])
    motif, first, last = (whole[name].to_numpy(np.int64) for name in ("motif_idx", "start", "end"))
    n_unknown = np.concatenate([[0], np.cumsum(letters == UNKNOWN)])
    is_known = n_unknown[last] == n_unknown[first]
    sequence, start = np.divmod(at[first[is_known]], codes.shape[1] + 1)
    return Hits(
        motif=motif[is_known],
        sequence=sequence,
        start=start,
        reverse=(whole["strand"].to_numpy() == "-")[is_known],
        p=whole["p-value"].to_numpy(np.float64)[is_known],
    )


def _letters(codes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return all sequences as one, and where each of its bases lies among rows of L + 1.

    An unknown base ends every sequence, and a run of unknown ones is one: FIMO takes an unknown
    base for an average one, and would report a sharp motif at each of a long run.
    """
    ended = np.pad(codes, ((0, 0), (0, 1)), constant_values=UNKNOWN).ravel()
    is_unknown = ended == UNKNOWN
    at = np.flatnonzero(~(is_unknown & np.concatenate([[False], is_unknown[:-1]])))
    return ended[at], at
