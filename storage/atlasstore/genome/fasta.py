"""The genome: bases of any interval as codes, from a plain or bgzip FASTA.

An index beside the FASTA (``.fai``) is used when it agrees with the FASTA. Otherwise one is built
once in the user's cache folder: nothing is written beside a genome, which is often on a shared,
read-only disk. The last line may lack its newline, and empty lines may follow a sequence. A FASTA
cut off at the end of a line looks like a whole one unless an index beside it says so; a cut bgzip
file does not, and is refused. A genome at a URL is fetched once per machine.
"""

from __future__ import annotations

import weakref
import zlib
from typing import TYPE_CHECKING, Self

import numpy as np

from atlasstore.errors import GenomeError, NotAStoreError, PeaksError
from atlasstore.files import remote, urls
from atlasstore.files.local_copies import local_copy
from atlasstore.files.text import BGZF_HEADER_BYTES
from atlasstore.genome._fasta_bytes import is_bgzip, open_fasta_text
from atlasstore.genome._fasta_index import fasta_index
from atlasstore.genome.sequences import UNKNOWN
from atlasstore.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    import pandas as pd
    from numpy.typing import NDArray

    from atlasstore.genome._fasta_bytes import Text
    from atlasstore.genome._fasta_index import Record

__all__ = ["Genome", "check_peaks", "lies_on", "unplaced_sentence"]

_OPTION = "--drop-unplaced-peaks"

_UNREADABLE = (ValueError, OSError, EOFError, zlib.error)
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def _code_table() -> NDArray[np.uint8]:
    table = np.full(256, UNKNOWN, np.uint8)
    for code, base in enumerate(b"ACGT"):
        table[[base, base + 32]] = code  # upper and lower case
    return table


_CODE_OF_BYTE = _code_table()


