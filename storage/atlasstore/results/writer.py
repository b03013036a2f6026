"""Writing result stores from many places; see `results` for the layout and the reading side.

The driver creates everything but the rows of the big tables, workers write those shard by shard in
any order, and the driver finishes. Every step may run twice, also in two equal jobs at once.
"""

from __future__ import annotations

import json
import warnings
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.errors import ZarrUserWarning

from atlasstore.errors import CorruptStoreError, NotAStoreError
from atlasstore.files import urls
from atlasstore.files.staging import staged
from atlasstore.redaction import shown_values
from atlasstore.zarrio import arrays, formats
from atlasstore.zarrio import tables as table_io
from atlasstore.zarrio.overlay import FirstStays
from atlasstore.zarrio.publish import publish_root, refuse_published, rootless
from atlasstore.zarrio.table_plan import plan_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import anndata
    import pandas as pd
    from numpy.typing import NDArray
    from zarr.abc.store import Store

    from atlasstore.zarrio.table_plan import TablePlan

__all__ = [
    "ABOUT",
    "CHECKSUMS",
    "TableWriter",
    "create_result",
    "finish_result",
    "write_anndata",
    "write_rows",
]

ABOUT = "uns/scbasset"
CHECKSUMS = "crc32"
"""Attribute of a table that is written whole: CRC-32 of each shard's values."""

_LEVEL = 1
"""Of compression: more makes predictions hardly smaller (1 to 2 %) and takes twice the time."""
_ANNDATA = {"encoding-type": "anndata", "encoding-version": "0.1.0"}
_ARRAY = {"encoding-type": "array", "encoding-version": "0.2.0"}
_MAPPING = {"encoding-type": "dict", "encoding-version": "0.1.0"}
_GROUPS = ("layers", "obsm", "varm", "obsp", "varp")


