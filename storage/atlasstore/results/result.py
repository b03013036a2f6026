"""`Result`: reading by rows, as AnnData, and verification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.errors import CorruptStoreError
from atlasstore.events import Subscriber, ignore
from atlasstore.results.reader import ResultReader
from atlasstore.zarrio import arrays, metadata

if TYPE_CHECKING:
    import anndata

__all__ = ["Result"]


class Result(ResultReader):
    """A finished result store; made by `Result.open`. `ResultReader` lists its attributes."""

    def to_anndata(self, *, lazy: bool = True) -> anndata.AnnData:
        """Return an AnnData; where no X is stored, it is predicted from the factors.

        Parameters
        ----------
        lazy
            X and what is in layers, obsm and varm are dask arrays, read or computed block by
            block when asked for; otherwise all is in memory.

        Raises
        ------
        TooLittleMemoryError
            When not `lazy` and the tables are larger than the memory that is free.
        """
        from atlasstore.results.as_anndata import result_anndata

        return result_anndata(self, lazy=lazy)

    def verify(self, *, on_event: Subscriber = ignore) -> None:
        """Read everything; raise CorruptStoreError where stored bytes are not what was written."""
        from atlasstore.results._check import check_result

        metadata.check_root(self.url)
        arrays.check_group(self._group, url=self.url)
        for name, table, n_rows in (
            ("obs", self.obs, self.n_obs),
            ("var", self.var, self.n_vars),
        ):
            if len(table) != n_rows:
                raise CorruptStoreError(
                    f"{self.url}: {name}: {len(table)} rows where {n_rows} are expected; the store "
                    "is damaged: make it again or copy it again."
                )
        check_result(
            self._group,
            {"obs": self.n_obs, "var": self.n_vars},
            self.about.get("shards", {}),
            url=self.url,
            on_event=on_event,
        )
