"""What tables, BED files, fragments and FASTA files are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.errors import NotAStoreError, PeaksError
from atlasstore.files import urls
from atlasstore.files.text import numbered_lines, whole_number
from atlasstore.genome.bed_lines import bed_row, is_no_row
from atlasstore.inspect_outputs import Described, table_format

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["describe_fasta", "describe_text"]

_LISTED = 12
_COUNT = 4
"""Field of a fragment that counts its copies."""


def describe_text(url: str) -> Described:
    """Say what a table is by its columns; without a header it may have regions or fragments."""
    first = next((line for _, line in _filled(url) if not is_no_row(line)), "")
    if _is_region(first):
        return _regions("fragments" if _is_fragment(first, url) else "BED", url)
    lines = (line for _, line in _filled(url))
    header = next(lines, "")
    mark = next((mark for mark in "\t;," if mark in header), ",")
    columns = [name.strip('" ') for name in header.split(mark)]
    return Described(table_format(columns), {"n_rows": sum(1 for _ in lines), "columns": columns})


def describe_fasta(url: str) -> Described:
    """Say which sequences a FASTA has, and how long they are."""
    from atlasstore.genome.fasta import Genome

    with Genome.open(url) as genome:
        lengths = dict(genome.chrom_lengths)
    sizes = {
        "n_sequences": len(lengths),
        "length_bp": sum(lengths.values()),
        "first_bp": dict(list(lengths.items())[:_LISTED]),
    }
    return Described("FASTA", sizes)


def _filled(url: str) -> Iterator[tuple[int, str]]:
    lines = numbered_lines(url, error=NotAStoreError)
    return ((number, line) for number, line in lines if line.strip())


def _is_region(line: str) -> bool:
    try:
        bed_row(line, 1, "")
    except PeaksError:
        return False
    return True


def _is_fragment(line: str, url: str) -> bool:
    """Whether a region has a count, where BED has a score, or the file's name says fragments."""
    fields = line.split("\t")
    if "fragments" in urls.path_end(url).rpartition("/")[2]:
        return len(fields) >= _COUNT
    return ".tsv" in urls.path_end(url) and len(fields) == _COUNT + 1 and _is_whole(fields[_COUNT])


def _is_whole(field: str) -> bool:
    try:
        whole_number(field)
    except ValueError:
        return False
    return True


def _regions(kind: str, url: str) -> Described:
    """Count regions, by the rules that `preprocess` reads them by."""
    n_rows, chroms, widths = 0, dict[str, None](), (1 << 62, 0)
    for number, line in _filled(url):
        if is_no_row(line):
            continue
        chrom, start, end, _ = bed_row(line, number, url)
        n_rows, widths = n_rows + 1, (min(widths[0], end - start), max(widths[1], end - start))
        chroms[chrom] = None
    sizes = {
        "n_rows": n_rows,
        "width_bp": f"{widths[0]:,} to {widths[1]:,}",
        "n_chromosomes": len(chroms),
        "chromosomes": list(chroms)[:_LISTED],
    }
    return Described(kind, sizes)
