"""The first stage: inputs are read once, span by span, into pieces on scratch.

Reads are sized by what was found: after each read the next one asks for as many cells as hold the
planned number of positives, if they are a quarter deeper than the deepest so far. Each span opens
its input for itself, so spans run in any thread or process.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from atlasstore.errors import CountsError
from atlasstore.transpose.kernels import add_cells_with_peak, kept_depth
from atlasstore.transpose.memory_plan import next_read
from atlasstore.transpose.scratch_files import (
    OpenPeaks,
    Piece,
    read_numbers,
    read_piece,
    write_numbers,
    write_piece,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from atlasstore.inputs.source import CountsSource

__all__ = ["OpenCounts", "Span", "opened", "read_span", "reads", "span_depth", "span_totals"]


class Counts(Protocol):
    """Counts that are open in this process."""

    def read_cells(self, start: int, stop: int) -> Any:
        """Return the counts of cells [start, stop); see `CountsSource.read_cells`."""
        ...

    def close(self) -> None:
        """Release files."""
        ...


OpenCounts = Callable[[], Counts]
"""Opens one input's counts in any process; pickles."""


@dataclass(frozen=True, slots=True)
class Span:
    """Some cells of one input, read by one unit."""

    name: str
    """On scratch."""
    open_counts: OpenCounts
    start: int
    stop: int


def reads(
    source: Counts | CountsSource, start: int, stop: int, *, n_peaks: int, positives_per_read: int
) -> Iterator[OpenPeaks]:
    """Yield the cells [start, stop) of `source` in reads of about `positives_per_read` at most."""
    at = deepest = before = 0
    while start + at < stop:
        n_cells = next_read(
            stop - start - at,
            n_peaks=n_peaks,
            positives_per_read=positives_per_read,
            deepest=deepest,
            before=before,
        )
        counts = source.read_cells(start + at, start + at + n_cells)
        yield opened(counts, n_peaks)
        deepest = max(deepest, -(-int(counts.nnz) // n_cells))
        before, at = n_cells, at + n_cells


def opened(counts: Any, n_peaks: int) -> OpenPeaks:
    """Return the open peaks (count > 0) of canonical CSR counts.

    Raises
    ------
    CountsError
        When a column is none of the `n_peaks`: whoever made the counts did not look.
    """
    found = OpenPeaks(np.diff(counts.indptr).astype(np.uint32), counts.indices.astype(np.uint32))
    if not found.fits(n_peaks):  # a negative index is a large one by now
        raise CountsError(
            f"counts have a column outside their {n_peaks:,} peaks; see whether the input is whole."
        )
    return found


def read_span(
    span: Span, *, scratch: str, n_peaks: int, least: int, positives_per_read: int
) -> dict[str, Any]:
    """Read one span into pieces; return its receipt.

    Parameters
    ----------
    span
        What to read.
    scratch
        URL of the folder that the pieces go to.
    n_peaks
        Peaks of the input.
    least
        Open peaks that a cell must have to count for the peaks' share of cells.
    positives_per_read
        From the plan.

    Raises
    ------
    CountsError
        From the input.
    """
    pieces = list[Piece]()
    cells_with_peak = np.zeros(n_peaks, np.int64)
    size = {"n_peaks": n_peaks, "positives_per_read": positives_per_read}
    with closing(span.open_counts()) as counts:
        for run in reads(counts, span.start, span.stop, **size):
            piece = Piece(f"{span.name}/{len(pieces)}", len(run.n_open), len(run.peaks))
            add_cells_with_peak(run.peaks, run.n_open, least, cells_with_peak)
            write_piece(scratch, piece.name, run)
            pieces.append(piece)
    write_numbers(scratch, f"{span.name}/cells_with_peak", cells_with_peak.astype(np.uint32))
    return {"pieces": [asdict(piece) for piece in pieces]}


def span_totals(
    name: str, pieces: Iterable[Piece], *, scratch: str
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return each cell's open peaks, and in how many cells with enough of them each is open."""
    # copies: a view would keep the whole of its piece in memory
    with_peak = read_numbers(scratch, f"{name}/cells_with_peak")
    found = (read_piece(scratch, piece, n_peaks=len(with_peak)) for piece in pieces)
    return np.concatenate([run.n_open.copy() for run in found]), with_peak


def span_depth(
    pieces: Iterable[Piece], *, scratch: str, kept: NDArray[np.bool_]
) -> NDArray[np.uint32]:
    """Return, cell by cell, how many of the kept peaks are open in it."""
    parts = []
    for piece in pieces:
        run = read_piece(scratch, piece, n_peaks=len(kept))
        depth = np.empty(piece.n_cells, np.uint32)
        kept_depth(run.peaks, run.n_open, kept, depth)
        parts.append(depth)
    return np.concatenate(parts)
