"""Reading an atlas: cells, peaks, sequences by runs of peaks, labels by cell block and peak range.

Nothing is read before it is asked for, and no more than is asked for. The layout is described in
``docs/atlas-store.md``.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from atlasstore import anndata_io, arrays, formats, urls
from atlasstore._atlas_writer import label_arrays
from atlasstore.blocks import MAX_BLOCK_CELLS, CellBlock, cut_cells
from atlasstore.errors import CorruptStoreError, UserInputError
from atlasstore.events import Subscriber, ignore
from atlasstore.sequences import UNKNOWN, onehot_to_codes
from atlasstore.split import SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import anndata
    import pandas as pd
    import zarr
    from numpy.typing import NDArray

__all__ = ["Atlas", "LabelRows"]


class LabelRows(NamedTuple):
    """Open cells of consecutive peaks in one cell block, as CSR rows (one row per peak)."""

    indptr: NDArray[np.int64]
    """int64, shape (n_peaks + 1,), starting at 0."""
    indices: NDArray[np.uint16]
    """uint16, shape (indptr[-1],): cells counted from the block's start, rising in each row."""


class Atlas:
    """A finished atlas store; made by `Atlas.open`.

    Attributes
    ----------
    url
        Where it lies.
    n_peaks, n_cells
        Rows of `var` and of `obs`.
    window_bp, flank_bp
        Length of a peak's window and of what is stored beyond it on either side, in bp.
    blocks
        The cell blocks, in the cells' order.
    block_positives
        Number of positives (open peak in a cell) of each block.
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
        self.format_version = info.version
        self.provenance = info.provenance
        self.group = group
        self._found_whole: set[str] = set()

    @classmethod
    def open(cls, url: str | Path) -> Atlas:
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
        return anndata_io.read_table(self.group, "obs", url=self.url)

    @cached_property
    def var(self) -> pd.DataFrame:
        """One row per peak: chrom, start, end (0-based half-open), split, others; read once."""
        return anndata_io.read_table(self.group, "var", url=self.url)

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
        indptr_name, indices_name = label_arrays(block.index)
        edges = arrays.read_array(self.array(indptr_name), start_peak, stop + 1, url=self.url)
        if edges[0] < 0 or np.any(np.diff(edges) < 0):
            raise self._corrupt(indptr_name, f"block {block.index}", "row starts do not rise")
        indices = arrays.read_array(
            self.array(indices_name), int(edges[0]), int(edges[-1]), url=self.url
        )
        if len(indices) != edges[-1] - edges[0]:
            raise self._corrupt(indices_name, f"block {block.index}", "too few indices")
        self._check_cells(indices, block, indices_name)
        return LabelRows(edges - edges[0], indices)

    def _check_cells(self, indices: NDArray[np.uint16], block: CellBlock, name: str) -> None:
        """Raise unless all indices are cells of the block: compiled code trusts them unread."""
        highest = int(indices.max(initial=0))
        if highest == MAX_BLOCK_CELLS - 1:  # what a missing piece reads as
            self._check_pieces(name)
        if highest >= block.n_cells:
            what = f"a cell index past the block's {block.n_cells} cells"
            raise self._corrupt(name, f"block {block.index}", what)

    def _check_pieces(self, name: str) -> None:
        """Raise unless array `name` is stored whole; looked up once, as listing is slow."""
        if name not in self._found_whole:
            arrays.check_chunks(self.array(name), url=self.url)
            self._found_whole.add(name)

    def peak_rows(self, split: str) -> NDArray[np.int64]:
        """Return the rows of the peaks in one split ("train", "valid" or "test"), rising, int64."""
        if split not in SPLITS:
            raise UserInputError(f"There is no split {split!r}; use one of {', '.join(SPLITS)}.")
        return np.flatnonzero(self.var["split"].to_numpy() == split).astype(np.int64)

    def to_anndata(self) -> anndata.AnnData:
        """Return cells x peaks in memory: X uint8 CSR of ones, obs and var as stored."""
        import anndata

        parts = [self._block_matrix(block) for block in self.blocks]
        return anndata.AnnData(
            X=sparse.vstack(parts, format="csr"), obs=self.obs.copy(), var=self.var.copy()
        )

    def _block_matrix(self, block: CellBlock) -> sparse.csr_matrix:
        rows = self.labels(block.index)
        ones = np.ones(len(rows.indices), np.uint8)
        by_peak = sparse.csc_matrix(
            (ones, rows.indices.astype(np.int32), rows.indptr),
            shape=(block.n_cells, self.n_peaks),
        )
        return by_peak.tocsr()

    def verify(self, *, on_event: Subscriber = ignore) -> None:
        """Read everything and check it against itself.

        Raises
        ------
        CorruptStoreError
            Names the array and the block where stored bytes are not what was written.
        """
        from atlasstore._atlas_check import verify_atlas

        verify_atlas(self, on_event=on_event)

    def array(self, name: str) -> zarr.Array:
        """Return the zarr array `name`; a missing one is a CorruptStoreError."""
        try:
            return self.group[name]
        except KeyError as error:
            raise self._corrupt(name, "the whole array", "it is absent") from error

    def _corrupt(self, array: str, part: str, what: str) -> CorruptStoreError:
        return CorruptStoreError(
            f"{self.url}: array {array}, {part}: {what}; the store is damaged: make it again or "
            "copy it again."
        )


def _check_rows(start: int, stop: int, n_rows: int, unit: str) -> None:
    if not 0 <= start <= stop <= n_rows:
        raise IndexError(f"{unit} [{start}, {stop}) do not lie in [0, {n_rows})")
