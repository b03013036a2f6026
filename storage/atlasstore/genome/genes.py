"""Genes of a GTF or GFF3 file: where each starts, and which peaks are at that start.

The start of a gene (TSS) is the 5' end of the gene: its first base on the + strand, its last on the
- strand; of several transcripts that is the one that starts furthest upstream. It is read from the
file's gene lines, or in a GTF without any, from all lines that name the gene.

GTF and GFF3 count from 1 and include both ends; a TSS here is 0-based, as peaks are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
import pandas as pd
from scipy import sparse

from atlasstore.errors import UserInputError
from atlasstore.files.text import numbered_lines, whole_number
from atlasstore.genome.motif_names import distinct_names

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "REACH_BP",
    "by_name",
    "gene_bodies",
    "gene_factors",
    "gene_peaks",
    "genes_with_peaks",
    "read_genes",
]

REACH_BP = 2000
"""How far from its TSS a gene's peaks are (docs/method.md, "Gene accessibility")."""

_N_FIELDS = 9
_MOST_BP = 10**18
"""Positions are within int64."""
_KEY = re.compile(r"[\s;]*(\S+)\s*")
_IDS, _NAMES = ("gene_id", "ID"), ("gene_name", "Name", "gene", "locus")
_COLUMNS = ["gene_name", "chrom", "tss", "strand"]


@dataclass(slots=True)
class _Gene:
    """A gene as far as it has been read; `start` and `end` as in the file, both included."""

    name: str
    chrom: str
    strand: str
    start: int
    end: int


def read_genes(url: str | Path) -> pd.DataFrame:
    """Read the genes of a GTF or GFF3 file, plain or gzip, at a path or URL.

    Genes without a strand are left out: they have no start. A gene that stands in several places
    (on two chromosomes or strands) counts where it stands first.

    Returns
    -------
    pandas.DataFrame
        In the file's order, indexed by ``gene_id``: ``gene_name`` (the identifier where there is
        none), ``chrom``, ``tss`` (int64, 0-based), ``strand`` ("+" or "-").

    Raises
    ------
    UserInputError
        When the file is missing, cut, has a malformed line (its number is in the message) or has
        no genes.
    """
    genes = _read(url)
    rows = [
        (gene.name, gene.chrom, gene.start - 1 if gene.strand == "+" else gene.end - 1, gene.strand)
        for gene in genes.values()
    ]
    index = pd.Index(list(genes), dtype=object, name="gene_id")
    return pd.DataFrame(rows, columns=_COLUMNS, index=index).astype({"tss": np.int64})


def gene_bodies(url: str | Path) -> pd.DataFrame:
    """Read the genes of a GTF or GFF3 file as `read_genes`, from first to last base.

    Returns
    -------
    pandas.DataFrame
        In the file's order, indexed by ``gene_id``: ``gene_name``, ``chrom``, ``start``, ``end``
        (int64, 0-based half-open), ``strand``.
    """
    genes = _read(url)
    rows = [(g.name, g.chrom, g.start - 1, g.end, g.strand) for g in genes.values()]
    index = pd.Index(list(genes), dtype=object, name="gene_id")
    columns = ["gene_name", "chrom", "start", "end", "strand"]
    found = pd.DataFrame(rows, columns=columns, index=index)
    return found.astype({"start": np.int64, "end": np.int64})


def _read(url: str | Path) -> dict[str, _Gene]:
    """Return the genes by identifier, in the file's order."""
    genes: dict[str, _Gene] = {}
    others: dict[str, _Gene] = {}
    for number, line in numbered_lines(url, error=UserInputError):
        if line.startswith("##FASTA"):
            break
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != _N_FIELDS:
            raise _wrong_line(url, number, line, f"{len(fields)} columns, not {_N_FIELDS}")
        if fields[2].lower().endswith("gene"):
            _take(genes, fields, where=(url, number, line))
        elif not genes and "gene_id " in fields[8]:  # as GTF has it
            _take(others, fields, where=(url, number, line))
    found = genes or others
    if not found:
        raise UserInputError(
            f"{url} has no genes with a strand; give a GTF or GFF3 file with gene lines, or a GTF "
            "whose lines carry gene_id."
        )
    return found


