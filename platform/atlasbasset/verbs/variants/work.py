"""The units of `variants`: pieces of the VCF embedded, then shards of tables written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.batch.scratch import scratch_group
from atlasbasset.verbs.variants.alleles import VariantEngine, allele_of, mean_effects
from atlasbasset.verbs.variants.cell_table import CellTable
from atlasstore.files import urls
from atlasstore.genome.fasta import Genome
from atlasstore.genome.variant_batches import PIECE, read_piece
from atlasstore.results.writer import write_rows
from atlasstore.zarrio import arrays
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.batch.model_source import ModelSource
    from atlasbasset.inference.model import Scale
    from atlasstore.genome.variants import Variant
    from atlasstore.resume.units import Receipt, Unit
    from atlasstore.zarrio.table_plan import TablePlan

    Floats = NDArray[np.float32]

__all__ = ["EmbedVariants", "WriteEffects", "create_embedded", "variant_units"]

_EMBEDDED, _CELLS, _INTERCEPT, _COUNTS = "embedded", "cells", "intercept", "counts"
_CELLS_PER_CHUNK = 1 << 16
_NOT_WRITTEN = float("inf")


def variant_units(n_variants: int) -> list[Unit]:
    """Cut variants into one unit per piece."""
    return [{"start": start, "stop": stop} for start, stop in runs(n_variants, PIECE)]


def create_embedded(url: str, n_variants: int, cells: CellTable, *, n_strands: int) -> None:
    """Create what `EmbedVariants` fills and `WriteEffects` reads.

    Parameters
    ----------
    url
        Where, over what an earlier run of the same job has left there.
    n_variants
        V.
    cells
        What effects are computed with.
    n_strands
        S.
    """
    group = scratch_group(url)
    arrays.create_array(
        group,
        _EMBEDDED,
        shape=(n_variants, n_strands, 2, cells.embedding.shape[1]),
        dtype=np.float32,
        chunk_rows=PIECE,
        fill_value=_NOT_WRITTEN,
        axes=("variant", "strand", "allele", "dim0"),
    )
    tables: dict[str, NDArray[Any]] = {
        _CELLS: cells.embedding,
        _INTERCEPT: cells.intercept,
        _COUNTS: cells.counts,
    }
    for name, values in tables.items():
        stored = arrays.create_array(
            group,
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunk_rows=min(len(values), _CELLS_PER_CHUNK),
            axes=("cell", "dim0")[: values.ndim],
        )
        stored[:] = values


@dataclass(frozen=True, eq=False)
class EmbedVariants:
    """Work: one piece of variants' windows embedded; NaN where the status is not ok."""

    model: ModelSource
    genome: str
    """Path or URL of the FASTA."""
    pieces: str
    """What `write_pieces` wrote."""
    url: str
    """What `create_embedded` made."""
    both_strands: bool = False
    """As for `VariantEngine`."""

    @cached_property
    def _engine(self) -> VariantEngine:
        return VariantEngine(self.model.embedder, both_strands=self.both_strands)

    @cached_property
    def _genome(self) -> Genome:
        return Genome.open(self.genome)

    def __call__(self, unit: Unit) -> Receipt:
        """Embed and write variants [start, stop), which are one piece."""
        start = unit["start"]
        piece = read_piece(self.pieces, start // PIECE)
        is_ok = np.array([status == "ok" for _, status in piece])
        shape = (len(piece), self._engine.n_strands, 2, self._engine.width)
        h = np.full(shape, np.nan, np.float32)
        h[is_ok] = self._embedded([v for v, status in piece if status == "ok"])
        arrays.write_pieces(arrays.open_member(self.url, _EMBEDDED, mode="r+"), start, h)
        return {"n_ok": int(is_ok.sum())}

    def _embedded(self, variants: Sequence[Variant]) -> Floats:
        window_bp = self._engine.window_bp
        alleles = [allele_of(v, self._genome, window_bp=window_bp) for v in variants]
        return self._engine.embed(alleles, self._genome)


@dataclass(frozen=True, eq=False)
class WriteEffects:
    """Work: one shard of a table of the result."""

    url: str
    """What `EmbedVariants` has filled."""
    place: str
    """The result that is written."""
    table: TablePlan
    """The table: effects on the embedding (V, E), or on cells or groups (V, G)."""
    scale: Scale | None
    """Of the effects on cells or groups; None for those on the embedding."""

    @cached_property
    def _cells(self) -> CellTable:
        group = urls.open_group(self.url)
        names = (_CELLS, _INTERCEPT, _COUNTS)
        stored = [arrays.member(group, name, url=self.url) for name in names]
        for array in stored:  # a lost piece would read as zeros
            arrays.check_chunks(array, url=self.url)
        return CellTable(*(arrays.read_array(a, 0, a.shape[0], url=self.url) for a in stored))

    def __call__(self, unit: Unit) -> Receipt:
        """Write variants [start, stop), which are one shard."""
        start, stop = unit["start"], unit["stop"]
        stored = arrays.open_member(self.url, _EMBEDDED)
        h: Floats = arrays.read_array(stored, start, stop, url=self.url)
        if np.isinf(h).any():
            arrays.check_chunks(stored, url=self.url)
        values = mean_effects(h)
        if self.scale == "linear":
            values = values @ self._cells.embedding.T
        elif self.scale is not None:
            values = self._cells.sigmoid_effects(h)
        return write_rows(self.place, self.table, start, values)
