"""Transcription factor motifs and the MEME text format.

The format is the minimal MEME motif format, as the JASPAR, CIS-BP and HOCOMOCO collections write
it: tabs or spaces, any or no ``w=`` and ``nsites=``, URL lines, ``MOTIF id [alternative name]``,
the alphabet as ``ALPHABET= ACGT`` or defined by ``ALPHABET "DNA" DNA-LIKE`` and the lines after it.
Only letter-probability matrices over A, C, G, T are read. A row may miss a sum of 1 by
`SUM_TOLERANCE` (what rounding to two decimals can do) and is renormalised; more is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from atlasstore.errors import MotifError
from atlasstore.files import urls
from atlasstore.files.text import numbered_lines
from atlasstore.genome.motif_names import distinct_names, tf_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "Motif",
    "information_content",
    "read_meme",
    "read_motifs",
    "reverse_complement",
    "sample",
    "shuffled_copies",
    "write_meme",
]

SUM_TOLERANCE = 0.02
"""How far the sum of a row may be from 1 before the row is refused."""
_EXACT = 1e-12
"""Rows this close to 1 are kept to the bit, so that writing and reading again changes nothing."""

_QUOTED = re.compile(r'"[^"]*"')
_WIDTH = re.compile(r"\bw\s*=\s*(\S+)", re.IGNORECASE)
_ALPHABET_LENGTH = re.compile(r"\balength\s*=\s*(\S+)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Motif:
    """A position probability matrix with its names.

    Raises
    ------
    MotifError
        When a name is empty or has white space, the matrix is not (width > 0, 4), or a row is not
        a probability distribution.
    """

    name: str
    """The collection's identifier, one word, unique in a file ("M0085_1.02")."""
    tf: str
    """The transcription factor's most readable name, one word ("TFAP2E")."""
    probabilities: NDArray[np.float64]
    """float64, shape (width, 4), columns A, C, G, T; rows sum to 1; read-only."""

    def __post_init__(self) -> None:
        for word in (self.name, self.tf):
            if len(word.split()) != 1 or word != word.strip():
                raise MotifError(
                    f"motif {self.name!r} (TF {self.tf!r}): names must be one word each; "
                    "replace white space by underscores."
                )
        object.__setattr__(self, "probabilities", _distributions(self.probabilities, self.name))

    @property
    def width(self) -> int:
        """Length in bp."""
        return int(self.probabilities.shape[0])

    @property
    def consensus(self) -> str:
        """The most probable base at each position."""
        return "".join("ACGT"[code] for code in self.probabilities.argmax(axis=1))


def _distributions(
    rows: Iterable[Sequence[float]] | NDArray[np.float64], name: str
) -> NDArray[np.float64]:
    """Return the rows as checked, renormalised, read-only distributions."""
    matrix = np.array(rows, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] == 0 or matrix.shape[1] != 4:
        raise MotifError(
            f"motif {name} has a matrix of shape {matrix.shape}; it must be (width > 0, 4), "
            "one column for each of A, C, G, T."
        )
    sums = matrix.sum(axis=1)
    bad = ~((matrix >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE))
    if bad.any():
        row = int(np.argmax(bad))
        values = " ".join(f"{value:g}" for value in matrix[row])
        raise MotifError(
            f"motif {name}, position {row + 1}: the row '{values}' is not a probability "
            f"distribution (not below 0, sum within {SUM_TOLERANCE} of 1); write letter "
            "probabilities, not counts or log-odds."
        )
    rounded = np.abs(sums - 1) > _EXACT
    matrix[rounded] /= sums[rounded, None]
    matrix.flags.writeable = False
    return matrix


def information_content(motif: Motif) -> float:
    """Return the motif's information in bits, against a uniform background.

    ``sum over positions of 2 + sum_b p_b log2 p_b`` (Schneider et al. 1986, without the
    small-sample correction): 0 for a flat motif, 2 per position for a fixed word.
    """
    p = motif.probabilities
    logs = np.log2(p, out=np.zeros_like(p), where=p > 0)
    return float(2 * motif.width + (p * logs).sum())


def reverse_complement(motif: Motif) -> Motif:
    """Return the motif as read on the other strand, under the same names."""
    return Motif(motif.name, motif.tf, motif.probabilities[::-1, ::-1])


