"""Checks of RNA before any work: its cells, and the genes that have peaks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasbasset.metrics.expression import MOST_VARIABLE
from atlasstore.errors import UserInputError
from atlasstore.genome.genes import genes_with_peaks, read_genes
from atlasstore.inputs.expression import Expression, open_expression

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import anndata
    from numpy.typing import NDArray
    from scipy import sparse

    from atlasstore.atlas.atlas import Atlas
    from atlasstore.plans import Lines

__all__ = ["GenePeaks", "RnaInput", "checked_rna"]

_VERSIONED = re.compile(r"^(ENS[A-Z]*\d+)\.\d+$")
_IDS = ("gene_ids", "gene_id")
"""Columns of the RNA's var that may hold identifiers beside names."""


@dataclass(frozen=True, eq=False, slots=True)
class GenePeaks:
    """Genes that have expression, and peaks at their starts."""

    columns: NDArray[np.int64]
    """Of each gene in the RNA."""
    peaks: NDArray[np.int64]
    """Rows of the atlas's peaks at any gene's start, rising."""
    means: sparse.csr_array
    """(genes, peaks): see `genes_with_peaks`."""


@dataclass(frozen=True, eq=False, slots=True)
class RnaInput:
    """RNA that fits a model's cells."""

    expression: Expression
    cells: NDArray[np.int64]
    """Rows of the model's cells that have RNA, rising."""
    rows: NDArray[np.int64]
    """Their rows in the RNA."""
    embedding: str
    """What the RNA's embedding is."""
    genes: GenePeaks | None
    notices: tuple[str, ...]

    def lines(self) -> Lines:
        """Return cells and genes, for a plan."""
        parts = [f"{len(self.cells):,} cells, {self.embedding}"]
        if self.genes is not None:
            columns, peaks = self.genes.columns, self.genes.peaks
            parts.append(f"{len(columns):,} genes with {len(peaks):,} peaks at their starts")
        return [("RNA", "; ".join(parts))]


def checked_rna(
    rna: str | Path | anndata.AnnData,
    atlas: Atlas,
    *,
    layer: str | None,
    embedding: str | None,
    genes: str | Path | None,
    ks: Sequence[int],
) -> RnaInput:
    """Open RNA and match it to an atlas by the names of cells and genes.

    Raises
    ------
    UserInputError
        When it cannot be read, shares no cells or genes with the atlas, or fewer cells than
        neighbours are asked for.
    """
    found = open_expression(rna, layer=layer, embedding=embedding)
    cells, rows = _shared_cells(found, atlas, least=min(ks) + 1)
    notices = []
    if len(cells) < len(atlas.obs):
        notices.append(
            f"{len(atlas.obs) - len(cells):,} of {len(atlas.obs):,} cells are not in "
            f"{found.name} and are left out of what needs it."
        )
    if genes is None:
        notices.append(
            "Without genes (--genes GTF) RNA is compared by neighbours alone, not gene by gene."
        )
    at_genes = None if genes is None else _gene_peaks(found, atlas, genes)
    return RnaInput(
        found,
        cells,
        rows,
        _components(len(found.genes)) if embedding is None else f"obsm {embedding}",
        at_genes,
        tuple(notices),
    )


def _components(n_genes: int) -> str:
    """Say what the RNA's embedding is where none was named."""
    of = f"its {n_genes:,} genes"
    if n_genes > MOST_VARIABLE:
        of = f"the {MOST_VARIABLE:,} most variable of {of}"
    return f"principal components of {of}"


def _shared_cells(
    rna: Expression, atlas: Atlas, *, least: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of the cells that both have: in the atlas, rising, and in the RNA."""
    ours = pd.Index(atlas.obs.index.astype(str), dtype=object)
    rows = rna.cells.get_indexer(ours).astype(np.int64)
    cells = np.flatnonzero(rows >= 0)
    if not cells.size:
        raise UserInputError(
            f"none of the {len(rna.cells):,} cells of {rna.name} ({rna.cells[0]}, ...) is one of "
            f"{atlas.url} ({ours[0]}, ...); name its cells as the atlas's cells are named."
        )
    if cells.size < least:
        raise UserInputError(
            f"{rna.name} and {atlas.url} have {cells.size:,} cells in common, but {least:,} are "
            "the fewest that have the neighbours asked for (ks); give the RNA of more cells."
        )
    return cells.astype(np.int64), rows[cells]


def _gene_peaks(rna: Expression, atlas: Atlas, genes: str | Path) -> GenePeaks:
    table = read_genes(genes)
    columns = _columns_of(table, rna.genes)
    expressed = np.flatnonzero(columns >= 0)
    if not expressed.size:
        raise UserInputError(
            f"none of the {len(rna.genes):,} genes of {rna.name} ({rna.genes.index[0]}, ...) is in "
            f"{genes} ({table.index[0]}, called {table['gene_name'].iloc[0]}, ...); give the genes "
            "that the RNA was counted on."
        )
    chosen = table.iloc[expressed].assign(column=columns[expressed])
    with_peaks, means = genes_with_peaks(chosen, atlas.var)
    peaks = np.unique(means.indices).astype(np.int64)
    return GenePeaks(with_peaks["column"].to_numpy(np.int64), peaks, means[:, peaks])


def _columns_of(genes: pd.DataFrame, var: pd.DataFrame) -> NDArray[np.int64]:
    """Return each gene's column in the RNA, by identifier or else by name; -1 without one.

    Identifiers are compared without their versions. A column goes to the first gene that has it.
    """
    known: dict[str, int] = {}
    for names in (var.index, *(var[key] for key in _IDS if key in var)):
        for column, name in enumerate(map(str, names)):
            known.setdefault(_unversioned(name), column)
    columns = np.full(len(genes), -1, np.int64)
    taken: set[int] = set()
    for place, (identifier, name) in enumerate(
        zip(genes.index.astype(str), genes["gene_name"].astype(str), strict=True)
    ):
        column = known.get(_unversioned(identifier), known.get(name, -1))
        if column not in taken:
            columns[place] = column
            taken.add(column)
    return columns


def _unversioned(name: str) -> str:
    found = _VERSIONED.match(name)
    return found[1] if found else name
