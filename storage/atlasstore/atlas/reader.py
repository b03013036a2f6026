"""Reading an atlas: cells, peaks, sequences by range of peaks, labels by cell block and range.

Nothing is read before it is asked for, and no more than is asked for. The layout is described in
``docs/atlas-store.md``.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from atlasstore.atlas.label_rows import LabelRows, merged
from atlasstore.atlas.split import SPLITS
from atlasstore.atlas.writer import label_arrays
from atlasstore.errors import CorruptStoreError, UserInputError
from atlasstore.files import urls
from atlasstore.genome.sequences import UNKNOWN, onehot_to_codes
from atlasstore.notebook import html_table, named
from atlasstore.text_units import count, share
from atlasstore.zarrio import arrays, formats, tables
from atlasstore.zarrio.blocks import MAX_BLOCK_CELLS, CellBlock, CellPart, cut_cells, plan_parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    import zarr
    from numpy.typing import NDArray

__all__ = ["AtlasReader"]


class AtlasReader:
    """A finished atlas store, read by rows and blocks; made by `open`.

    Attributes
    ----------
    url
        Where it is stored.
    n_peaks, n_cells
        Rows of `var` and of `obs`.
    window_bp, flank_bp
        Length of a peak's window and of what is stored beyond it on either side, in bp.
    blocks
        The cell blocks, in the cells' order.
    block_positives
        Number of positives (open peak in a cell) of each block.
    parts
        The ranges of cells whose labels are in arrays of their own: the blocks, or, where cells
        were added later, parts of blocks.
    part_positives
        Number of positives of each part.
    provenance
        Inputs with checksums, configuration, package versions, seed, time.
    group
        The zarr group itself, for what this class does not offer.
    """

    def __init__(self, url: str, group: zarr.Group, info: formats.StoreInfo) -> None:
        attrs: Mapping[str, Any] = dict(group.attrs)
        self.url = url
        self.n_peaks = int(attrs["n_peaks"])
        self.n_cells = int(attrs["n_cells"])
        self.window_bp = int(attrs["window_bp"])
        self.flank_bp = int(attrs["flank_bp"])
        self.blocks: tuple[CellBlock, ...] = cut_cells(self.n_cells, int(attrs["block_cells"]))
        self.block_positives = tuple(int(n) for n in attrs["block_positives"])
        appends = attrs.get("appends", [0, self.n_cells])
        self.parts: tuple[CellPart, ...] = plan_parts(appends, int(attrs["block_cells"]))
        of_parts = attrs.get("part_positives", self.block_positives)
        self.part_positives = tuple(int(n) for n in of_parts)
        self.obs_name = str(attrs.get("obs", "obs"))
        self.format_version = info.version
        self.provenance = info.provenance
        self.group = group
        self._found_whole: set[str] = set()

    @classmethod
    def open(cls, url: str | Path) -> Self:
        """Open the atlas at `url` for reading.

        Raises
        ------
        NotAStoreError
            Nothing is there, it is no atlas, or the atlas is incomplete.
        FormatVersionError
            It was written by a newer atlasbasset.
        """
        group = urls.open_group(url)
        return cls(str(url), group, formats.check(group, formats.ATLAS, url=str(url)))

    def __repr__(self) -> str:
        return f"Atlas({self.url!r}: {self.n_peaks} peaks x {self.n_cells} cells)"

    def _repr_html_(self) -> str:
        splits = self.var["split"].value_counts(sort=False)
        rows = [
            ("cells", f"{count(self.n_cells)} in {count(len(self.blocks))} blocks"),
            ("peaks", f"{count(self.n_peaks)} ({named([f'{n} {s}' for s, n in splits.items()])})"),
            ("open", f"{count(self.n_positives)} pairs, {share(self.density)}"),
            ("window", f"{count(self.window_bp)} bp, {self.flank_bp} bp beyond it on either side"),
            ("obs", named(self.obs.columns)),
            ("made", str(self.provenance.get("created", "unknown"))),
        ]
        return html_table(f"Atlas {self.url}", rows)

    @property
    def n_positives(self) -> int:
        """Number of (peak, cell) pairs in which the peak is open."""
        return sum(self.block_positives)

    @property
    def density(self) -> float:
        """Share of (peak, cell) pairs in which the peak is open, 0..1."""
        return self.n_positives / (self.n_peaks * self.n_cells)

    @cached_property
    def obs(self) -> pd.DataFrame:
        """One row per cell, in the order of the blocks; read once."""
        return tables.read_table(self.group, self.obs_name, url=self.url)

    @cached_property
    def var(self) -> pd.DataFrame:
        """One row per peak: chrom, start, end (0-based half-open), split, others; read once."""
        return tables.read_table(self.group, "var", url=self.url)

    def sequence_codes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the stored windows of peaks [start, stop).

        Returns
        -------
        numpy.ndarray
            uint8, shape (stop - start, window_bp + 2 flank_bp): A, C, G, T = 0..3, unknown 4.

        Raises
        ------
        CorruptStoreError
            When the stored bytes are damaged or missing.
        """
        _check_rows(start, stop, self.n_peaks, "peaks")
        onehot = arrays.read_array(self.array("sequence"), start, stop, url=self.url)
        try:
            codes = onehot_to_codes(onehot)
        except ValueError as error:
            raise self._corrupt("sequence", f"peaks {start} to {stop}", str(error)) from error
        if np.any(np.all(codes == UNKNOWN, axis=1)):  # what a missing piece reads as
            self._check_pieces("sequence")
        return codes

    def labels(
        self, block_index: int, start_peak: int = 0, stop_peak: int | None = None
    ) -> LabelRows:
        """Return the open cells of peaks [start_peak, stop_peak) in one cell block.

        Parameters
        ----------
        block_index
            Index into `blocks`.
        start_peak, stop_peak
            Peak rows, half-open; to the last peak by default.

        Raises
        ------
        CorruptStoreError
            When the stored bytes are damaged or missing.
        """
        stop = self.n_peaks if stop_peak is None else stop_peak
        _check_rows(start_peak, stop, self.n_peaks, "peaks")
        block = self.blocks[block_index]
        parts = [part for part in self.parts if part.block == block.index]
        return merged([self.part_labels(part, start_peak, stop) for part in parts])

    def part_labels(self, part: CellPart, start_peak: int, stop_peak: int) -> LabelRows:
        """Return the open cells of peaks [start_peak, stop_peak) in one part; see `labels`."""
        indptr_name, indices_name = label_arrays(part.index)
        edges = arrays.read_array(self.array(indptr_name), start_peak, stop_peak + 1, url=self.url)
        if edges[0] < 0 or np.any(np.diff(edges) < 0):
            raise self._corrupt(indptr_name, f"block {part.block}", "row starts do not rise")
        indices = arrays.read_array(
            self.array(indices_name), int(edges[0]), int(edges[-1]), url=self.url
        )
        if len(indices) != edges[-1] - edges[0]:
            raise self._corrupt(indices_name, f"block {part.block}", "too few indices")
        self._check_cells(indices, part, indices_name)
        return LabelRows(edges - edges[0], indices)

    def _check_cells(self, indices: NDArray[np.uint16], part: CellPart, name: str) -> None:
        """Raise unless all indices are cells of the part: compiled code trusts them unread."""
        highest = int(indices.max(initial=0))
        if highest == MAX_BLOCK_CELLS - 1:  # what a missing piece reads as
            self._check_pieces(name)
        n_cells = part.first_index + part.n_cells
        if highest >= n_cells:
            what = f"a cell index past the block's {n_cells} cells"
            raise self._corrupt(name, f"block {part.block}", what)

    def _check_pieces(self, name: str) -> None:
        """Raise unless array `name` is stored whole; looked up once, as listing is slow."""
        if name not in self._found_whole:
            arrays.check_chunks(self.array(name), url=self.url)
            self._found_whole.add(name)

    def peak_rows(self, split: str) -> NDArray[np.int64]:
        """Return the rows of the peaks in a split ("train", "valid", "test"), ascending, int64."""
        if split not in SPLITS:
            raise UserInputError(f"There is no split {split!r}; use one of {', '.join(SPLITS)}.")
        return np.flatnonzero(self.var["split"].to_numpy() == split).astype(np.int64)

    def array(self, name: str) -> zarr.Array[Any]:
        """Return the zarr array `name`; a missing one is a CorruptStoreError."""
        return arrays.member(self.group, name, url=self.url)

    def _corrupt(self, array: str, part: str, what: str) -> CorruptStoreError:
        return CorruptStoreError(
            f"{self.url}: array {array}, {part}: {what}; the store is damaged: make it again or "
            "copy it again."
        )


def _check_rows(start: int, stop: int, n_rows: int, unit: str) -> None:
    if not 0 <= start <= stop <= n_rows:
        raise IndexError(f"{unit} [{start}, {stop}) are not within [0, {n_rows})")
