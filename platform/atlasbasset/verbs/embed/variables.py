"""What the variables of embedded cells are: peaks with their labels, or genes with predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from atlasbasset.batch.gather import gather
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.embed_peaks_work import embed_by_workers
from atlasbasset.verbs.shared.gene_columns import GeneColumns, gene_columns
from atlasbasset.verbs.shared.plan import workers_in_full
from atlasbasset.verbs.shared.same_cells import check_same_cells
from atlasbasset.verbs.shared.sigmoid import sigmoid_
from atlasstore import memory
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import TooLittleMemoryError, UserInputError
from atlasstore.genome.genes import by_name
from atlasstore.resume.units import Ranges, Stage
from atlasstore.text_units import count
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray
    from scipy import sparse

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.gather import Arrays
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.shared.plan import PlannedModel
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines
    from atlasstore.resume.units import Unit

__all__ = ["GeneVariables", "PeakVariables", "Variables", "chosen_variables"]

Variables = Literal["none", "peaks", "genes"]

_FLOAT_BYTES = 4
_TILE_CELLS = 256
_UNIT_CELLS = 16 * _TILE_CELLS


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

    def lines(self) -> Lines:
        """Return how many and what they are."""
        return [(self.unit, f"{count(self.n_vars)}: {self.meaning}")]

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
    pool: WorkerPool
    """Who predicts."""
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

    def lines(self) -> Lines:
        """Return how many, what they are and who predicts them."""
        made_by = ("workers", workers_in_full(self.pool))
        return [(self.unit, f"{count(self.n_vars)}: {self.meaning}"), made_by]

    def var(self) -> pd.DataFrame:
        """Return the genes by name."""
        return by_name(self.genes.table)

    def x(self, model: Model, on_event: Subscriber) -> NDArray[np.float32]:
        """Return predictions, float32 (N, genes)."""
        with self.pool.session(on_event):
            return self._predicted(model, on_event)

    def _predicted(self, model: Model, on_event: Subscriber) -> NDArray[np.float32]:
        peaks = self.genes.peaks
        h = embed_by_workers(model, self.atlas, peaks, pool=self.pool, on_event=on_event)
        if self.deviates and model.deviations is not None:
            h += model.deviations.deviation[peaks]
        predict = _PredictGenes(h, model.cell_embedding, self.genes.means)
        x = np.empty((model.n_cells, self.n_vars), np.float32)
        if not self.pool.count:
            for start, stop in runs(model.n_cells, _TILE_CELLS):
                x[start:stop] = predict.tile(start, stop)
            return x
        units, stage = Ranges(model.n_cells, _UNIT_CELLS), Stage("predicting genes", "cells")
        found = gather(units, predict, pool=self.pool, stage=stage, on_event=on_event)
        return np.concatenate([part["x"] for part in found], out=x)


@dataclass(frozen=True, eq=False)
class _PredictGenes:
    """Predicts genes in a range of cells."""

    h: NDArray[np.float32]
    """(peaks, E)."""
    embedding: NDArray[np.float32]
    """(N, E)."""
    means: sparse.csr_array
    """(genes, peaks)."""

    def __call__(self, unit: Unit) -> Arrays:
        start, stop = unit["start"], unit["stop"]
        tiles = [self.tile(start + i, start + j) for i, j in runs(stop - start, _TILE_CELLS)]
        return {"x": np.concatenate(tiles)}

    def tile(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return predictions, float32 (stop - start, genes)."""
        logits = torch.from_numpy(self.h @ self.embedding[start:stop].T)
        found: NDArray[np.float32] = (self.means @ sigmoid_(logits).numpy()).T
        return found


def chosen_variables(
    model: PlannedModel,
    variables: str,
    atlas: str | Path | Atlas | None,
    genes: str | Path | None,
    pool: WorkerPool,
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
    if pool.count and variables != "genes":
        raise UserInputError(
            f"workers predict genes, and variables {variables!r} are not predicted; leave out "
            "--workers, or ask for --variables genes."
        )
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
        found = GeneVariables(source, columns, model.n_cells, model.deviates_on(source)[0], pool)
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
