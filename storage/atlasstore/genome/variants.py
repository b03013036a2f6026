"""Variants from VCF files, and whether each can be evaluated on a genome.

The first five columns of a VCF define a variant; they are read line by line through
`textfiles`, from any URL, plain, gzip or bgzip, in any order of records. `pysam`, the usual reader,
takes neither gzip text nor most URLs and names no line where a file is wrong; ours is tested
against it. BCF is not read.

Positions are 1-based in `Variant`, as in the file; `Change` is 0-based half-open, like everything
else here. A variant that cannot be evaluated is not an error: it gets a status.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from atlasstore.errors import GenomeError, UserInputError
from atlasstore.files.text import numbered_lines
from atlasstore.genome.sequences import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasstore.genome.fasta import Genome

__all__ = [
    "STATUSES",
    "Change",
    "Status",
    "Variant",
    "base_codes",
    "change_of",
    "check_some_ok",
    "read_vcf",
    "variant_statuses",
]

Status = Literal[
    "ok",
    "no_alternate",
    "symbolic",
    "unknown_chromosome",
    "outside",
    "reference_mismatch",
    "unknown_bases",
    "too_long",
]
STATUSES: tuple[Status, ...] = get_args(Status)
"""All of them, "ok" first."""

_COLUMNS = "chromosome, position, ID, REF, ALT, separated by tabs"
_POSITION = re.compile(r"[0-9]{1,18}")  # within int64
_LETTERS = re.compile(r"[A-Za-z]+")
_BASES = re.compile(r"[ACGTacgt]+")
_CODES = bytearray([UNKNOWN]) * 256
for _code, _base in enumerate(b"ACGT"):
    _CODES[_base] = _CODES[_base + 32] = _code  # upper and lower case
_LISTED = 5


class Variant(NamedTuple):
    """One alternate allele of one record, as the file writes it."""

    chrom: str
    pos: int
    """Of the reference allele's first base, 1-based; 0 is before the chromosome."""
    id: str
    """``.`` for none."""
    ref: str
    alt: str


class Change(NamedTuple):
    """Bases [start, stop), 0-based half-open, replaced by others; no base is the same twice."""

    start: int
    stop: int
    put: str
    """Empty for a deletion."""

    @property
    def is_same_length(self) -> bool:
        """Whether all that follows stays in its place."""
        return len(self.put) == self.stop - self.start


def change_of(variant: Variant) -> Change:
    """Return the smallest change that makes a variant of letters, the leftmost of equal ones.

    VCF writes indels with a base that stays; bases shared at the end are taken off, then those at
    the start, so that what is left does not depend on how the file pads its alleles.
    """
    ref, alt = variant.ref.upper(), variant.alt.upper()
    most = min(len(ref), len(alt))
    tail = _n_shared(ref[::-1], alt[::-1], most)
    head = _n_shared(ref, alt, most - tail)
    start = variant.pos - 1
    return Change(start + head, start + len(ref) - tail, variant.alt[head : len(alt) - tail])


def _n_shared(a: str, b: str, most: int) -> int:
    """Return how many letters two texts begin with alike, at most `most`."""
    return next((i for i in range(most) if a[i] != b[i]), most)


def base_codes(letters: str) -> NDArray[np.uint8]:
    """Return text as codes: A, C, G, T = 0..3 in either case, anything else 4."""
    return np.frombuffer(letters.encode("ascii", "replace").translate(_CODES), np.uint8)


def read_vcf(url: str | Path) -> Iterator[Variant]:
    """Read the variants of a VCF at a path or URL, one by one, in the file's order.

    A record with several alternate alleles gives one variant each; one with none gives one whose
    `alt` is ``.``. Of the header only the first line is looked at, of a record the first five
    columns, less blanks around them; bytes that are not UTF-8 are read as Latin-1.

    Raises
    ------
    UserInputError
        When the file is missing, cut, no VCF, or has a malformed line (its number is in the
        message).
    """
    lines = numbered_lines(url, error=UserInputError, fallback="latin-1")
    _check_header(next(lines, (1, ""))[1], url)
    for number, line in lines:
        if line.strip() and not line.startswith("#"):
            yield from _alleles(line, number, url)


def _check_header(first: str, url: str | Path) -> None:
    if not first.startswith(("##fileformat=VCF", "#CHROM\t")):
        raise UserInputError(
            f"{url} is no VCF: its first line is {first[:40]!r}, where ##fileformat=VCF... is "
            "needed; give a VCF, plain or gzip (a BCF becomes one by bcftools view)."
        )


