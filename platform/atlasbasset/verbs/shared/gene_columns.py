"""Genes as columns: those of a GTF or GFF3 file with peaks of an atlas near their starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from atlasstore.genome.genes import genes_with_peaks, read_genes

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray
    from scipy import sparse

    from atlasstore.atlas.atlas import Atlas

__all__ = ["GeneColumns", "gene_columns"]


class GeneColumns(NamedTuple):
    """Columns that are genes."""

    table: pd.DataFrame
    """Genes that have a peak near their TSS."""
    means: sparse.csr_array
    """(genes, `peaks`): see `genes_with_peaks`."""
    n_in_file: int
    peaks: NDArray[np.int64]
    """Rows of the atlas's peaks that are averaged."""


def gene_columns(atlas: Atlas, rows: NDArray[np.int64], gtf: str | Path) -> GeneColumns:
    """Return the genes of a file that have one of the peaks `rows` of an atlas near their TSS.

    Raises
    ------
    UserInputError
        The file cannot be read, or none of its genes has such a peak.
    """
    found = read_genes(gtf)
    kept, means = genes_with_peaks(found, atlas.var.iloc[rows])
    used = np.unique(means.indices)
    return GeneColumns(kept, means[:, used], len(found), rows[used])
