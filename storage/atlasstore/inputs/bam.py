"""A folder of BAM files, one per cell: the fragments of their read pairs counted on a peak set.

A fragment is a pair of reads that the aligner marked as proper, both with enough mapping quality
and neither marked as duplicate, secondary, supplementary or failed. Tn5 cuts both strands 9 bp
apart, so the centre of the cut is 4 bp inside a forward read's start and 5 bp inside a reverse
read's end (Buenrostro et al. 2013, doi:10.1038/nmeth.2688): the fragment is [forward start + 4,
reverse end - 5), 0-based half-open, as in 10x fragment files. Counting is that of fragments.
Duplicates must have been marked (samtools markdup, Picard); they are not looked for here.

Reading needs pysam (extra ``bam``). Files are read whole, once, in any order; no index is needed. A
file at a URL is on this machine's temporary disk while it is read.
"""

from __future__ import annotations

import importlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from atlasstore.errors import CountsError, MissingExtraError, extra_packages
from atlasstore.events import Progress
from atlasstore.files import remote, urls
from atlasstore.files.local_copies import temporary_copy
from atlasstore.genome.peaks import read_bed
from atlasstore.inputs.barcodes import read_barcodes
from atlasstore.inputs.counts import check_unique
from atlasstore.inputs.fragments import PeakCounter
from atlasstore.inputs.source import Cells, Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from atlasstore.events import Subscriber
    from atlasstore.inputs.source import Add
    from atlasstore.inputs.spec import SourceSpec

    Ints = npt.NDArray[np.int64]

__all__ = ["BamPieces", "bam_files", "is_bam"]

_FORWARD_BP = 4
_REVERSE_BP = 5
_UNUSED = 0x4 | 0x8 | 0x100 | 0x200 | 0x400 | 0x800
"""SAM flags: unmapped, mate unmapped, secondary, failed, duplicate, supplementary."""
_PROPER, _REVERSE = 0x2, 0x10
_FILES_PER_PIECE = 256


class _Read(NamedTuple):
    chrom: int
    start: int
    end: int
    is_reverse: bool


def is_bam(url: str | Path) -> bool:
    """Whether an input is BAM: a ``.bam`` file, a pattern of them, or a folder with one inside."""
    if urls.path_end(url).endswith(".bam"):
        return True
    return any(name.lower().endswith(".bam") for name in urls.list_names(url))


def bam_files(url: str | Path) -> list[str]:
    """Return the paths or URLs of an input's BAM files, sorted.

    Raises
    ------
    CountsError
        When there are none.
    """
    text = str(urls.local_path(url)) if urls.is_local(url) else str(url)
    pattern = text if text.lower().endswith(".bam") else urls.join(text, "*.bam")
    fs, path = urls.filesystem(pattern)
    with remote.outage_errors(url):
        found = sorted(map(str, fs.glob(path)))
    if not urls.is_local(url):
        found = [str(fs.unstrip_protocol(one)) for one in found]
    if not found:
        raise CountsError(f"{url} has no .bam files; check the path or pattern.")
    return found


def _pysam() -> Any:
    try:
        return importlib.import_module("pysam")
    except ImportError as error:
        raise MissingExtraError(
            "BAM inputs need an optional package; install it with: "
            f"pip install {extra_packages('bam')}."
        ) from error


