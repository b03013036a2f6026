"""Reading a whole atlas to see whether it is what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore import anndata_io, arrays
from atlasstore._atlas_writer import label_arrays
from atlasstore.blocks import runs
from atlasstore.errors import CorruptStoreError
from atlasstore.events import Progress, Subscriber
from atlasstore.split import SPLITS

if TYPE_CHECKING:
    from atlasstore.atlas import Atlas, LabelRows
    from atlasstore.blocks import CellBlock

__all__ = ["verify_atlas"]


def verify_atlas(atlas: Atlas, *, on_event: Subscriber) -> None:
    """Check tables, sequences, then labels block by block; see `Atlas.verify`."""
    _verify_tables(atlas)
    _verify_sequences(atlas, on_event)
    for block in atlas.blocks:
        _verify_block(atlas, block)
        on_event(Progress("checking labels", block.index + 1, len(atlas.blocks), "blocks"))


def _verify_tables(atlas: Atlas) -> None:
    expected = {"obs": (atlas.obs, atlas.n_cells), "var": (atlas.var, atlas.n_peaks)}
    for name, (table, n_rows) in expected.items():
        if len(table) != n_rows:
            raise _corrupt(atlas, name, f"{len(table)} rows where {n_rows} are expected")
        anndata_io.check_table(atlas.group, name, url=atlas.url)
    for column in ("chrom", "start", "end", "split"):
        if column not in atlas.var:
            raise _corrupt(atlas, "var", f"no column {column}")
    if not atlas.var["split"].isin(SPLITS).all():
        raise _corrupt(atlas, "var", f"values of split other than {', '.join(SPLITS)}")


def _verify_sequences(atlas: Atlas, on_event: Subscriber) -> None:
    array = atlas.array("sequence")
    if array.shape != (atlas.n_peaks, atlas.window_bp + 2 * atlas.flank_bp, 4):
        raise _corrupt(atlas, "sequence", f"shape {array.shape}")
    arrays.check_chunks(array, url=atlas.url)
    for start, stop in runs(atlas.n_peaks, (array.shards or array.chunks)[0]):
        atlas.sequence_codes(start, stop)
        on_event(Progress("checking sequences", stop, atlas.n_peaks, "peaks"))


def _verify_block(atlas: Atlas, block: CellBlock) -> None:
    for name in label_arrays(block.index):
        arrays.check_chunks(atlas.array(name), url=atlas.url)
    fault = _fault(atlas.labels(block.index), atlas.block_positives[block.index])
    if fault is not None:
        raise _corrupt(atlas, f"labels/{block.index}", f"block {block.index}: {fault}")


def _fault(rows: LabelRows, n_positives: int) -> str | None:
    """Return what is wrong with one block's labels, if anything is."""
    if len(rows.indices) != n_positives:
        return f"{len(rows.indices)} positives where {n_positives} are expected"
    rises = np.diff(rows.indices.astype(np.int32)) > 0
    row_changes = np.zeros(max(len(rows.indices) - 1, 0), bool)
    edges = rows.indptr[1:-1]
    row_changes[edges[(edges > 0) & (edges < len(rows.indices))] - 1] = True
    return None if np.all(rises | row_changes) else "cell indices do not rise within a peak"


def _corrupt(atlas: Atlas, array: str, what: str) -> CorruptStoreError:
    return CorruptStoreError(
        f"{atlas.url}: {array}: {what}; the store is damaged: make it again or copy it again."
    )
