"""Chromosomes for the page: their lengths, and their bases where these are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from atlasstore.genome.fasta import Genome

__all__ = ["chromosome_lengths", "write_lengths", "write_sequence"]

_LINE = 100
_LINES_AT_ONCE = 10_000
_LETTERS = np.frombuffer(b"ACGTN", np.uint8)


def chromosome_lengths(
    peaks: pd.DataFrame, genome: Genome | None, *, margin_bp: int
) -> dict[str, int]:
    """Return the lengths of the chromosomes with peaks, in the peaks' order.

    Without a genome a chromosome ends `margin_bp` after its last peak.

    Raises
    ------
    UserInputError
        The genome lacks one of them, or a peak lies past its end.
    """
    chrom = peaks["chrom"].astype(str)
    ends = peaks["end"].groupby(chrom, sort=False).max()
    if genome is None:
        return {str(name): int(end) + margin_bp for name, end in ends.items()}
    for name, end in ends.items():
        length = genome.chrom_lengths.get(str(name))
        if length is None or length < end:
            what = "is not in it" if length is None else f"has {length:,} bp there"
            raise UserInputError(
                f"peaks lie on {name} up to {end:,}, but {name} {what} ({genome.path}); give the "
                "genome that the atlas was made with."
            )
    return {str(name): genome.chrom_lengths[str(name)] for name in ends.index}


def write_lengths(path: Path, lengths: Mapping[str, int]) -> None:
    """Write a line of name and length for each chromosome."""
    path.write_text("".join(f"{name}\t{length}\n" for name, length in lengths.items()))


def write_sequence(path: Path, genome: Genome, lengths: Mapping[str, int]) -> None:
    """Write chromosomes as a FASTA, and its index beside it (``.fai``)."""
    index = []
    with path.open("wb") as file:
        for name, length in lengths.items():
            file.write(f">{name}\n".encode())
            index.append(f"{name}\t{length}\t{file.tell()}\t{_LINE}\t{_LINE + 1}\n")
            for start in range(0, length, _LINE * _LINES_AT_ONCE):
                stop = min(length, start + _LINE * _LINES_AT_ONCE)
                letters = _LETTERS[genome.codes(name, start, stop)].tobytes()
                lines = [letters[i : i + _LINE] for i in range(0, len(letters), _LINE)]
                file.write(b"\n".join(lines) + b"\n")
    path.with_name(path.name + ".fai").write_text("".join(index))