def create_result(
    place: str | Path,
    *,
    kind: str,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    obsm: Mapping[str, NDArray[Any]],
    varm: Mapping[str, NDArray[Any]],
    tables: Sequence[TablePlan] = (),
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write all of a result but the rows of its big tables; nobody can open it yet.

    Parameters
    ----------
    place
        Where, over what an earlier run of the same job has left there.
    kind
        What it is: "denoised", "tf_activity", "ism", "variants".
    obs, var
        Its rows and columns.
    obsm, varm
        Name -> array with a row for each row of `obs` or `var`, written whole.
    tables
        What `write_rows` fills: "X", "obsm/...", "varm/..." or "layers/...".
    about
        Goes to ``uns["scbasset"]``: text, numbers, arrays, mappings of them.
    """
    with rootless(place) as root:
        for name, table in (("obs", obs), ("var", var)):
            table_io.write_table(root, name, table)
        for name in _GROUPS:
            table_io.write_element(root, name, {})
        for group, given in (("obsm", obsm), ("varm", varm)):
            for name, values in given.items():
                _write_whole(root, f"{group}/{name}", values)
        table_io.write_element(
            root, "uns", {"scbasset": {"kind": kind, **shown_values(about or {})}}
        )
        for plan in tables:
            _create_table(root, plan)


def _write_whole(root: zarr.Group, name: str, values: NDArray[Any]) -> None:
    """Write a table that is small, cut by rows as the big ones are: few pieces, whole rows each."""
    plan = plan_table(name, values.shape, str(values.dtype))
    shards = [arrays.checksum(values[start:stop]) for start, stop in plan.shards()]
    arrays.write_pieces(_create_table(root, plan, {CHECKSUMS: shards}), 0, values)


def _create_table(
    root: zarr.Group, plan: TablePlan, attributes: Mapping[str, Any] = MappingProxyType({})
) -> zarr.Array[Any]:
    kind = np.dtype(plan.dtype).kind
    array = arrays.create_array(
        root,
        plan.name,
        shape=plan.shape,
        dtype=np.dtype(plan.dtype),
        chunk_rows=plan.chunk_rows,
        shard_rows=plan.shard_rows,
        fill_value=float("nan") if kind == "f" else 0,
        axes=tuple(f"dim{i}" for i in range(len(plan.shape))),
        compression_level=_LEVEL,
    )
    array.attrs.update({**_ARRAY, **attributes})
    return array


def write_rows(
    place: str | Path, plan: TablePlan, start: int, values: NDArray[Any]
) -> dict[str, Any]:
    """Write the rows of one shard of a table that is not at hand; see `TableWriter.write`."""
    return TableWriter(place, plan).write(start, values)


class TableWriter:
    """Writes shards of a table, whose metadata are read once: a request less for every shard.

    Parameters
    ----------
    place
        What `create_result` was given.
    plan
        The table.
    """

    def __init__(self, place: str | Path, plan: TablePlan) -> None:
        self._place, self._plan = place, plan

    def write(self, start: int, values: NDArray[Any]) -> dict[str, Any]:
        """Write the rows of one shard.

        On an object store a shard that is there stays, and the receipt speaks of it: an equal job
        may have published it, from hardware that rounds otherwise.

        Parameters
        ----------
        start
            First row of the shard.
        values
            Its rows, of the plan's dtype.

        Returns
        -------
        dict
            The shard's receipt: ``table``, ``start``, ``crc32`` of the stored values and their
            ``bytes``.

        Raises
        ------
        NotAStoreError
            The store is gone.
        """
        plan, stop = self._plan, min(start + self._plan.shard_rows, self._plan.shape[0])
        is_shard = 0 <= start < stop and start % plan.shard_rows == 0
        if not is_shard or values.shape != (stop - start, *plan.shape[1:]):
            raise ValueError(f"rows {start} on, shape {values.shape}, are no shard of {plan}")
        if values.dtype != plan.dtype:
            raise ValueError(f"{values.dtype} given for {plan}")
        held = np.ascontiguousarray(values)
        arrays.write_pieces(self._array, start, held)
        if self._stayed(start):
            found = arrays.read_array(self._array, start, stop, url=str(self._place))
            held = np.ascontiguousarray(found)
        crc = arrays.checksum(held)
        return {"table": plan.name, "start": start, "crc32": crc, "bytes": held.nbytes}

    @cached_property
    def _array(self) -> zarr.Array[Any]:
        return _open_table(self._place, self._plan.name, store=self._store)

    @cached_property
    def _store(self) -> Store | FirstStays:
        """Where shards go; on a local disk over what is there: a lock keeps others out."""
        store = urls.zarr_store(self._place, read_only=False)
        return store if urls.is_local(self._place) else FirstStays(store, self._place)

    def _stayed(self, start: int) -> bool:
        """Whether another shard was there."""
        store = self._store
        return isinstance(store, FirstStays) and (
            arrays.row_piece(self._array, start) in store.refused
        )


def is_whole(place: str | Path, shard: Mapping[str, Any]) -> bool:
    """Whether a shard still is what was written.

    Parameters
    ----------
    place
        What `create_result` was given.
    shard
        What `write_rows` returned.
    """
    array, start = _open_table(place, shard["table"]), int(shard["start"])
    rows = (array.shards or array.chunks)[0]
    try:
        found = arrays.read_array(array, start, min(start + rows, array.shape[0]), url=str(place))
    except CorruptStoreError:
        return False
    return arrays.checksum(found) == int(shard["crc32"])


def _open_table(place: str | Path, name: str, *, store: Store | None = None) -> zarr.Array[Any]:
    store = store or urls.zarr_store(place, read_only=False)
    try:
        return zarr.open_array(store, path=name, mode="r+", zarr_format=3)
    except FileNotFoundError as error:
        raise NotAStoreError(f"{place}: table {name} is gone; run the same job again.") from error


def finish_result(
    place: str | Path,
    provenance: Mapping[str, Any],
    *,
    shards: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Publish a result: its root metadata is written last, where there is none yet.

    Parameters
    ----------
    place
        What `create_result` was given, every shard of its tables written since.
    provenance
        What `formats.provenance` returned; also goes to ``uns["scbasset"]`` as JSON text.
    shards
        What `write_rows` returned, in any order; `Result.verify` compares their checksums.

    Raises
    ------
    StoreExistsError
        A result was published there before.
    CorruptStoreError
        A shard was not written.
    """
    refuse_published(place)
    _finish_about(place, provenance, shards)
    publish_root(place, formats.RESULT, provenance, _ANNDATA)


def _finish_about(
    place: str | Path, provenance: Mapping[str, Any], shards: Iterable[Mapping[str, Any]]
) -> None:
    """Add provenance and checksums to what `create_result` wrote."""
    with rootless(place) as group:
        for name in ABOUT.split("/"):  # the same metadata as before, written again
            group = group.create_group(name, attributes=_MAPPING)
        table_io.write_element(group, "provenance", json.dumps(shown_values(provenance)))
        if found := _checksums(shards):
            table_io.write_element(group, "shards", found)


def _checksums(shards: Iterable[Mapping[str, Any]]) -> dict[str, NDArray[np.uint32]]:
    """Return table name, its slashes as dots -> CRC-32 of each shard, in order."""
    by_table: dict[str, dict[int, int]] = {}
    for shard in shards:
        by_table.setdefault(shard["table"].replace("/", "."), {})[shard["start"]] = shard["crc32"]
    return {
        name: np.array([crc for _, crc in sorted(found.items())], np.uint32)
        for name, found in by_table.items()
    }


def write_anndata(adata: anndata.AnnData, url: str | Path) -> None:
    """Write an AnnData in memory as a zarr v3 store at a path or URL, whole or not at all.

    Raises
    ------
    StoreExistsError
        When something exists at `url`.
    """
    with staged(url) as place, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        group = zarr.create_group(urls.zarr_store(place, read_only=False), zarr_format=3)
        adata.strings_to_categoricals()  # as write_zarr does, which in anndata 0.12 writes v2
        table_io.write_element(group, "/", adata)
        zarr.consolidate_metadata(group.store)
