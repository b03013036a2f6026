"""`Atlas`: reading by rows and blocks, as AnnData, and verification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasstore.atlas.reader import AtlasReader
from atlasstore.events import Subscriber, ignore

if TYPE_CHECKING:
    import anndata

__all__ = ["Atlas"]


class Atlas(AtlasReader):
    """A finished atlas store; made by `Atlas.open`. `AtlasReader` lists its attributes."""

    def to_anndata(self, *, lazy: bool = False) -> anndata.AnnData:
        """Return cells x peaks: X uint8 CSR of ones, obs and var as stored.

        Parameters
        ----------
        lazy
            X is a dask array, one CSR chunk per cell block, each read when it is needed: choose
            cells and peaks as in any AnnData, then ``.to_memory()`` or ``.write_h5ad(...)``.
        """
        import anndata
        from scipy import sparse

        from atlasstore.atlas.as_anndata import block_matrix, lazy_matrix

        if lazy:
            x = lazy_matrix(self)
        else:
            parts = [block_matrix(self, block.index) for block in self.blocks]
            x = sparse.vstack(parts, format="csr")
        return anndata.AnnData(X=x, obs=self.obs.copy(), var=self.var.copy())

    def __reduce__(self) -> tuple[Any, ...]:
        return Atlas.open, (self.url,)

    def verify(self, *, on_event: Subscriber = ignore) -> None:
        """Read everything and check it against itself.

        Raises
        ------
        CorruptStoreError
            Names the array and the block where stored bytes are not what was written.
        """
        from atlasstore.atlas._check import verify_atlas

        verify_atlas(self, on_event=on_event)