def _take(
    genes: dict[str, _Gene], fields: list[str], *, where: tuple[str | Path, int, str]
) -> None:
    """Add a line to the genes read so far."""
    chrom, strand = fields[0], fields[6]
    start, end = _bounds(fields, where)
    if strand not in ("+", "-"):
        return
    said = _attributes(fields[8])
    identifier = next((said[key] for key in _IDS if said.get(key)), None)
    if identifier is None:
        raise _wrong_line(*where, "no gene_id or ID")
    known = genes.get(identifier)
    if known is None:
        name = next((said[key] for key in _NAMES if said.get(key)), identifier)
        genes[identifier] = _Gene(name, chrom, strand, start, end)
    elif (known.chrom, known.strand) == (chrom, strand):
        known.start, known.end = min(known.start, start), max(known.end, end)


def _bounds(fields: list[str], where: tuple[str | Path, int, str]) -> tuple[int, int]:
    try:
        start, end = whole_number(fields[3]), whole_number(fields[4])
    except ValueError:
        start, end = 0, 0
    if not (fields[0] and 1 <= start <= end < _MOST_BP):
        raise _wrong_line(*where, f"no start and end with 1 <= start <= end < {_MOST_BP:.0e}")
    return start, end


def _attributes(text: str) -> dict[str, str]:
    """Return the last column's words: ``key "value";`` in GTF, ``key=value;`` in GFF3."""
    first = text.lstrip().split(";", maxsplit=1)[0]
    if "=" in first and '"' not in first.split("=", maxsplit=1)[0]:
        pairs = (part.strip().partition("=") for part in text.split(";"))
        return {key: unquote(value).removeprefix("gene:") for key, _, value in pairs if value}
    return _gtf_attributes(text)


def _gtf_attributes(text: str) -> dict[str, str]:
    """Return key and value, of equal keys the first: a GTF repeats keys such as ``tag``.

    In one pass: a line may be as long as its author likes.
    """
    said: dict[str, str] = {}
    at = 0
    while (found := _KEY.match(text, at)) is not None:
        at = found.end()
        is_quoted = text.startswith('"', at)
        end = text.find('"' if is_quoted else ";", at + is_quoted)
        end = len(text) if end < 0 else end
        said.setdefault(found[1], text[at + is_quoted : end].strip())
        at = text.find(";", end)
        if at < 0:
            break
    return said


def _wrong_line(url: str | Path, number: int, line: str, what: str) -> UserInputError:
    return UserInputError(
        f"{url} line {number} has {what} ({line[:60]!r}); give a GTF or GFF3 file: 9 columns "
        "separated by tabs, counting from 1, genes with gene_id or ID in the last one."
    )


def gene_peaks(
    genes: pd.DataFrame, peaks: pd.DataFrame, *, reach_bp: int = REACH_BP
) -> sparse.csr_array:
    """Return which peaks share a base with the bases up to `reach_bp` from each gene's TSS.

    Parameters
    ----------
    genes
        From `read_genes`.
    peaks
        Columns chrom, start, end; 0-based half-open.
    reach_bp
        On either side of the TSS, bp: a gene's bases are [tss - reach, tss + reach].

    Returns
    -------
    scipy.sparse.csr_array
        bool (n_genes, n_peaks).

    Raises
    ------
    UserInputError
        When no gene is on a chromosome with peaks.
    """
    of_gene, of_peak = _rows_by_chrom(genes), _rows_by_chrom(peaks)
    shared = [chrom for chrom in of_gene if chrom in of_peak]
    if not shared:
        raise UserInputError(
            f"no gene is on a chromosome with peaks: the genes' are called "
            f"{', '.join(list(of_gene)[:3])}, the peaks' {', '.join(list(of_peak)[:3])}; "
            "give the genes of the same assembly, its chromosomes named as in the atlas."
        )
    found = [_pairs(genes, of_gene[c], peaks, of_peak[c], reach_bp) for c in shared]
    rows, columns = (np.concatenate(side) for side in zip(*found, strict=True))
    shape = (len(genes), len(peaks))
    return sparse.csr_array((np.ones(len(rows), bool), (rows, columns)), shape=shape)


