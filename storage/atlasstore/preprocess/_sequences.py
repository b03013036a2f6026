"""Writing the peaks' sequences, a shard of peaks a unit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

from atlasstore.atlas.writer import write_sequences
from atlasstore.files import urls
from atlasstore.genome.fasta import Genome
from atlasstore.genome.sequences import UNKNOWN

if TYPE_CHECKING:
    import numpy as np
    import zarr
    from numpy.typing import NDArray

    from atlasstore.resume.units import Receipt, Unit

__all__ = ["WriteSequences"]

_FASTA = Lock()
"""A FASTA is one open file, which the threads of a process share."""


@dataclass(frozen=True, eq=False)
class WriteSequences:
    """Work: write the windows of one range of peaks."""

    store: str
    """URL of the atlas, begun."""
    genome: Genome | str
    """The open FASTA, or its path."""
    chrom: NDArray[Any]
    """Of each peak, (P,)."""
    starts: NDArray[np.int64]
    """First base of each stored window, (P,)."""
    length: int
    """Bases stored of each peak."""

    @cached_property
    def _genome(self) -> Genome:
        return self.genome if isinstance(self.genome, Genome) else Genome.open(self.genome)

    @cached_property
    def _group(self) -> zarr.Group:
        return urls.open_group(self.store, mode="r+")

    def __call__(self, unit: Unit) -> Receipt:
        """Write peaks [start, stop), a shard; count windows without a known base."""
        rows = slice(unit["start"], unit["stop"])
        with _FASTA:
            codes = self._genome.windows(self.chrom[rows].tolist(), self.starts[rows], self.length)
        checksum = write_sequences(self._group, rows.start, codes)
        return {"n_unknown": int((codes == UNKNOWN).all(1).sum()), "crc32": checksum}