def sample(motif: Motif, n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw `n` sites, each position independently from its distribution.

    Returns
    -------
    numpy.ndarray
        uint8, shape (n, width): 0, 1, 2, 3 for A, C, G, T. A base of probability 0 never occurs.
    """
    cumulative = np.cumsum(motif.probabilities, axis=1)
    cumulative /= cumulative[:, -1:]
    draws = rng.random((n, motif.width, 1))
    return np.asarray((draws >= cumulative[:, :3]).sum(axis=2), dtype=np.uint8)


def shuffled_copies(
    motifs: Sequence[Motif], n_copies: int, rng: np.random.Generator
) -> list[Motif]:
    """Return copies of each motif with its positions in random order, named ``NAME~1``, ``NAME~2``.

    They have the motif's bases and information, and no more of its pattern than chance gives.
    """
    return [
        replace(
            motif,
            name=f"{motif.name}~{copy + 1}",
            probabilities=motif.probabilities[rng.permutation(motif.width)],
        )
        for motif in motifs
        for copy in range(n_copies)
    ]


def write_meme(path: str | Path, motifs: Iterable[Motif]) -> None:
    """Write motifs as a minimal MEME file; `read_meme` gives them back to the bit."""
    header = (
        "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n"
        "Background letter frequencies\nA 0.25 C 0.25 G 0.25 T 0.25\n"
    )
    text = header + "".join(_meme_block(motif) for motif in motifs)
    urls.write_bytes(path, text.encode())


def _meme_block(motif: Motif) -> str:
    rows = "\n".join(" ".join(repr(float(p)) for p in row) for row in motif.probabilities)
    return (
        f"\nMOTIF {motif.name} {motif.tf}\n"
        f"letter-probability matrix: alength= 4 w= {motif.width}\n{rows}\n"
    )


def read_meme(path_or_url: str | Path) -> list[Motif]:
    """Read every motif of a MEME file, plain or gzip, in the file's order.

    The TF is the most human-readable name found: the alternative name if there is one, else the
    identifier, less the decorations of the collections (CIS-BP's ``(TF)_(species)_(DBD_0.99)``,
    HOCOMOCO's ``TF_HUMAN.H11MO.0.A``, JASPAR's ``MA0004.1.TF``). Identifiers may occur twice:
    `read_motifs` tells them apart.

    Raises
    ------
    MotifError
        With the motif's name and line number, on: no file, no motif, an alphabet other than ACGT,
        a motif without rows or with another number of rows than its ``w=``, a row that is not
        four probabilities summing to 1 within `SUM_TOLERANCE`.
    """
    source = str(path_or_url)
    text = numbered_lines(source, error=MotifError, fallback="latin-1")
    lines = _Lines(source, [line for _, line in text])
    motifs = list(_motifs(lines))
    if not motifs:
        raise MotifError(
            f"{source} has no motif (no line that starts with MOTIF); give a MEME text file, "
            "such as JASPAR, CIS-BP or HOCOMOCO offer for download."
        )
    return motifs


def read_motifs(given: str | Path | Sequence[Motif]) -> tuple[list[Motif], str | None]:
    """Return the motifs of a MEME file, or those given, each with a name of its own.

    Returns
    -------
    list of Motif
        In their order; the second of one name, and every further one, has a number behind it.
    str or None
        A sentence on what was renamed.

    Raises
    ------
    MotifError
        As `read_meme`.
    """
    motifs = read_meme(given) if isinstance(given, str | PathLike) else list(given)
    names, renamed = distinct_names([motif.name for motif in motifs])
    named = zip(motifs, names, strict=True)
    return [m if m.name == name else replace(m, name=name) for m, name in named], renamed


class _Header(NamedTuple):
    """A ``MOTIF`` line."""

    name: str
    tf: str
    line: int


class _Lines:
    """The file's lines with a position, so that every error can name its line."""

    def __init__(self, source: str, lines: list[str]) -> None:
        self.source = source
        self._lines = lines
        self.number = 0

    def peek(self) -> str | None:
        """Return the next line, stripped, or None at the end."""
        return self._lines[self.number].strip() if self.number < len(self._lines) else None

    def __iter__(self) -> Iterator[str]:
        while (line := self.peek()) is not None:
            self.number += 1
            yield line

    def error(
        self, problem: str, *, motif: str | None = None, line: int | None = None
    ) -> MotifError:
        where = f"{self.source}, line {self.number if line is None else line}"
        return MotifError(f"{where}{f', motif {motif}' if motif else ''}: {problem}")


def _motifs(lines: _Lines) -> Iterator[Motif]:
    header: _Header | None = None
    for line in lines:
        keyword = line.split(maxsplit=1)[0] if line else ""
        if keyword.upper().startswith("ALPHABET"):
            _check_alphabet(line, lines)
        elif keyword in ("MOTIF", "motif"):
            _check_finished(header, lines)
            header = _read_header(line, lines)
        elif keyword.lower().startswith("letter-probability") and header is not None:
            yield _read_matrix(line, lines, header)
            header = None
    _check_finished(header, lines)


def _check_alphabet(line: str, lines: _Lines) -> None:
    given, first = line[len("ALPHABET") :].strip(" \t="), lines.number
    is_defined = '"' in given or given.upper().endswith("-LIKE")
    letters = _defined_letters(given, lines) if is_defined else given
    if letters.upper() != "ACGT":
        raise lines.error(
            f"the alphabet is '{given}'; only DNA motifs ('ALPHABET= ACGT') are read.", line=first
        )


def _defined_letters(given: str, lines: _Lines) -> str:
    """Return the letters of the alphabet that is defined on the lines that follow, sorted.

    ``A "Adenine" CC0000 ~ T "Thymine" 008000`` defines two that are complements of one another;
    ``N "Any base" = ACGT`` stands for others, and is none.
    """
    letters = set[str]()
    while (line := lines.peek()) is not None:
        plain = _QUOTED.sub(" ", line)
        symbols = [half.split()[0] for half in plain.split("~") if half.split()]
        if any(len(symbol) > 1 for symbol in symbols):
            break
        lines.number += 1
        letters.update(symbols if "=" not in plain else ())
    is_dna = given.upper().endswith("DNA-LIKE")
    return "".join(sorted(letters)) or ("ACGT" if is_dna else given)


def _check_finished(header: _Header | None, lines: _Lines) -> None:
    if header is not None:
        raise lines.error(
            "no letter-probability matrix follows; a motif needs at least one row.",
            motif=header.name,
            line=header.line,
        )


def _read_header(line: str, lines: _Lines) -> _Header:
    words = line.split()[1:3]
    if not words:
        raise lines.error("the motif has no name; write 'MOTIF <identifier> <TF>'.")
    return _Header(words[0], tf_name(words[-1]), lines.number)


def _read_matrix(line: str, lines: _Lines, header: _Header) -> Motif:
    alphabet_length = _ALPHABET_LENGTH.search(line)
    if alphabet_length and alphabet_length[1] != "4":
        raise lines.error(
            f"the matrix has alength= {alphabet_length[1]}; only DNA motifs (4) are read.",
            motif=header.name,
        )
    first = lines.number
    rows = _read_rows(lines, header)
    width = _WIDTH.search(line)
    if not rows or (width and width[1] != str(len(rows))):
        stated = f"w= {width[1]}" if width else "no w="
        raise lines.error(
            f"the matrix has {stated} and {len(rows)} rows; there must be at least one row, "
            "and as many as w= says.",
            motif=header.name,
            line=first,
        )
    return _checked(rows, lines, header)


def _checked(rows: list[tuple[int, list[float]]], lines: _Lines, header: _Header) -> Motif:
    try:
        return Motif(header.name, header.tf, np.array([row for _, row in rows]))
    except MotifError:
        number, problem = next(_row_problems(rows, header.name))
        raise lines.error(problem, motif=header.name, line=number) from None


def _row_problems(rows: list[tuple[int, list[float]]], name: str) -> Iterator[tuple[int, str]]:
    """Yield the line number of each row that is no distribution, and what is wrong with it."""
    for number, row in rows:
        try:
            _distributions([row], name)
        except MotifError as error:
            yield number, str(error).split(": ", maxsplit=1)[1]


def _read_rows(lines: _Lines, header: _Header) -> list[tuple[int, list[float]]]:
    """Return (line number, values) of the rows that follow, as far as they are numbers."""
    rows: list[tuple[int, list[float]]] = []
    while (line := lines.peek()) is not None:
        values = _numbers(line)
        if values is None or (not values and rows):
            break
        lines.number += 1
        if not values:
            continue
        if len(values) != 4:
            raise lines.error(
                f"the row '{line}' has {len(values)} numbers; it must have 4, for A, C, G, T.",
                motif=header.name,
            )
        rows.append((lines.number, values))
    return rows


def _numbers(line: str) -> list[float] | None:
    """Return the line's numbers (none for a blank line), or None where a word is not a number."""
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        return None