def _rows_by_chrom(table: pd.DataFrame) -> dict[str, NDArray[np.int64]]:
    found = table.groupby(table["chrom"].astype(str), sort=False).indices
    return {str(chrom): np.asarray(rows) for chrom, rows in found.items()}


def _pairs(
    genes: pd.DataFrame,
    at_genes: NDArray[np.int64],
    peaks: pd.DataFrame,
    at_peaks: NDArray[np.int64],
    reach_bp: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (gene, peak) rows that overlap on one chromosome.

    Of the peaks by start, a gene's are among those that start before its reach ends and no more
    than the longest peak's length before it begins.
    """
    order = at_peaks[np.argsort(peaks["start"].to_numpy()[at_peaks], kind="stable")]
    start, end = (peaks[name].to_numpy(np.int64)[order] for name in ("start", "end"))
    tss = genes["tss"].to_numpy(np.int64)[at_genes]
    first = np.searchsorted(start, tss - reach_bp - int((end - start).max()), side="right")
    n_near = np.searchsorted(start, tss + reach_bp, side="right") - first
    gene = np.repeat(np.arange(len(tss)), n_near)
    near = np.arange(n_near.sum()) - np.repeat(n_near.cumsum() - n_near, n_near) + first[gene]
    hit = end[near] > tss[gene] - reach_bp
    return at_genes[gene[hit]], order[near[hit]]


def genes_with_peaks(
    genes: pd.DataFrame, peaks: pd.DataFrame, *, reach_bp: int = REACH_BP
) -> tuple[pd.DataFrame, sparse.csr_array]:
    """Return the genes that have peaks, with ``n_peaks``, and the weights of their means.

    Returns
    -------
    pandas.DataFrame
        The rows of `genes` with a peak within `reach_bp` of the TSS, and column ``n_peaks``.
    scipy.sparse.csr_array
        float32 (those genes, n_peaks): ``1 / n_peaks`` for each of a gene's peaks, so that
        ``weights @ values`` is the mean over them.

    Raises
    ------
    UserInputError
        When no gene has a peak, or chromosomes do not fit.
    """
    overlap = gene_peaks(genes, peaks, reach_bp=reach_bp)
    n_peaks = np.diff(overlap.indptr).astype(np.int64)
    with_peaks = np.flatnonzero(n_peaks)
    if not with_peaks.size:
        raise UserInputError(
            f"none of {len(genes):,} genes has a peak within {reach_bp:,} bp of its start; give "
            "the genes of the assembly that the peaks were called on."
        )
    chosen = overlap[with_peaks]
    counts = np.diff(chosen.indptr)
    weights = np.repeat((1 / counts).astype(np.float32), counts)
    means = sparse.csr_array((weights, chosen.indices, chosen.indptr), shape=chosen.shape)
    return genes.iloc[with_peaks].assign(n_peaks=n_peaks[with_peaks]), means


def by_name(genes: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `read_genes` indexed by names, each once, its identifiers as a column.

    The first of several genes of a name keeps it, the others get a number (``TP53-1``).
    """
    names = pd.Index(distinct_names([str(name) for name in genes["gene_name"]])[0], dtype=object)
    return genes.reset_index().set_axis(names, axis=0)


def gene_factors(means: sparse.csr_array, sequence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return genes' factors, float32 (n_genes, E): the mean of their peaks' embeddings.

    On the linear scale a prediction is linear in the embedding, so the mean prediction of a gene's
    peaks is the prediction of their mean embedding.

    Parameters
    ----------
    means
        From `genes_with_peaks`, (n_genes, n_peaks).
    sequence
        Embeddings of the peaks, float32 (n_peaks, E).
    """
    found: NDArray[np.float32] = (means.astype(np.float64) @ sequence).astype(np.float32)
    return found