class Genome:
    """An open FASTA; made by `Genome.open`, usable as a context manager.

    Attributes
    ----------
    path
        The FASTA, as it was given.
    chrom_lengths
        Chromosome name (first word of the header) -> length in bp, in the file's order.
    """

    def __init__(self, path: str | Path, text: Text, index: Mapping[str, Record]) -> None:
        self.path = path
        self._text, self._index = text, index
        self._close = weakref.finalize(self, text.close)  # also where nobody closes it
        self.chrom_lengths: Mapping[str, int] = {
            name: record.length for name, record in index.items()
        }

    @classmethod
    def open(cls, path: str | Path) -> Genome:
        """Open a plain or bgzip FASTA; one at a URL is first copied to this machine, once.

        Raises
        ------
        GenomeError
            When there is no such file, it is no FASTA, it is gzip but not bgzip, or it is cut off.
        """
        try:
            fasta = local_copy(path)
        except NotAStoreError as error:
            raise GenomeError(f"The genome {error}") from error
        with remote.outage_errors(fasta):
            _check_file(fasta)
        text = None
        try:
            text = open_fasta_text(fasta)
            given = fasta if urls.is_local(path) else shown(str(path))
            return cls(given, text, fasta_index(fasta, text))
        except BaseException as error:
            if text is not None:
                text.close()
            if isinstance(error, GenomeError) or not isinstance(error, _UNREADABLE):
                raise
            raise GenomeError(
                f"{fasta} is not a FASTA that can be read ({error}); give a genome in FASTA "
                "format, plain or compressed with bgzip."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._close()

    def codes(self, chrom: str, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the bases of [start, stop), 0-based half-open, as codes.

        Parameters
        ----------
        chrom
            A name in `chrom_lengths`.
        start, stop
            `start` may be negative and `stop` past the end: bases out there are unknown.

        Returns
        -------
        numpy.ndarray
            uint8, length stop - start: A, C, G, T = 0..3 in either case, anything else 4.
        """
        codes = np.full(stop - start, UNKNOWN, np.uint8)
        first, last = max(start, 0), min(stop, self.chrom_lengths[chrom])
        if first < last:
            letters = np.frombuffer(self._fetch(chrom, first, last), np.uint8)
            codes[first - start : last - start] = _CODE_OF_BYTE[letters]
        return codes

    def windows(
        self, chrom: Sequence[str], starts: NDArray[np.int64], length: int
    ) -> NDArray[np.uint8]:
        """Return windows [start, start + length) as codes uint8, shape (n, length).

        The file is read in its own order, regardless of the order of the windows.
        """
        codes = np.empty((len(starts), length), np.uint8)
        names = np.asarray(chrom, dtype=object).astype(str)
        for row in np.lexsort((starts, names)):
            start = int(starts[row])
            codes[row] = self.codes(str(names[row]), start, start + length)
        return codes

    def _fetch(self, chrom: str, first: int, last: int) -> bytes:
        try:
            record = self._index[chrom]
            stored = self._text.read(record.place(first), record.place(last - 1) + 1)
        except _UNREADABLE as error:
            raise GenomeError(
                f"{self.path} cannot be read at {chrom}:{first}-{last} ({error}); the file is "
                "damaged: copy it again."
            ) from error
        letters = stored.translate(None, b"\r\n")
        if len(letters) != last - first:
            raise GenomeError(
                f"{self.path} gives {len(letters)} of the {last - first} bases of "
                f"{chrom}:{first}-{last}; the file or its index is damaged: copy it again."
            )
        return letters


def _check_file(fasta: Path) -> None:
    if not fasta.is_file():
        what = "is not a file" if fasta.exists() else "does not exist"
        raise GenomeError(f"The genome {fasta} {what}; give the path of a FASTA.")
    with fasta.open("rb") as file:
        head = file.read(BGZF_HEADER_BYTES)
        file.seek(max(0, fasta.stat().st_size - len(_BGZF_END)))
        tail = file.read()
    named_gz, is_gz = is_bgzip(fasta), head[:2] == b"\x1f\x8b"
    if is_gz and not named_gz:
        raise GenomeError(f"{fasta} is gzip-compressed; rename it to end in .gz.")
    if named_gz and not is_gz:
        raise GenomeError(f"{fasta} is not gzip-compressed, although its name says so; rename it.")
    if is_gz and len(head) < BGZF_HEADER_BYTES:
        raise GenomeError(f"{fasta} is cut off after {len(head)} bytes; copy it again.")
    if is_gz and not (head[3] & 4 and head[12:14] == b"BC"):
        raise GenomeError(
            f"{fasta} is compressed with gzip, which allows no random access; recompress it with "
            f"bgzip: gunzip {fasta.name} && bgzip {fasta.stem}."
        )
    if is_gz and tail != _BGZF_END:
        raise GenomeError(f"{fasta} is cut off (bgzip's end mark is missing); copy it again.")


def check_peaks(peaks: pd.DataFrame, genome: Genome) -> None:
    """Raise unless every peak is on a chromosome of the genome.

    Parameters
    ----------
    peaks
        Columns chrom, start, end (0-based half-open).
    genome
        The genome to be on.

    Raises
    ------
    GenomeError
        When chromosome names do not match.
    PeaksError
        When a peak starts before 0 or ends past its chromosome's end.
    """
    _check_names(peaks["chrom"].astype(str), genome)
    outside = np.flatnonzero(~lies_on(peaks, genome))
    if outside.size:
        peak = peaks.iloc[outside[0]]
        length = genome.chrom_lengths[str(peak["chrom"])]
        raise PeaksError(
            f"{outside.size} of {len(peaks)} peaks are outside their chromosome; the first is "
            f"{peak['chrom']}:{peak['start']}-{peak['end']}, and {peak['chrom']} has {length} bp "
            f"in {genome.path}; use the genome assembly that the peaks were called on, or leave "
            f"those peaks out ({_OPTION})."
        )


def lies_on(peaks: pd.DataFrame, genome: Genome) -> NDArray[np.bool_]:
    """Return which peaks lie on a chromosome of the genome, bool (n_peaks,)."""
    lengths = peaks["chrom"].astype(str).map(dict(genome.chrom_lengths)).fillna(-1)
    inside = (peaks["start"] >= 0) & (peaks["end"].to_numpy() <= lengths.to_numpy(np.int64))
    return inside.to_numpy(bool)


def unplaced_sentence(unplaced: pd.DataFrame, n_peaks: int, genome: Genome) -> str:
    """Return what is said of peaks that are left out for not lying on the genome."""
    chroms = [str(name) for name in dict.fromkeys(unplaced["chrom"])]
    absent = [name for name in chroms if name not in genome.chrom_lengths]
    rows = unplaced[["chrom", "start", "end"]].head(5).itertuples(index=False)
    shown = [f"{chrom}:{start}-{end}" for chrom, start, end in rows]
    more = f" and {len(unplaced) - len(shown):,} more" if len(unplaced) > len(shown) else ""
    lacking = f"; it has no {_some(absent)}" if absent else ""
    return (
        f"{len(unplaced):,} of {n_peaks:,} peaks are left out, because they do not lie on "
        f"{genome.path}: {', '.join(shown)}{more}{lacking}."
    )


def _check_names(chrom: pd.Series[str], genome: Genome) -> None:
    unknown = sorted(set(chrom) - set(genome.chrom_lengths))
    if not unknown:
        return
    n_peaks = int(chrom.isin(unknown).sum())
    raise GenomeError(
        f"{genome.path} has no chromosome {_some(unknown)} (named by {n_peaks} of {len(chrom)} "
        f"peaks; the genome has {_some(list(genome.chrom_lengths))}); {_advice(unknown, genome)}."
    )


def _advice(unknown: Sequence[str], genome: Genome) -> str:
    """Offer a change of the prefix to those names that the genome then has."""
    known = set(genome.chrom_lengths)
    without = [name for name in unknown if f"chr{name}" in known]
    with_it = [name for name in unknown if name.startswith("chr") and name[3:] in known]
    if not without and not with_it:
        return (
            "use the genome assembly that the peaks were called on, or leave those peaks out "
            f"({_OPTION})"
        )
    change = "put the prefix 'chr' before" if without else "take the prefix 'chr' off"
    matching = without or with_it
    if len(matching) == len(unknown):
        return f"in the peaks, {change} {_some(matching)}, and all names match"
    return (
        f"in the peaks, {change} {_some(matching)}, and leave out those on the others ({_OPTION})"
    )


def _some(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
