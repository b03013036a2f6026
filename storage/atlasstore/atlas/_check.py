"""Verification of a whole atlas: reads and checks everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.atlas.split import SPLITS
from atlasstore.atlas.writer import CHECKSUM, label_arrays, label_checksum
from atlasstore.errors import CorruptStoreError
from atlasstore.events import Progress, Subscriber
from atlasstore.zarrio import arrays, metadata
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from atlasstore.atlas.label_rows import LabelRows
    from atlasstore.atlas.reader import AtlasReader
    from atlasstore.zarrio.blocks import CellPart

__all__ = ["verify_atlas"]

_NOT_WRITTEN = "not the values that were written"


def verify_atlas(atlas: AtlasReader, *, on_event: Subscriber) -> None:
    """Check tables, sequences, then labels block by block; see `Atlas.verify`."""
    metadata.check_root(atlas.url)
    _verify_tables(atlas)
    _verify_sequences(atlas, on_event)
    for part in atlas.parts:
        _verify_part(atlas, part)
        on_event(Progress("checking labels", part.index + 1, len(atlas.parts), "blocks"))


def _verify_tables(atlas: AtlasReader) -> None:
    expected = {atlas.obs_name: (atlas.obs, atlas.n_cells), "var": (atlas.var, atlas.n_peaks)}
    for name, (table, n_rows) in expected.items():
        if len(table) != n_rows:
            raise _corrupt(atlas, name, f"{len(table)} rows where {n_rows} are expected")
    for column in ("chrom", "start", "end", "split"):
        if column not in atlas.var:
            raise _corrupt(atlas, "var", f"no column {column}")
    if not atlas.var["split"].isin(SPLITS).all():
        raise _corrupt(atlas, "var", f"values of split other than {', '.join(SPLITS)}")


def _verify_sequences(atlas: AtlasReader, on_event: Subscriber) -> None:
    array = atlas.array("sequence")
    if array.shape != (atlas.n_peaks, atlas.window_bp + 2 * atlas.flank_bp, 4):
        raise _corrupt(atlas, "sequence", f"shape {array.shape}")
    arrays.check_chunks(array, url=atlas.url)
    ranges = list(runs(atlas.n_peaks, (array.shards or array.chunks)[0]))
    try:
        recorded = arrays.recorded_checksums(array.attrs.get(CHECKSUM), len(ranges))
    except ValueError as error:
        raise _corrupt(atlas, "sequence", str(error)) from error
    for (start, stop), written in zip(ranges, recorded, strict=True):
        found = arrays.checksum(atlas.sequence_codes(start, stop))
        if written is not None and written != found:
            raise _corrupt(atlas, "sequence", f"peaks {start} to {stop}: {_NOT_WRITTEN}")
        on_event(Progress("checking sequences", stop, atlas.n_peaks, "peaks"))


def _verify_part(atlas: AtlasReader, part: CellPart) -> None:
    for name in label_arrays(part.index):
        arrays.check_chunks(atlas.array(name), url=atlas.url)
    rows = atlas.part_labels(part, 0, atlas.n_peaks)
    fault = _fault(rows, atlas.part_positives[part.index], first_index=part.first_index)
    written = atlas.array(label_arrays(part.index)[1]).attrs.get(CHECKSUM)
    if not fault and written not in (None, label_checksum(rows.indptr, rows.indices)):
        fault = _NOT_WRITTEN
    if fault is not None:
        raise _corrupt(atlas, f"labels/{part.index}", f"block {part.block}: {fault}")


def _fault(rows: LabelRows, n_positives: int, *, first_index: int) -> str | None:
    """Return what is wrong with one part's labels, if anything is."""
    if len(rows.indices) != n_positives:
        return f"{len(rows.indices)} positives where {n_positives} are expected"
    if len(rows.indices) and int(rows.indices.min()) < first_index:
        return f"a cell index before the part's first, {first_index}"
    rises = np.diff(rows.indices.astype(np.int32)) > 0
    row_changes = np.zeros(max(len(rows.indices) - 1, 0), bool)
    edges = rows.indptr[1:-1]
    row_changes[edges[(edges > 0) & (edges < len(rows.indices))] - 1] = True
    return None if np.all(rises | row_changes) else "cell indices do not rise within a peak"


def _corrupt(atlas: AtlasReader, array: str, what: str) -> CorruptStoreError:
    return CorruptStoreError(
        f"{atlas.url}: {array}: {what}; the store is damaged: make it again or copy it again."
    )
