"""Fragments and a peak set counted into cells x peaks, in memory.

Counting rule: see `atlasstore.inputs.insertion_counts`. Fragments stream through in tables; what
stays in memory is one entry per (cell, peak) that has a count: 12 bytes while reading, about 40
while the matrix is put together, 8 after. The count column of the file (how often PCR copied a
fragment) is not used: a fragment counts once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.sparse import coo_array

from atlasstore.errors import CountsError
from atlasstore.events import Notice, Subscriber, ignore
from atlasstore.inputs.barcodes import read_barcodes, suffix_hint
from atlasstore.inputs.counts import InMemorySource, canonical_counts
from atlasstore.inputs.fragment_table import ROWS_PER_TABLE, fragment_tables
from atlasstore.inputs.insertion_counts import PeakSegments, fragment_peak_pairs
from atlasstore.peaks import check_peaks_valid

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from scipy.sparse import csr_array

    Ints = npt.NDArray[np.int64]

__all__ = ["open_fragments"]


def open_fragments(
    url: str | Path,
    *,
    peaks: pd.DataFrame,
    barcodes: str | Path | None = None,
    on_event: Subscriber = ignore,
    rows_per_table: int = ROWS_PER_TABLE,
) -> InMemorySource:
    """Count a fragment file on `peaks`; the whole file is read here.

    Parameters
    ----------
    url
        ``fragments.tsv`` or ``.tsv.gz`` (gzip or bgzip): chromosome, start, end, barcode and
        optionally a count, tab-separated, 0-based half-open.
    peaks
        Peak table; its order is kept.
    barcodes
        Barcode list, one a line: these are the cells, in this order, also those without
        fragments. Without a list the cells are all barcodes, by first appearance in the file.
    on_event
        Hears of progress (bytes of the file), of peaks on chromosomes without fragments and of
        listed barcodes without fragments.
    rows_per_table
        Fragments in memory at a time.

    Returns
    -------
    InMemorySource
        ``obs`` has ``n_fragments`` (int64): all the cell's fragments, in peaks or not.

    Raises
    ------
    CountsError
        On an unreadable file, or when no chromosome or no listed barcode matches.
    """
    check_peaks_valid(peaks)
    tally = _Tally(peaks, None if barcodes is None else read_barcodes(barcodes))
    for table in fragment_tables(url, rows_per_table=rows_per_table, on_event=on_event):
        tally.add(table)
    _check_some(tally, url)
    _check_chromosomes(tally, url, on_event=on_event)
    _check_barcodes(tally, url, barcodes, on_event=on_event)
    obs = pd.DataFrame({"n_fragments": tally.fragments_per_cell()}, index=tally.cells)
    return InMemorySource(
        str(url), obs, peaks, canonical_counts(tally.matrix(), name=str(url), first_cell=0)
    )


class _Tally:
    """Counts so far, one reduced list of (cell, peak, count) per table."""

    def __init__(self, peaks: pd.DataFrame, listed: pd.Index[str] | None) -> None:
        chrom, names = pd.factorize(peaks["chrom"])
        self.chroms: pd.Index[str] = pd.Index(names, dtype=object)
        self.seen_chroms: dict[str, None] = {}
        self.seen_barcodes: pd.Index[str] = pd.Index([], dtype=object)
        self.listed = listed
        self._n_peaks = len(peaks)
        self._segments = PeakSegments.build(
            chrom.astype(np.int64), peaks["start"].to_numpy(), peaks["end"].to_numpy()
        )
        self._parts: list[coo_array] = []
        self._fragments: list[Ints] = []

    @property
    def cells(self) -> pd.Index[str]:
        return self.seen_barcodes if self.listed is None else self.listed

    def add(self, table: pd.DataFrame) -> None:
        cell = self._cell_numbers(table["barcode"])
        chrom = self._chrom_numbers(table["chrom"])
        self._fragments.append(np.bincount(cell[cell >= 0], minlength=len(self.cells)))
        kept = np.flatnonzero((cell >= 0) & (chrom >= 0))
        fragment, peak = fragment_peak_pairs(
            self._segments,
            chrom=chrom[kept],
            start=table["start"].to_numpy()[kept],
            end=table["end"].to_numpy()[kept],
        )
        self._parts.append(self._reduced(cell[kept][fragment], peak))

    def _reduced(self, cell: Ints, peak: Ints) -> coo_array:
        ones = np.ones(cell.size, dtype=np.int32)
        where = (cell.astype(np.int32), peak.astype(np.int32))
        counts = coo_array((ones, where), shape=(len(self.cells), self._n_peaks))
        return counts.tocsr().tocoo()  # tocsr adds up what falls on one place

    def _cell_numbers(self, barcode: pd.Series[str]) -> Ints:
        used = barcode.cat.categories[pd.unique(barcode.cat.codes.to_numpy())].astype(object)
        new = used[~used.isin(self.seen_barcodes)]
        self.seen_barcodes = self.seen_barcodes.append(new)
        number: Ints = self.cells.get_indexer(barcode.cat.categories)
        return number[barcode.cat.codes.to_numpy()]

    def _chrom_numbers(self, chrom: pd.Series[str]) -> Ints:
        self.seen_chroms |= dict.fromkeys(chrom.cat.categories)
        number: Ints = self.chroms.get_indexer(chrom.cat.categories)
        return number[chrom.cat.codes.to_numpy()]

    def fragments_per_cell(self) -> Ints:
        total = np.zeros(len(self.cells), dtype=np.int64)
        for part in self._fragments:
            total[: part.size] += part
        return total

    def matrix(self) -> csr_array:
        rows = np.concatenate([part.coords[0] for part in self._parts])
        columns = np.concatenate([part.coords[1] for part in self._parts])
        values = np.concatenate([part.data for part in self._parts])
        shape = (len(self.cells), self._n_peaks)
        return coo_array((values, (rows, columns)), shape=shape).tocsr()


def _check_some(tally: _Tally, url: str | Path) -> None:
    if tally.seen_barcodes.empty:
        raise CountsError(f"{url} has no fragments; give a file with at least one.")


def _check_chromosomes(tally: _Tally, url: str | Path, *, on_event: Subscriber) -> None:
    seen: pd.Index[str] = pd.Index(list(tally.seen_chroms), dtype=object)
    absent = tally.chroms[~tally.chroms.isin(seen)]
    if len(absent) == len(tally.chroms):
        raise CountsError(
            f"no chromosome of the peaks ({_some(tally.chroms)}) has fragments in {url} "
            f"({_some(seen)}).{_prefix_hint(tally.chroms, seen)}"
        )
    if not absent.empty:
        on_event(Notice(f"{url} has no fragments on {_some(absent)}: peaks there have no counts."))


def _some(names: pd.Index[str]) -> str:
    return ", ".join(names[:3]) + (f", ... {len(names):,} in all" if len(names) > 3 else "")


def _prefix_hint(chroms: pd.Index[str], seen: pd.Index[str]) -> str:
    if ("chr" + chroms).isin(seen).any():
        return " Add the chr prefix to the peaks' chromosomes."
    if chroms.isin("chr" + seen).any():
        return " Remove the chr prefix from the peaks' chromosomes."
    return " Give peaks and fragments of the same genome."


def _check_barcodes(
    tally: _Tally, url: str | Path, source: str | Path | None, *, on_event: Subscriber
) -> None:
    if tally.listed is None:
        return
    absent = tally.listed[~tally.listed.isin(tally.seen_barcodes)]
    if len(absent) == len(tally.listed):
        raise CountsError(
            f"none of the {len(absent):,} barcodes in {source} ({_some(absent)}) is in {url} "
            f"({_some(tally.seen_barcodes)}); give the list of the same sample."
            f"{suffix_hint(tally.listed, tally.seen_barcodes)}"
        )
    if not absent.empty:
        on_event(
            Notice(
                f"{len(absent):,} of {len(tally.listed):,} listed barcodes have no fragments in "
                f"{url} ({_some(absent)}): they are kept as cells without counts."
            )
        )
