"""Result stores: predictions for cells x peaks as an AnnData zarr that anndata opens by itself.

::

    RESULT/                        zarr v3 group: anndata's encoding and our format stamp
      obs/, var/                   cells and peaks
      X                            (cells, peaks), dense, where asked for; sharded by runs of cells
      obsm/X_scbasset              (cells, E)   } the factored form, always there:
      obs/scbasset_intercept       (cells,)     } X = obsm @ varm.T on the linear scale
      varm/scbasset_sequence       (peaks, E)   }
      uns/scbasset                 scale, provenance (JSON text), what else the writer says

A store appears whole or not at all (see `staging`). One shard is written at a time, so memory does
not grow with the number of cells.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from atlasstore import anndata_io, arrays, formats, urls
from atlasstore._result_writer import (
    EMBEDDING,
    SEQUENCE,
    DensePlan,
    Factors,
    ResultWriter,
    plan_dense,
    write_anndata,
    write_result,
)
from atlasstore.blocks import runs
from atlasstore.errors import CorruptStoreError
from atlasstore.events import Progress, Subscriber, ignore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import pandas as pd
    import zarr
    from numpy.typing import NDArray

__all__ = [
    "DensePlan",
    "Factors",
    "Result",
    "ResultWriter",
    "plan_dense",
    "write_anndata",
    "write_result",
]


class Result:
    """A finished result store; made by `Result.open`.

    Attributes
    ----------
    url
        Where it lies.
    provenance
        Inputs with checksums, configuration, package versions, seed, time.
    """

    def __init__(self, url: str, group: zarr.Group, info: formats.StoreInfo) -> None:
        self.url, self.provenance, self._group = url, info.provenance, group

    @classmethod
    def open(cls, url: str | Path) -> Result:
        """Open the result at `url` for reading.

        Raises
        ------
        NotAStoreError
            Nothing is there, it is no result, or the result is incomplete.
        FormatVersionError
            It was written by a newer atlasbasset.
        """
        group = urls.open_group(url)
        return cls(str(url), group, formats.check(group, formats.RESULT, url=str(url)))

    def __repr__(self) -> str:
        return f"Result({self.url!r}: {self.n_cells} cells x {self.n_peaks} peaks)"

    @property
    def n_cells(self) -> int:
        """Rows of `obs`."""
        return int(self._array(f"obsm/{EMBEDDING}").shape[0])

    @property
    def n_peaks(self) -> int:
        """Rows of `var`."""
        return int(self._array(f"varm/{SEQUENCE}").shape[0])

    @property
    def dense(self) -> zarr.Array | None:
        """The dense table (cells, peaks), unread; None in a factored result."""
        return self._array("X") if "X" in self._group else None

    @cached_property
    def obs(self) -> pd.DataFrame:
        """One row per cell; read once."""
        return anndata_io.read_table(self._group, "obs", url=self.url)

    @cached_property
    def var(self) -> pd.DataFrame:
        """One row per peak; read once."""
        return anndata_io.read_table(self._group, "var", url=self.url)

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """What the writer said: ``scale`` and others."""
        import anndata

        return dict(anndata.io.read_elem(self._group["uns/scbasset"]))

    def linear(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return predictions on the linear scale for cells [start, stop), from the factors.

        Returns
        -------
        numpy.ndarray
            float32, shape (stop - start, n_peaks): ``embedding @ sequence.T``.
        """
        cells = arrays.read_array(self._array(f"obsm/{EMBEDDING}"), start, stop, url=self.url)
        sequence = self._array(f"varm/{SEQUENCE}")
        product: NDArray[np.float32] = (
            cells @ arrays.read_array(sequence, 0, self.n_peaks, url=self.url).T
        )
        return product

    def verify(self, *, on_event: Subscriber = ignore) -> None:
        """Read everything; raise CorruptStoreError where stored bytes are not what was written."""
        arrays.check_group(self._group, url=self.url)
        for name, table, n_rows in (
            ("obs", self.obs, self.n_cells),
            ("var", self.var, self.n_peaks),
        ):
            if len(table) != n_rows:
                raise CorruptStoreError(
                    f"{self.url}: {name}: {len(table)} rows where {n_rows} are expected; the store "
                    "is damaged: make it again or copy it again."
                )
        arrays.read_array(self._array(f"obsm/{EMBEDDING}"), 0, self.n_cells, url=self.url)
        arrays.read_array(self._array(f"varm/{SEQUENCE}"), 0, self.n_peaks, url=self.url)
        if self.dense is None:
            return
        for start, stop in runs(self.n_cells, (self.dense.shards or self.dense.chunks)[0]):
            arrays.read_array(self.dense, start, stop, url=self.url)
            on_event(Progress("checking predictions", stop, self.n_cells, "cells"))

    def _array(self, name: str) -> zarr.Array:
        if name not in self._group:
            raise CorruptStoreError(
                f"{self.url}: array {name} is absent; the store is damaged: make it again or copy "
                "it again."
            )
        return self._group[name]
