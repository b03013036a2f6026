"""Writing result stores shard by shard; see `results` for the layout and the reading side."""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.errors import ZarrUserWarning

from atlasstore import anndata_io, arrays, formats, urls
from atlasstore.blocks import chunk_and_shard, runs
from atlasstore.staging import staged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import anndata
    import pandas as pd
    import zarr
    from numpy.typing import NDArray

__all__ = ["DensePlan", "Factors", "ResultWriter", "plan_dense", "write_anndata", "write_result"]

EMBEDDING, INTERCEPT, SEQUENCE = "X_scbasset", "scbasset_intercept", "scbasset_sequence"

_CHUNK_BYTES = 1 << 20
_SHARD_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Factors:
    """The factored form of predictions, and what its rows are."""

    obs: pd.DataFrame
    """One row per cell."""
    var: pd.DataFrame
    """One row per peak."""
    cell_embedding: NDArray[np.float32]
    """(N, E)."""
    intercept: NDArray[np.float32]
    """(N,)."""
    sequence: NDArray[np.float32]
    """(P, E): the trunk's embedding of each peak."""


@dataclass(frozen=True, slots=True)
class DensePlan:
    """How the dense table is cut: known before anything is written."""

    shape: tuple[int, int]
    """(cells, peaks)."""
    dtype: str
    chunk_cells: int
    """Cells in a chunk, the unit of reading."""
    shard_cells: int
    """Cells in a shard, the unit of writing."""

    @property
    def n_bytes(self) -> int:
        """Bytes before compression."""
        return self.shape[0] * self.shape[1] * np.dtype(self.dtype).itemsize

    def shards(self) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of each shard's cells, half-open."""
        return runs(self.shape[0], self.shard_cells)


def plan_dense(n_cells: int, n_peaks: int, *, dtype: str) -> DensePlan:
    """Cut a dense table into chunks of 1 MB and shards of 32 MB, whole cells each."""
    row_bytes = max(1, n_peaks * np.dtype(dtype).itemsize)
    chunk, shard = chunk_and_shard(
        n_cells, row_bytes, chunk_bytes=_CHUNK_BYTES, shard_bytes=_SHARD_BYTES
    )
    return DensePlan((n_cells, n_peaks), dtype, chunk, shard)


class ResultWriter:
    """Takes the dense table of a result, shard by shard; made by `write_result`."""

    def __init__(self, group: zarr.Group, plan: DensePlan | None) -> None:
        self._plan = plan
        self._dense: zarr.Array | None = None if plan is None else _new_dense(group, plan)
        self._written: set[int] = set()

    def write(self, start: int, values: NDArray[Any]) -> None:
        """Write the rows of one shard of the plan; `start` is its first cell."""
        if self._plan is None or self._dense is None:
            raise ValueError("the result has no dense table")
        expected = dict(self._plan.shards()).get(start)
        if expected is None or values.shape != (expected - start, self._plan.shape[1]):
            raise ValueError(f"rows {start} on, shape {values.shape}, are no shard of {self._plan}")
        self._dense[start:expected] = values
        self._written.add(start)

    def check_whole(self) -> None:
        """Raise ValueError unless every shard was written."""
        planned = {start for start, _ in self._plan.shards()} if self._plan is not None else set()
        if planned != self._written:
            raise ValueError(f"{len(planned - self._written)} shards were not written")


def _new_dense(group: zarr.Group, plan: DensePlan) -> zarr.Array:
    array = arrays.create_array(
        group,
        "X",
        shape=plan.shape,
        dtype=np.dtype(plan.dtype),
        chunk_rows=plan.chunk_cells,
        shard_rows=plan.shard_cells,
        axes=("cell", "peak"),
    )
    array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    return array


@contextmanager
def write_result(
    url: str | Path,
    factors: Factors,
    *,
    dense: DensePlan | None,
    about: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Iterator[ResultWriter]:
    """Write a result store; it is at `url` when the block ends without an error.

    Parameters
    ----------
    url
        Where; nothing may lie there.
    factors
        The factored form, written first.
    dense
        The plan of the dense table, whose every shard is then written inside the block; None for
        a factored result.
    about
        Goes to ``uns["scbasset"]``, beside the provenance: text, numbers, arrays.
    provenance
        What `formats.provenance` returned.

    Raises
    ------
    StoreExistsError
        When anything lies at `url`.
    """
    with staged(url) as place:
        group = urls.create_group(place)
        formats.begin(group, formats.RESULT)
        group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        _write_factors(group, factors, {**about, "provenance": json.dumps(dict(provenance))})
        writer = ResultWriter(group, dense)
        yield writer
        writer.check_whole()
        anndata_io.finish(group.store, formats.RESULT, provenance)


def _write_factors(group: zarr.Group, factors: Factors, about: Mapping[str, Any]) -> None:
    obs = anndata_io.tidy(factors.obs).assign(**{INTERCEPT: factors.intercept})
    anndata_io.write_element(group, "obs", obs)
    anndata_io.write_table(group, "var", factors.var)
    anndata_io.write_element(group, "obsm", {EMBEDDING: factors.cell_embedding})
    anndata_io.write_element(group, "varm", {SEQUENCE: factors.sequence})
    for name in ("layers", "obsp", "varp"):
        anndata_io.write_element(group, name, {})
    anndata_io.write_element(group, "uns", {"scbasset": dict(about)})


def write_anndata(adata: anndata.AnnData, url: str | Path) -> None:
    """Write an AnnData in memory as a zarr v3 store at a path or URL, whole or not at all.

    Raises
    ------
    StoreExistsError
        When anything lies at `url`.
    """
    import anndata

    with staged(url) as place, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        with anndata.settings.override(zarr_write_format=3, auto_shard_zarr_v3=False):
            adata.write_zarr(urls.zarr_store(place, read_only=False))