def _alleles(line: str, number: int, url: str | Path) -> Iterator[Variant]:
    fields = [field.strip(" ") for field in line.split("\t", 5)[:5]]
    if len(fields) < 5 or not all(fields) or not _POSITION.fullmatch(fields[1]):
        raise UserInputError(
            f"{url} line {number} is {line[:80]!r}; a line of a VCF begins with {_COLUMNS}, the "
            "position a whole number of 0 or more, of 18 digits at most."
        )
    chrom, pos, name, ref, alts = fields
    for alt in alts.split(","):
        yield Variant(chrom, int(pos), name, ref, alt)


def variant_statuses(
    variants: Sequence[Variant], genome: Genome, *, max_allele_bp: int
) -> list[Status]:
    """Say of each variant whether it can be evaluated.

    Returns
    -------
    list of str
        The first that holds:

        ``no_alternate``
            The alternate allele is ``.`` or the same as the reference.
        ``symbolic``
            An allele is not written in letters: ``<DEL>``, ``*``, a breakend.
        ``unknown_chromosome``
            The genome has no chromosome of that name.
        ``outside``
            The reference allele is not within the chromosome.
        ``reference_mismatch``
            The genome has other bases there (case aside).
        ``unknown_bases``
            An allele has letters other than A, C, G, T.
        ``too_long``
            What changes is longer than `max_allele_bp`, on either side.
        ``ok``
            None of these.
    """
    found = [_status_of_text(variant, genome) for variant in variants]
    at = [row for row, status in enumerate(found) if status == "ok"]
    # in the genome's order, regardless of the file's
    for row in sorted(at, key=lambda row: variants[row][:2]):
        found[row] = _status_of_bases(variants[row], genome, max_allele_bp)
    return found


def _status_of_text(variant: Variant, genome: Genome) -> Status:
    ref, alt = variant.ref, variant.alt
    if alt == "." or ref.upper() == alt.upper():
        return "no_alternate"
    if not (_LETTERS.fullmatch(ref) and _LETTERS.fullmatch(alt)):
        return "symbolic"
    length = genome.chrom_lengths.get(variant.chrom)
    if length is None:
        return "unknown_chromosome"
    return "ok" if 1 <= variant.pos <= length - len(ref) + 1 else "outside"


def _status_of_bases(variant: Variant, genome: Genome, max_allele_bp: int) -> Status:
    start = variant.pos - 1
    there = genome.codes(variant.chrom, start, start + len(variant.ref))
    if not np.array_equal(there, base_codes(variant.ref)):
        return "reference_mismatch"
    if not (_BASES.fullmatch(variant.ref) and _BASES.fullmatch(variant.alt)):
        return "unknown_bases"
    change = change_of(variant)
    longest = max(change.stop - change.start, len(change.put))
    return "too_long" if longest > max_allele_bp else "ok"


def check_some_ok(
    counts: Mapping[str, int], unknown: Sequence[str], genome: Genome, *, url: str | Path
) -> None:
    """Raise unless some variant can be evaluated.

    Parameters
    ----------
    counts
        Status -> how many variants have it.
    unknown
        Names of chromosomes in the file that the genome lacks.

    Raises
    ------
    GenomeError
        When no variant fits the genome: chromosomes of other names, or another assembly.
    UserInputError
        When there are no variants, or none that can be evaluated for other reasons.
    """
    total = sum(counts.values())
    if counts.get("ok"):
        return
    if not total:
        raise UserInputError(f"{url} has no variants; give a VCF with at least one record.")
    if counts.get("unknown_chromosome") == total:
        raise GenomeError(
            f"{genome.path} has none of the chromosomes in {url} ({_some(unknown)}; the genome has "
            f"{_some(list(genome.chrom_lengths))}); {_advice(unknown, genome)}."
        )
    why = ", ".join(f"{counts[status]:,} {status}" for status in STATUSES if counts.get(status))
    if counts.get("reference_mismatch") or counts.get("outside"):
        raise GenomeError(
            f"none of the {total:,} variants in {url} fits {genome.path} ({why}); use the genome "
            "assembly that the variants were called on."
        )
    raise UserInputError(
        f"none of the {total:,} variants in {url} can be evaluated ({why}); give substitutions or "
        "short insertions and deletions, their alleles written in letters."
    )


def _advice(unknown: Sequence[str], genome: Genome) -> str:
    """Offer a change of the prefix when the genome then has a name."""
    known = genome.chrom_lengths
    if any(f"chr{name}" in known for name in unknown):
        return "in the VCF, put the prefix 'chr' before the names (bcftools annotate --rename-chrs)"
    if any(name.startswith("chr") and name[3:] in known for name in unknown):
        return "in the VCF, take the prefix 'chr' off the names (bcftools annotate --rename-chrs)"
    return "use the genome assembly that the variants were called on"


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + rest
