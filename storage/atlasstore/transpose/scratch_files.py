"""Pieces of open peaks on their way from the inputs to the blocks.

A piece is one file: a run of cells, each cell's number of open peaks and then their columns, as
little-endian uint32 in one Blosc frame (lz4), 1.5 bytes a positive, with a checksum behind it.
Pieces are read by the job that wrote them and deleted with it; they are no store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numcodecs.blosc import Blosc

from atlasstore.files import urls
from atlasstore.files.sealed import damaged, read_sealed, write_sealed

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OpenPeaks", "Piece", "read_numbers", "read_piece", "write_numbers", "write_piece"]

_CODEC = Blosc(cname="lz4", clevel=1, shuffle=Blosc.SHUFFLE)


class OpenPeaks(NamedTuple):
    """The open peaks of a run of cells, cell by cell."""

    n_open: NDArray[np.uint32]
    """Each cell's number of open peaks."""
    peaks: NDArray[np.uint32]
    """Their columns, one cell after the other."""

    def fits(self, n_peaks: int) -> bool:
        """Whether there are as many columns as the cells have, all of them below `n_peaks`.

        Compiled code trusts this; it would write over other memory.
        """
        n_columns = int(self.n_open.sum(dtype=np.int64))
        return n_columns == len(self.peaks) and int(self.peaks.max(initial=0)) < max(n_peaks, 1)


@dataclass(frozen=True, slots=True)
class Piece:
    """Where one piece is stored and what it holds."""

    name: str
    """Below the scratch folder."""
    n_cells: int
    n_positives: int


def write_piece(scratch: str, name: str, opened: OpenPeaks) -> None:
    """Write one piece."""
    write_numbers(scratch, name, np.concatenate(opened))


def read_piece(scratch: str, piece: Piece, *, n_peaks: int) -> OpenPeaks:
    """Return one piece.

    Parameters
    ----------
    scratch, piece
        Where it is stored and what it holds.
    n_peaks
        Peaks of the inputs: compiled code trusts that all columns are below.

    Raises
    ------
    CorruptStoreError
        When its bytes are not what was written.
    """
    numbers = read_numbers(scratch, piece.name)
    if len(numbers) != piece.n_cells + piece.n_positives:
        raise damaged(urls.join(scratch, piece.name))
    found = OpenPeaks(numbers[: piece.n_cells], numbers[piece.n_cells :])
    if not found.fits(n_peaks):
        raise damaged(urls.join(scratch, piece.name))
    return found


def write_numbers(scratch: str, name: str, numbers: NDArray[np.uint32]) -> None:
    """Write a run of uint32 numbers as one file."""
    frame: bytes = _CODEC.encode(np.ascontiguousarray(numbers, dtype="<u4"))
    write_sealed(urls.join(scratch, name), frame)


def read_numbers(scratch: str, name: str) -> NDArray[np.uint32]:
    """Return what `write_numbers` wrote.

    Raises
    ------
    CorruptStoreError
        When the bytes are not what was written.
    """
    return np.frombuffer(_CODEC.decode(read_sealed(urls.join(scratch, name))), "<u4")
