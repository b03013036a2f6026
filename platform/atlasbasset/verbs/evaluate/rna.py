"""Cells held against their own RNA (docs/method.md, "Measures")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from atlasbasset.metrics import NeighborScore, neighbor_score, sample_rows
from atlasbasset.metrics.anchors import find_anchors, impute, joint_components
from atlasbasset.metrics.coembedding import PairedRanks, co_embed, paired_ranks
from atlasbasset.metrics.expression import (
    are_counts,
    expression_components,
    log_normalised,
    most_variable,
)
from atlasbasset.metrics.rna_agreement import RnaAgreement, rna_agreement
from atlasbasset.verbs.shared.atlas_peaks import peak_labels
from atlasstore.genome.genes import gene_factors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from atlasbasset.verbs.evaluate.rna_input import GenePeaks, RnaInput
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

    Rows = Callable[[slice | NDArray[np.intp]], NDArray[np.floating]]
    """Gives cells, (cells, genes)."""

__all__ = ["GeneMeasures", "RnaCells", "RnaMeasures", "measure_rna", "read_rna"]

_ALL_UP_TO, _SAMPLE = 50_000, 10_000
"""Cells up to which all are correlated, and how many of more."""
_CO_EMBEDDED = 5_000
"""Cells at most in a co-embedding: each is ranked against every other."""
_TILE_CELLS = 500
_LEAST_GENES = 20
"""Genes below which no shared space is sought."""


class RnaCells(NamedTuple):
    """RNA of the cells that have some, in the model's order."""

    cells: NDArray[np.int64]
    """Their rows in the model."""
    values: sparse.csr_array
    """Log-normalised counts, or values as given; (cells, all genes of the RNA)."""
    embedding: NDArray[np.float32]
    """(cells, dim)."""
    are_counts: bool


@dataclass(frozen=True, slots=True)
class GeneMeasures:
    """Gene accessibility against expression, cell by cell and gene by gene."""

    agreement: RnaAgreement
    """Pearson per cell and per gene."""
    co_embedding: PairedRanks | None
    """R_c in the space of canonical correlation; None with fewer than 20 genes."""
    integration: PairedRanks | None = None
    """R_c after expression was imputed through anchors, the paper's; None as above, or where there
    are no anchors."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values: means and counts, no arrays."""
        ranks = {"co_embedding": self.co_embedding, "integration": self.integration}
        found = {name: None if one is None else one.as_json() for name, one in ranks.items()}
        return {**self.agreement.as_json(), **found}


@dataclass(frozen=True, slots=True)
class RnaMeasures:
    """A model's cells against their RNA; None where genes were not given."""

    neighbors: NeighborScore
    """Neighbor score of the cell embedding and the RNA's."""
    denoised: GeneMeasures | None
    """Of denoised gene accessibility."""
    observed: GeneMeasures | None
    """Of the open share of each gene's peaks, as observed: what denoising starts from."""
    n_cells: int
    """Cells of the model with RNA."""
    n_cells_without: int
    """Cells of the model without RNA, left out."""
    values: str
    """How expression was taken: "log-normalised counts" or "as given"."""
    embedding: str
    """What the RNA's embedding is."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "neighbors": self.neighbors.as_json(),
            "denoised": None if self.denoised is None else self.denoised.as_json(),
            "observed": None if self.observed is None else self.observed.as_json(),
            "n_cells": self.n_cells,
            "n_cells_without": self.n_cells_without,
            "values": self.values,
            "embedding": self.embedding,
        }


def read_rna(rna: RnaInput) -> RnaCells:
    """Read the RNA of the model's cells, normalise it and embed the cells."""
    raw = sparse.csr_array(rna.expression.values()[rna.rows])
    values, given = log_normalised(raw), rna.expression.embedding
    embedding = expression_components(values) if given is None else given[rna.rows]
    return RnaCells(rna.cells, values, embedding, are_counts(raw))


def measure_rna(
    rna: RnaInput,
    found: RnaCells,
    atlas: Atlas,
    *,
    embedding: NDArray[np.float32],
    h: NDArray[np.float32] | None,
    ks: Sequence[int],
    on_event: Subscriber,
) -> RnaMeasures:
    """Measure cells against their RNA.

    Parameters
    ----------
    found
        From `read_rna`.
    embedding
        float32 (N, E): of all cells of the model.
    h
        float32 (peaks, E): of the peaks of ``rna.genes``; None without genes.
    """
    denoised = observed = None
    if rna.genes is not None and h is not None:
        at = _sampled(len(rna.cells))
        expression = found.values[:, rna.genes.columns][at]
        factors = gene_factors(rna.genes.means, h)
        own = embedding[rna.cells[at]]
        denoised = _measured(_denoised(own, factors), expression, own)
        accessibility = _observed(rna.genes, rna.cells[at], atlas, on_event)
        observed = _measured(accessibility, expression, own)
    return RnaMeasures(
        neighbors=neighbor_score(embedding[rna.cells], found.embedding, ks),
        denoised=denoised,
        observed=observed,
        n_cells=len(rna.cells),
        n_cells_without=len(embedding) - len(rna.cells),
        values="log-normalised counts" if found.are_counts else "as given",
        embedding=rna.embedding,
    )


def _sampled(n_cells: int) -> NDArray[np.intp]:
    return sample_rows(n_cells, n_cells if n_cells <= _ALL_UP_TO else _SAMPLE, seed=0)


def _denoised(embedding: NDArray[np.float32], factors: NDArray[np.float32]) -> Rows:
    return lambda at: embedding[at] @ factors.T


def _observed(
    genes: GenePeaks, cells: NDArray[np.int64], atlas: Atlas, on_event: Subscriber
) -> Rows:
    labels = peak_labels(atlas, genes.peaks, cells=cells, on_event=on_event)
    by_cell = sparse.csr_array((genes.means @ labels).T)
    return lambda at: by_cell[at].toarray()


def _measured(
    accessibility: Rows, expression: sparse.csr_array, embedding: NDArray[np.float32]
) -> GeneMeasures:
    n_cells, n_genes = expression.shape
    agreement = rna_agreement(
        accessibility,
        lambda at: expression[at].toarray(),
        n_cells=n_cells,
        n_genes=n_genes,
    )
    return GeneMeasures(agreement, *_distances(accessibility, expression, embedding))


def _distances(
    accessibility: Rows, expression: sparse.csr_array, embedding: NDArray[np.float32]
) -> tuple[PairedRanks | None, PairedRanks | None]:
    """Return R_c before and after expression is imputed."""
    genes = most_variable(expression)
    if len(genes) < _LEAST_GENES:
        return None, None
    cells = sample_rows(expression.shape[0], _CO_EMBEDDED, seed=0)
    tiles = np.array_split(cells, 1 + len(cells) // _TILE_CELLS)
    of_atac = np.concatenate([accessibility(tile)[:, genes] for tile in tiles])
    of_rna = expression[cells][:, genes].toarray()
    space = co_embed(of_atac, of_rna)
    anchors = find_anchors(*space)
    if not anchors.score.size:
        return paired_ranks(*space), None
    imputed = impute(anchors, embedding[cells], of_rna)
    return paired_ranks(*space), paired_ranks(*joint_components(imputed, of_rna))