class BamPieces:
    """BAM files, one per cell named as the file; a piece is a range of cells."""

    def __init__(self, spec: SourceSpec) -> None:
        assert spec.peaks is not None
        self._pysam = _pysam()
        self._spec = spec
        self.peaks = read_bed(spec.peaks)
        self._counter = PeakCounter(self.peaks)
        by_name = {PurePosixPath(file).stem: file for file in bam_files(spec.url)}
        self._cells = check_unique(by_name, name=spec.name)
        if spec.barcodes is not None:
            self._cells = read_barcodes(spec.barcodes)
            self._check_listed(by_name)
        self._files = [by_name[cell] for cell in self._cells]

    def _check_listed(self, by_name: dict[str, str]) -> None:
        unknown = [cell for cell in self._cells if cell not in by_name]
        if unknown:
            raise CountsError(
                f"{len(unknown):,} of {len(self._cells):,} cells in {self._spec.barcodes} have no "
                f"BAM file in {self._spec.name} ({', '.join(unknown[:3])}); list file names "
                "without .bam."
            )

    def plan(self, n_workers: int) -> list[Piece]:
        """Return ranges of cells."""
        n_cells = len(self._cells)
        step = max(1, min(_FILES_PER_PIECE, -(-n_cells // n_workers)))
        return [(start, min(start + step, n_cells)) for start in range(0, n_cells, step)]

    def count(
        self, piece: Piece, add: Add, *, memory_bytes: int, on_event: Subscriber
    ) -> dict[str, Any]:
        """Add the counts of some cells; one cell's reads are in memory at a time."""
        del memory_bytes
        fragments = []
        for cell in range(*piece):
            chrom, start, end = self._fragments(self._files[cell])
            fragment, peak = self._counter.pairs(chrom, start, end)
            add(np.full(fragment.size, cell), peak, np.ones(peak.size, np.int32))
            fragments.append(len(chrom))
            on_event(Progress("reading BAM files", cell + 1, len(self._cells), "cells"))
        return {"fragments": fragments}

    def _fragments(self, file_url: str) -> tuple[Ints, Ints, Ints]:
        """Return chromosome number (in the peaks', -1 for others), start and end, (n,) each."""
        with temporary_copy(file_url) as path:
            return self._fragments_of(path, PurePosixPath(file_url).name)

    def _fragments_of(self, path: Path, name: str) -> tuple[Ints, Ints, Ints]:
        try:
            with self._pysam.AlignmentFile(path, "rb", check_sq=False) as file:
                number: Ints = self._counter.chroms.get_indexer(pd.Index(file.references))
                found = list(_proper_pairs(file.fetch(until_eof=True), self._spec.min_mapq))
        except (OSError, ValueError) as cause:
            raise CountsError(
                f"{self._spec.name}: {name} cannot be read as BAM ({cause}); copy or download "
                "it again."
            ) from cause
        chrom, start, end = np.array(found, np.int64).reshape(-1, 3).T
        return number[chrom], start, end

    def cells(self, facts: Sequence[dict[str, Any]], notice: Callable[[str], None]) -> Cells:
        """Return the cells with ``n_fragments`` (int64): all their fragments, in peaks or not.

        Raises
        ------
        CountsError
            When no file has a usable pair.
        """
        counts = np.concatenate([np.asarray(fact["fragments"], np.int64) for fact in facts])
        if not counts.any():
            raise CountsError(
                f"{self._spec.name} has no proper pairs of reads with mapping quality "
                f"{self._spec.min_mapq} or more; give aligned paired-end BAM files (see "
                "--min-mapq)."
            )
        if (n_empty := int((counts == 0).sum())) > 0:
            notice(
                f"{n_empty:,} of {len(counts):,} BAM files in {self._spec.name} have no usable "
                "pair of reads: they are kept as cells without counts."
            )
        return Cells(pd.DataFrame({"n_fragments": counts}, index=self._cells))


def _proper_pairs(reads: Any, min_mapq: int) -> Iterator[tuple[int, int, int]]:
    """Yield (chromosome number, start, end) of every usable pair, shifted by Tn5's offsets."""
    waiting: dict[str, _Read] = {}
    for read in reads:
        flag = read.flag
        if flag & _UNUSED or not flag & _PROPER or read.mapping_quality < min_mapq:
            continue
        here = _Read(
            read.reference_id, read.reference_start, read.reference_end, bool(flag & _REVERSE)
        )
        mate = waiting.pop(read.query_name, None)
        if mate is None:
            waiting[read.query_name] = here
        elif (fragment := _fragment(here, mate)) is not None:
            yield fragment


def _fragment(one: _Read, other: _Read) -> tuple[int, int, int] | None:
    if one.chrom != other.chrom or one.is_reverse == other.is_reverse:
        return None
    forward, reverse = (other, one) if one.is_reverse else (one, other)
    start, end = forward.start + _FORWARD_BP, reverse.end - _REVERSE_BP
    return (one.chrom, start, end) if start < end else None
