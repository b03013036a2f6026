"""Result stores: predictions as an AnnData zarr that anndata opens by itself.

::

    RESULT/                        zarr v3 group: anndata's encoding and our format stamp
      obs/, var/                   rows and columns: cells and peaks, cells and motifs, ...
      X, obsm/..., layers/...      the big tables, where asked for; sharded by ranges of rows
      obsm/X_scbasset              } the factored form, always there: predictions are linear in
      varm/scbasset_sequence       } the embedding of a sequence
      uns/scbasset                 kind, provenance (JSON text), checksums of the shards, and
                                   what else the writer says

The root's metadata is written last: the output is atomic. One shard is written at a
time, so memory does not grow with the number of rows.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import zarr

from atlasstore.errors import CorruptStoreError
from atlasstore.notebook import html_table, named
from atlasstore.results._check import read_rows, root_stamp, tables_of
from atlasstore.results.writer import ABOUT
from atlasstore.resume.ledger import open_finished
from atlasstore.text_units import count
from atlasstore.zarrio import formats, metadata, outline, tables
from atlasstore.zarrio.names import EMBEDDING, SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["AXES", "ResultReader"]

AXES: Mapping[str, tuple[str, str]] = {
    "denoised": ("cells", "peaks"),
    "gene_accessibility": ("cells", "genes"),
    "tf_activity": ("cells", "motifs"),
    "ism": ("regions", "groups"),
    "variants": ("variants", "groups"),
}
"""Kind -> plural names of the rows and columns."""


class ResultReader:
    """A finished result store, read by rows; made by `open`.

    Attributes
    ----------
    url
        Where it is stored.
    provenance
        Inputs with checksums, configuration, package versions, seed, time.
    """

    def __init__(self, url: str, group: zarr.Group, info: formats.StoreInfo) -> None:
        self.url, self.provenance, self._group = url, info.provenance, group
        self.stamp = ""
        """`root_stamp` when it was opened."""

    @classmethod
    def open(cls, url: str | Path) -> Self:
        """Open the result at `url` for reading.

        Raises
        ------
        NotAStoreError
            Nothing is there, it is no result, or the result is incomplete.
        FormatVersionError
            It was written by a newer atlasbasset.
        """
        stamp = root_stamp(str(url))
        group = open_finished(url)
        found = cls(str(url), group, formats.check(group, formats.RESULT, url=str(url)))
        found.stamp = stamp
        return found

    def __repr__(self) -> str:
        rows, columns = AXES.get(self.kind, ("rows", "columns"))
        return f"Result({self.url!r}: {self.kind}, {self.n_obs} {rows} x {self.n_vars} {columns})"

    def _repr_html_(self) -> str:
        rows, columns = AXES.get(self.kind, ("rows", "columns"))
        lines = [
            ("kind", self.kind),
            (f"{rows} x {columns}", f"{count(self.n_obs)} x {count(self.n_vars)}"),
            ("scale", str(self.about.get("scale", "not recorded"))),
            ("tables", named(self.tables)),
            ("obs", named(self.obs.columns)),
            ("var", named(self.var.columns)),
            ("made", str(self.provenance.get("created", "unknown"))),
        ]
        return html_table(f"Result {self.url}", lines)

    @cached_property
    def kind(self) -> str:
        """What it is: "denoised", "tf_activity", "ism", "variants"."""
        return outline.read_text(self._group, f"{ABOUT}/kind", url=self.url) or "denoised"

    @cached_property
    def scale(self) -> str | None:
        """The scale of X: "linear", "sigmoid" or "probability"; None where it is not recorded."""
        return outline.read_text(self._group, f"{ABOUT}/scale", url=self.url)

    def obs_columns(self) -> list[str]:
        """Return the names of the columns of `obs`, which is not read."""
        return outline.column_names(self._group, "obs", url=self.url)

    @cached_property
    def n_obs(self) -> int:
        """Rows of `obs`."""
        return metadata.n_rows(self._group, "obs", url=self.url)

    @cached_property
    def n_vars(self) -> int:
        """Rows of `var`."""
        return metadata.n_rows(self._group, "var", url=self.url)

    @cached_property
    def obs(self) -> pd.DataFrame:
        """One row per cell, region or variant; read once."""
        return tables.read_table(self._group, "obs", url=self.url)

    @cached_property
    def var(self) -> pd.DataFrame:
        """One row per peak, motif or group; read once."""
        return tables.read_table(self._group, "var", url=self.url)

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """What the writer said: ``kind``, ``scale`` and others."""
        return dict(tables.read_element(self._group, ABOUT, url=self.url))

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of all tables: "X", "obsm/...", "varm/...", "layers/..."."""
        return tuple(array.path for array in tables_of(self._group))

    @property
    def dense(self) -> zarr.Array[Any] | None:
        """The table X, unread; None in a factored result."""
        return self.table("X") if self.has("X") else None

    def has(self, name: str) -> bool:
        """Whether there is a table `name`."""
        return name in self._group

    def table(self, name: str) -> zarr.Array[Any]:
        """Return the table `name`, unread; `rows` reads with checks.

        Parameters
        ----------
        name
            "X", "obsm/X_scbasset", "obsm/ism", ...

        Raises
        ------
        CorruptStoreError
            When there is none.
        """
        found = self._group.get(name)
        if not isinstance(found, zarr.Array):
            raise CorruptStoreError(
                f"{self.url}: array {name} is absent; the store is damaged: make it again or copy "
                "it again."
            )
        return found

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return rows [start, stop) of a table, 0-based half-open; all by default.

        Raises
        ------
        CorruptStoreError
            When a shard is lost or damaged; the message names it.
        """
        table = self.table(name)
        end = table.shape[0] if stop is None else stop
        return read_rows(table, start, end, url=self.url, stamp=self.stamp)

    def linear(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return predictions on the linear scale for rows [start, stop), from the factors.

        Returns
        -------
        numpy.ndarray
            float32, shape (stop - start, n_vars): the rows' factors times the columns'.

        Raises
        ------
        CorruptStoreError
            When a factor is lost or damaged.
        """
        by_row, by_column = (
            (EMBEDDING, SEQUENCE) if self.has(f"obsm/{EMBEDDING}") else (SEQUENCE, EMBEDDING)
        )
        product: NDArray[np.float32] = (
            self.rows(f"obsm/{by_row}", start, stop) @ self.rows(f"varm/{by_column}").T
        )
        return product
