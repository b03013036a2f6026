"""What the variables of embedded cells are: peaks with their labels, or genes with predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from atlasbasset.verbs.shared.atlas_peaks import check_window, embed_peaks
from atlasbasset.verbs.shared.gene_columns import GeneColumns, gene_columns
from atlasbasset.verbs.shared.same_cells import check_same_cells
from atlasstore import memory
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import TooLittleMemoryError, UserInputError
from atlasstore.genome.genes import by_name
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray
    from scipy import sparse

    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.shared.plan import PlannedModel
    from atlasstore.events import Subscriber

__all__ = ["GeneVariables", "PeakVariables", "Variables", "chosen_variables"]

Variables = Literal["none", "peaks", "genes"]

_FLOAT_BYTES = 4
_TILE_CELLS = 256


@dataclass(frozen=True, eq=False)
class PeakVariables:
    """The peaks of an atlas and its labels."""

    atlas: Atlas
    unit = "peaks"
    meaning = "labels of the atlas: 1 where a peak is open in a cell"

    @property
    def n_vars(self) -> int:
        """Columns of X."""
        return self.atlas.n_peaks

    @property
    def n_bytes(self) -> int:
        """Of X in memory: a value and a column for each label."""
        return 2 * _FLOAT_BYTES * self.atlas.n_positives

    def var(self) -> pd.DataFrame:
        """Return the atlas's var."""
        return self.atlas.var.copy()

    def x(self, _model: Model, _on_event: Subscriber) -> sparse.csr_matrix:
        """Return the labels, float32 CSR (N, peaks)."""
        return self.atlas.to_anndata().X.astype(np.float32)


@dataclass(frozen=True, eq=False)
class GeneVariables:
    """Genes, and the accessibility that a model predicts for them."""

    atlas: Atlas
    genes: GeneColumns
    n_cells: int
    deviates: bool
    """Whether the peaks' deviations are part of the predictions."""
    unit = "genes"
    meaning = "accessibility: mean over a gene's peaks of sigmoid(h . W)"

    @property
    def n_vars(self) -> int:
        """Columns of X."""
        return len(self.genes.table)

    @property
    def n_bytes(self) -> int:
        """Of X in memory."""
        return _FLOAT_BYTES * self.n_cells * self.n_vars

    def var(self) -> pd.DataFrame:
        """Return the genes by name."""
        return by_name(self.genes.table)

    def x(self, model: Model, on_event: Subscriber) -> NDArray[np.float32]:
        """Return predictions, float32 (N, genes)."""
        h = embed_peaks(model, self.atlas, self.genes.peaks, on_event=on_event)
        if self.deviates and model.deviations is not None:
            h += model.deviations.deviation[self.genes.peaks]
        x = np.empty((model.n_cells, self.n_vars), np.float32)
        for start, stop in runs(model.n_cells, _TILE_CELLS):
            logits = torch.from_numpy(h @ model.cell_embedding[start:stop].T)
            x[start:stop] = (self.genes.means @ logits.sigmoid().numpy()).T
        return x


def chosen_variables(
    model: PlannedModel,
    variables: str,
    atlas: str | Path | Atlas | None,
    genes: str | Path | None,
) -> PeakVariables | GeneVariables | None:
    """Check what variables need and return them; None where there are to be none.

    Raises
    ------
    UserInputError
        Something is absent, unused or does not fit.
    TooLittleMemoryError
        X is larger than the memory that is free.
    """
    _check_given(variables, atlas=atlas, genes=genes)
    if atlas is None:
        return None
    source = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    found: PeakVariables | GeneVariables
    if genes is None:
        check_same_cells(model.store, source)
        found = PeakVariables(source)
    else:
        check_window(model.store, source)
        columns = gene_columns(source, np.arange(source.n_peaks), genes)
        found = GeneVariables(source, columns, model.n_cells, model.deviates_on(source)[0])
    _check_memory(found, model.n_cells)
    return found


def _check_given(variables: str, **given: Any) -> None:
    """Raise UserInputError unless exactly what `variables` needs is given."""
    if variables not in get_args(Variables):
        allowed = ", ".join(get_args(Variables))
        raise UserInputError(f"variables must be one of {allowed}, got {variables!r}.")
    needed = {"none": (), "peaks": ("atlas",), "genes": ("atlas", "genes")}[variables]
    for name, value in given.items():
        if (value is not None) is not (name in needed):
            said = "needs" if name in needed else "has no use for"
            end = f"; {'give' if name in needed else 'leave out'} --{name}"
            raise UserInputError(f"variables {variables!r} {said} {_SAID[name]}{end}.")


_SAID = {"atlas": "an atlas", "genes": "a file of genes (GTF or GFF3)"}


def _check_memory(found: PeakVariables | GeneVariables, n_cells: int) -> None:
    if found.n_bytes > (free := memory.free_bytes()):
        instead = (
            "denoise --genes writes them shard by shard"
            if found.unit == "genes"
            else ("Atlas.to_anndata(lazy=True) reads them block by block")
        )
        raise TooLittleMemoryError(
            f"{found.n_vars:,} {found.unit} of {n_cells:,} cells take {found.n_bytes / 1e9:,.1f} "
            f"GB, and {free / 1e9:,.1f} GB are free; {instead}."
        )
