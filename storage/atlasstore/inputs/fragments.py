"""Fragments counted on a peak set: a file in pieces, each in tables, never whole in memory.

Counting rule: see `atlasstore.inputs.insertion_counts`. The count column of the file (how often
PCR copied a fragment) is not used: a fragment counts once.

With a barcode list the cells are known; without one they are all barcodes by first appearance in
the file: each piece numbers its own, and the pieces' lists put one after the other give that order.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasstore.errors import CountsError
from atlasstore.genome.peaks import check_peaks_valid, read_bed
from atlasstore.inputs.barcodes import read_barcodes, suffix_hint
from atlasstore.inputs.counts import check_unique
from atlasstore.inputs.fragment_table import ROWS_PER_TABLE, fragment_tables, usable
from atlasstore.inputs.insertion_counts import PeakSegments, fragment_peak_pairs
from atlasstore.inputs.source import Cells, Piece
from atlasstore.inputs.text_ranges import plan_text_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt

    from atlasstore.events import Subscriber
    from atlasstore.inputs.source import Add
    from atlasstore.inputs.spec import SourceSpec

    Ints = npt.NDArray[np.int64]

__all__ = ["FragmentPieces", "PeakCounter"]

_BYTES_PER_ROW = 200
"""Of one fragment while its table is parsed and counted, measured."""
_MIN_ROWS = 20_000
_UNUSABLE = "fragments that end at or before their start, or start before 0,"
_EXAMPLES = 10_000
"""Barcodes a piece remembers when cells are listed: for the hint when none of them matches."""


class PeakCounter:
    """Peaks by chromosome name, ready to have fragments counted on them."""

    def __init__(self, peaks: pd.DataFrame) -> None:
        check_peaks_valid(peaks)
        chrom, names = pd.factorize(peaks["chrom"])
        self.chroms: pd.Index[str] = pd.Index(names, dtype=object)
        start, end = (peaks[column].to_numpy(np.int64) for column in ("start", "end"))
        self._segments = PeakSegments.build(chrom.astype(np.int64), start, end)

    def pairs(self, chrom: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Return (fragment, peak), each pair once; chromosomes are numbers in `chroms`, or -1."""
        known = np.flatnonzero(chrom >= 0)
        fragment, peak = fragment_peak_pairs(
            self._segments, chrom=chrom[known], start=start[known], end=end[known]
        )
        return known[fragment], peak


