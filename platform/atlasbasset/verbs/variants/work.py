"""The units of `variants`: pieces of the VCF embedded, then shards of tables written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.batch.scratch import scratch_group
from atlasbasset.verbs.variants.alleles import VariantEngine, allele_of
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
    from atlasstore.genome.variants import Variant
    from atlasstore.resume.units import Receipt, Unit
    from atlasstore.zarrio.table_plan import TablePlan

    Floats = NDArray[np.float32]

__all__ = ["EmbedVariants", "WriteEffects", "create_effects", "variant_units"]

_EFFECTS, _CELLS = "effects", "cells"
_CELLS_PER_CHUNK = 1 << 16
_NOT_WRITTEN = float("inf")


def variant_units(n_variants: int) -> list[Unit]:
    """Cut variants into one unit per piece."""
    return [{"start": start, "stop": stop} for start, stop in runs(n_variants, PIECE)]


def create_effects(url: str, n_variants: int, cells: Floats) -> None:
    """Create what `EmbedVariants` fills and `WriteEffects` reads.

    Parameters
    ----------
    url
        Where, over what an earlier run of the same job has left there.
    n_variants
        V.
    cells
        Embeddings of the cells or groups, float32 (G, E).
    """
    group = scratch_group(url)
    arrays.create_array(
        group,
        _EFFECTS,
        shape=(n_variants, cells.shape[1]),
        dtype=np.float32,
        chunk_rows=PIECE,
        fill_value=_NOT_WRITTEN,
        axes=("variant", "dim0"),
    )
    stored = arrays.create_array(
        group,
        _CELLS,
        shape=cells.shape,
        dtype=np.float32,
        chunk_rows=min(len(cells), _CELLS_PER_CHUNK),
        axes=("cell", "dim0"),
    )
    stored[:] = cells


@dataclass(frozen=True, eq=False)
class EmbedVariants:
    """Work: one piece of variants' effects on the embedding; NaN where the status is not ok."""

    model: ModelSource
    genome: str
    """Path of the FASTA."""
    pieces: str
    """What `write_pieces` wrote."""
    url: str
    """What `create_effects` made."""
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
        start, stop = unit["start"], unit["stop"]
        piece = read_piece(self.pieces, start // PIECE)
        is_ok = np.array([status == "ok" for _, status in piece])
        effects = np.full((len(piece), self._engine.width), np.nan, np.float32)
        effects[is_ok] = self._embedded([v for v, status in piece if status == "ok"])
        urls.open_group(self.url, mode="r+")[_EFFECTS][start:stop] = effects
        return {"n_ok": int(is_ok.sum())}

    def _embedded(self, variants: Sequence[Variant]) -> Floats:
        window_bp = self._engine.window_bp
        alleles = [allele_of(v, self._genome, window_bp=window_bp) for v in variants]
        return self._engine.effects(alleles, self._genome)


@dataclass(frozen=True, eq=False)
class WriteEffects:
    """Work: one shard of a table of the result."""

    url: str
    """What `EmbedVariants` has filled."""
    place: str
    """The result that is written."""
    table: TablePlan
    """The table: effects on the embedding (V, E), or on cells or groups (V, G)."""
    is_by_cell: bool
    """Which of the two."""

    @cached_property
    def _cells(self) -> Floats:
        stored = urls.open_group(self.url)[_CELLS]
        found: Floats = arrays.read_array(stored, 0, stored.shape[0], url=self.url)
        return found

    def __call__(self, unit: Unit) -> Receipt:
        """Write variants [start, stop), which are one shard."""
        start, stop = unit["start"], unit["stop"]
        stored = urls.open_group(self.url)[_EFFECTS]
        effects: Floats = arrays.read_array(stored, start, stop, url=self.url)
        if np.isinf(effects).any():
            arrays.check_chunks(stored, url=self.url)
        values = effects @ self._cells.T if self.is_by_cell else effects
        return write_rows(self.place, self.table, start, values)
