"""Variants as a job holds them: pieces of `PIECE` in the VCF's order, each a small JSON file.

A VCF is read once, by one process, regardless of its size; workers then take the pieces they need.
Only the table of all variants (`variants_table`) is made whole, since a result's `obs` is one: 0.7
KB a variant while it is written.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from sys import intern
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasstore.files import urls
from atlasstore.files.sealed import read_sealed, write_sealed
from atlasstore.genome.variants import STATUSES, Variant, variant_statuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atlasstore.genome.fasta import Genome

__all__ = ["PIECE", "count_variants", "read_piece", "variants_table", "write_pieces"]

PIECE = 1024
"""Variants in a piece."""

_NAMED_BP = 24

Checked = tuple[Variant, str]


def count_variants(
    variants: Iterable[Variant], genome: Genome, *, max_allele_bp: int
) -> dict[str, Any]:
    """Return what `write_pieces` does, and write nothing."""
    return _counted(_pieces(variants, genome, max_allele_bp))


def write_pieces(
    url: str, variants: Iterable[Variant], genome: Genome, *, max_allele_bp: int
) -> dict[str, Any]:
    """Write variants with their statuses below `url`.

    Returns
    -------
    dict
        JSON values: ``n``, how many; ``counts``, status -> how many; ``unknown``, the first names
        of chromosomes that the genome lacks.
    """
    pieces = _pieces(variants, genome, max_allele_bp)
    return _counted(_written(url, pieces))


def _pieces(
    variants: Iterable[Variant], genome: Genome, max_allele_bp: int
) -> Iterator[list[Checked]]:
    stream = iter(variants)
    while part := list(islice(stream, PIECE)):
        statuses = variant_statuses(part, genome, max_allele_bp=max_allele_bp)
        yield list(zip(part, map(str, statuses), strict=True))


def _written(url: str, pieces: Iterable[list[Checked]]) -> Iterator[list[Checked]]:
    for number, piece in enumerate(pieces):
        rows = [[*variant, status] for variant, status in piece]
        write_sealed(_name(url, number), json.dumps(rows).encode())
        yield piece


def _name(url: str, number: int) -> str:
    return urls.join(url, f"{number}.piece")


def _counted(pieces: Iterable[list[Checked]]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    unknown: dict[str, None] = {}
    for piece in pieces:
        counts.update(status for _, status in piece)
        missing = (v.chrom for v, status in piece if status == "unknown_chromosome")
        unknown |= dict.fromkeys(missing)
    return {"n": counts.total(), "counts": dict(counts), "unknown": list(unknown)}


def read_piece(url: str, number: int) -> list[Checked]:
    """Return the variants [number * PIECE, ...) that `write_pieces` wrote, and their statuses.

    Raises
    ------
    CorruptStoreError, NotAStoreError
        When the piece is not what was written, or gone.
    """
    rows = json.loads(read_sealed(_name(url, number)))
    # most alleles are one of four letters: one object each, not one a row
    return [
        (Variant(intern(chrom), pos, name, intern(ref), intern(alt)), intern(status))
        for chrom, pos, name, ref, alt, status in rows
    ]


def variants_table(url: str, n_variants: int) -> pd.DataFrame:
    """Return all variants that `write_pieces` wrote as one table.

    Returns
    -------
    pandas.DataFrame
        ``chrom`` and ``status`` (categories), ``pos`` (int64, 1-based), ``id``, ``ref`` and ``alt``
        as in the VCF; indexed by ``chrom:pos:ref>alt``, of which a second one gets ``-1``, and so
        on. Alleles of more than 24 letters are named by their length.
    """
    columns: dict[str, Any] = {name: [] for name in (*Variant._fields, "status", "name")}
    for number in range(-(-n_variants // PIECE)):
        for variant, status in read_piece(url, number):
            values = (*variant, status, _name_of(variant))
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    names = _unique(columns.pop("name"))
    columns["chrom"] = pd.Categorical(columns["chrom"])
    columns["pos"] = np.array(columns["pos"], np.int64)
    columns["status"] = pd.Categorical(columns["status"], categories=STATUSES)
    return pd.DataFrame(columns, index=names)


def _name_of(variant: Variant) -> str:
    ref, alt = _short(variant.ref), _short(variant.alt)
    return f"{variant.chrom}:{variant.pos}:{ref}>{alt}"


def _unique(plain: list[str]) -> pd.Index[str]:
    names = pd.Series(plain, dtype=object)
    if names.is_unique:
        return pd.Index(names, dtype=object)
    again = names.groupby(names).cumcount().astype(str)
    return pd.Index(names.where(again == "0", names + "-" + again), dtype=object)


def _short(allele: str) -> str:
    return allele if len(allele) <= _NAMED_BP else f"{len(allele)}bp"