class FragmentPieces:
    """A fragment file; a piece is a range of its stored bytes."""

    def __init__(self, spec: SourceSpec) -> None:
        assert spec.peaks is not None
        self._spec = spec
        self.peaks = read_bed(spec.peaks)
        self._counter = PeakCounter(self.peaks)
        self._listed = None if spec.barcodes is None else read_barcodes(spec.barcodes)

    def plan(self, n_workers: int) -> list[Piece]:
        """Return the pieces of the file: one where it is plain gzip."""
        return plan_text_pieces(self._spec.url, n_workers, error=CountsError)

    def count(
        self, piece: Piece, add: Add, *, memory_bytes: int, on_event: Subscriber
    ) -> dict[str, Any]:
        """Add the counts of a piece; return its barcodes, fragments per cell and chromosomes."""
        seen = _Seen(self._listed)
        rows = max(_MIN_ROWS, min(ROWS_PER_TABLE, memory_bytes // _BYTES_PER_ROW))
        for table in fragment_tables(
            self._spec.url, piece=piece, rows_per_table=rows, on_event=on_event
        ):
            kept = usable(table)
            seen.skipped += len(table) - len(kept)
            self._add(kept, seen, add)
        return seen.facts()

    def _add(self, table: pd.DataFrame, seen: _Seen, add: Add) -> None:
        cell = seen.cell_numbers(table)
        number: Ints = self._counter.chroms.get_indexer(table["chrom"].cat.categories)
        chrom = number[table["chrom"].cat.codes.to_numpy()]
        kept = np.flatnonzero((cell >= 0) & (chrom >= 0))
        start, end = (table[column].to_numpy()[kept] for column in ("start", "end"))
        fragment, peak = self._counter.pairs(chrom[kept], start, end)
        add(cell[kept][fragment], peak, np.ones(peak.size, np.int32))

    def cells(self, facts: Sequence[dict[str, Any]], notice: Callable[[str], None]) -> Cells:
        """Return the cells with ``n_fragments`` (int64): all their fragments, in peaks or not.

        Raises
        ------
        CountsError
            When there are no fragments, or no chromosome or no listed barcode matches.
        """
        most = None if self._listed is None else _EXAMPLES
        seen = pd.Index(_in_order(facts, "barcodes", most=most), dtype=object)
        skipped = sum(fact["skipped"] for fact in facts)
        if seen.empty:
            raise CountsError(
                f"{self._spec.name} has no fragments{_but(skipped)}; give a file with at least one."
            )
        if skipped:
            notice(f"{self._spec.name}: {skipped:,} {_UNUSABLE} were skipped.")
        self._check_chromosomes(_in_order(facts, "chroms"), notice)
        if self._listed is None:
            names = check_unique(seen, name=self._spec.name)
            return Cells(_obs(names, facts, _rows(names, facts)), _rows(names, facts))
        obs = _obs(self._listed, facts, repeat(np.arange(len(self._listed)), len(facts)))
        self._check_barcodes(obs, seen, notice)
        return Cells(obs)

    def _check_chromosomes(self, found: list[str], notice: Callable[[str], None]) -> None:
        chroms = self._counter.chroms
        seen: pd.Index[str] = pd.Index(found, dtype=object)
        absent = chroms[~chroms.isin(seen)]
        if len(absent) == len(chroms):
            raise CountsError(
                f"no chromosome of the peaks ({_some(chroms)}) has fragments in {self._spec.name} "
                f"({_some(seen)}).{_prefix_hint(chroms, seen)}"
            )
        if not absent.empty:
            notice(
                f"{self._spec.name} has no fragments on {_some(absent)}: peaks there have no "
                "counts."
            )

    def _check_barcodes(
        self, obs: pd.DataFrame, seen: pd.Index[str], notice: Callable[[str], None]
    ) -> None:
        absent = obs.index[obs["n_fragments"] == 0]
        if len(absent) == len(obs):
            raise CountsError(
                f"none of the {len(obs):,} barcodes in {self._spec.barcodes} ({_some(absent)}) is "
                f"in {self._spec.name} ({_some(seen[:3])}); give the list of the same sample."
                f"{suffix_hint(obs.index, seen)}"
            )
        if not absent.empty:
            notice(
                f"{len(absent):,} of {len(obs):,} listed barcodes have no fragments in "
                f"{self._spec.name} ({_some(absent)}): they are kept as cells without counts."
            )


class _Seen:
    """What a piece has shown so far: its barcodes, the fragments of each cell, its chromosomes.

    `skipped` fragments could not be used.
    """

    def __init__(self, listed: pd.Index[str] | None) -> None:
        self.skipped = 0
        self._listed = listed
        self._barcodes: dict[str, int] = {}  # each with its number, by first appearance
        self._chroms: dict[str, None] = {}
        self._fragments = np.zeros(0 if listed is None else len(listed), np.int64)

    def cell_numbers(self, table: pd.DataFrame) -> Ints:
        """Return each fragment's cell, -1 for barcodes that are not listed."""
        self._chroms |= dict.fromkeys(table["chrom"].cat.categories)
        barcode = table["barcode"]
        names, codes = barcode.cat.categories, barcode.cat.codes.to_numpy()
        if self._listed is None or len(self._barcodes) < _EXAMPLES:
            for name in names[pd.unique(codes)]:
                self._barcodes.setdefault(name, len(self._barcodes))
        if self._listed is None:
            number = np.fromiter(map(self._barcodes.__getitem__, names), np.int64, len(names))
        else:
            number = self._listed.get_indexer(names)
        cell: Ints = number[codes]
        self._tally(cell, len(self._barcodes if self._listed is None else self._listed))
        return cell

    def _tally(self, cell: Ints, n_cells: int) -> None:
        counts = np.bincount(cell[cell >= 0], minlength=n_cells)
        counts[: len(self._fragments)] += self._fragments
        self._fragments = counts

    def facts(self) -> dict[str, Any]:
        return {
            "barcodes": list(self._barcodes),
            "chroms": list(self._chroms),
            "fragments": self._fragments.tolist(),
            "skipped": self.skipped,
        }


def _but(skipped: int) -> str:
    return f" but {skipped:,} {_UNUSABLE}" if skipped else ""


def _in_order(facts: Iterable[dict[str, Any]], key: str, *, most: int | None = None) -> list[str]:
    """Return all pieces' values (`most` of them), each once, by first appearance."""
    found: dict[str, None] = {}
    for fact in facts:
        if most is not None and len(found) >= most:
            break
        found |= dict.fromkeys(fact[key])
    return list(found)[:most]


def _rows(names: pd.Index[str], facts: Iterable[dict[str, Any]]) -> Iterator[Ints]:
    """Yield for each piece the rows of its barcodes in `names`."""
    return (names.get_indexer(fact["barcodes"]) for fact in facts)


def _obs(
    names: pd.Index[str], facts: Iterable[dict[str, Any]], rows: Iterable[Ints]
) -> pd.DataFrame:
    total = np.zeros(len(names), np.int64)
    for fact, numbers in zip(facts, rows, strict=True):
        total[numbers] += np.asarray(fact["fragments"], np.int64)
    return pd.DataFrame({"n_fragments": total}, index=names)


def _some(names: pd.Index[str]) -> str:
    return ", ".join(names[:3]) + (f", ... {len(names):,} in all" if len(names) > 3 else "")


def _prefix_hint(chroms: pd.Index[str], seen: pd.Index[str]) -> str:
    if ("chr" + chroms).isin(seen).any():
        return " Add the chr prefix to the peaks' chromosomes."
    if chroms.isin("chr" + seen).any():
        return " Remove the chr prefix from the peaks' chromosomes."
    return " Give peaks and fragments of the same genome."
