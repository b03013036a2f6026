"""An AnnData in memory as an input: stored at a ``memory://`` URL, then read like any other.

The URL names the content, so that a killed `preprocess` is resumed by the same call on the same
counts, and another AnnData is another job.
"""

from __future__ import annotations

import sys
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import zarr

from atlasstore.errors import CountsError
from atlasstore.files import urls
from atlasstore.zarrio import tables
from atlasstore.zarrio.formats import describe_input

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import anndata

__all__ = ["input_urls", "is_in_memory", "release"]

_FOLDER = "memory://AnnData-in-memory"
_NAME = "adata.zarr"
"""Its stem is the sample's name, unless another one is given."""
_DIGITS = 16
_HELD: Counter[str] = Counter()
"""URL -> how many hold what is stored there: equal AnnData share one."""


def is_in_memory(url: str) -> bool:
    """Whether `input_urls` has stored an AnnData at `url`."""
    return url.startswith(f"{_FOLDER}/")


def input_urls(
    inputs: str | Path | anndata.AnnData | Sequence[str | Path | anndata.AnnData],
) -> tuple[str, ...]:
    """Return the URL of each input; an AnnData in memory is stored for it.

    Parameters
    ----------
    inputs
        One input or several. Of an AnnData its X, obs and var are copied, X compressed; `release`
        the URLs when they have been read.

    Raises
    ------
    CountsError
        When an AnnData has no X.
    """
    one = isinstance(inputs, str) or _is_anndata(inputs) or not hasattr(inputs, "__iter__")
    several: Sequence[Any] = [inputs] if one else list(inputs)  # type: ignore[arg-type]
    return tuple(_stored(item) if _is_anndata(item) else str(item) for item in several)


def release(inputs: Sequence[str]) -> None:
    """Delete what `input_urls` has stored for these URLs, unless someone else holds it as well."""
    for url in filter(is_in_memory, inputs):
        _HELD[url] -= 1
        if not _HELD[url]:
            del _HELD[url]
            urls.delete(url)


def _is_anndata(item: Any) -> bool:
    """Whether `item` is an AnnData: there is none before anndata is imported, which takes long."""
    loaded = sys.modules.get("anndata")
    return loaded is not None and isinstance(item, loaded.AnnData)


def _stored(adata: anndata.AnnData) -> str:
    """Store an AnnData, and return its URL."""
    if adata.X is None:
        raise CountsError(
            f"the AnnData in memory ({adata.n_obs:,} x {adata.n_vars:,}) has no X; put raw counts "
            "(cells x peaks) there, often kept in a layer."
        )
    begun = f"{_FOLDER}/{uuid.uuid4().hex}"
    _write(adata, begun)
    url = f"{_FOLDER}/{describe_input(begun)['sha256'][:_DIGITS]}/{_NAME}"
    fs, path = urls.filesystem(begun)
    if not urls.exists(url):
        fs.mv(path, urls.filesystem(url)[1], recursive=True)
    urls.delete(begun)
    _HELD[url] += 1
    return url


def _write(adata: anndata.AnnData, url: str) -> None:
    store = urls.zarr_store(url, read_only=False)
    group = zarr.open_group(store, mode="w", zarr_format=3)
    tables.write_element(group, "X", adata.X)
    for name in ("obs", "var"):
        tables.write_table(group, name, getattr(adata, name))
