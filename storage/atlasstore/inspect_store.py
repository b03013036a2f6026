"""Opening any store: the one module that knows every kind.

A kind of store adds one row to `KINDS`; `open_store` and `inspect_store` follow. Files that are no
stores (AnnData, motifs, tables) are described by `inspect_files`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.atlas.atlas import Atlas
from atlasstore.atlas.split import held_out_overlap
from atlasstore.errors import CorruptStoreError, NotAStoreError, UserInputError
from atlasstore.events import Progress, Subscriber
from atlasstore.files import remote, urls
from atlasstore.inspect_files import Described, describe_file, describe_folder
from atlasstore.models.model_store import ModelStore
from atlasstore.progress import shown
from atlasstore.results.reader import AXES
from atlasstore.results.result import Result
from atlasstore.resume.ledger import open_finished
from atlasstore.zarrio import arrays, formats, metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd


__all__ = ["KINDS", "StoreKind", "StoreSummary", "inspect_store", "open_store"]


@dataclass(frozen=True, slots=True)
class StoreKind:
    """How one kind of store is opened, described and verified."""

    open: Callable[[str], Any]
    """URL -> the open store."""
    sizes: Callable[[Any], Mapping[str, Any]]
    """Open store -> its sizes, as JSON values, in the order to show them."""
    verify: Callable[[Any, Subscriber], None]
    """Read everything of an open store; raises CorruptStoreError."""


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """What a store is."""

    url: str
    format: str
    """Format name, such as ``atlasbasset.atlas``, or what else it is ("AnnData", "MEME motifs")."""
    version: int | None
    """Format version; None where it is no store of ours."""
    sizes: Mapping[str, Any]
    """Rows, blocks, share of positives and the like; with units in the names."""
    stored_bytes: int
    """Size on disk."""
    provenance: Mapping[str, Any]
    """Inputs with checksums, configuration, package versions, seed, time."""
    verified: bool
    """Whether every byte was read and found right."""

    def as_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return dataclasses.asdict(self)


def _atlas_sizes(atlas: Atlas) -> Mapping[str, Any]:
    return {
        "n_cells": atlas.n_cells,
        "n_peaks": atlas.n_peaks,
        "n_positives": atlas.n_positives,
        "density": atlas.density,
        "window_bp": atlas.window_bp,
        "flank_bp": atlas.flank_bp,
        "n_blocks": len(atlas.blocks),
        "block_cells": atlas.blocks[0].n_cells,
        "splits": _counts(atlas.var["split"]),
        "split_method": atlas.provenance.get("config", {}).get("split", "not recorded"),
        "held_out_overlap": held_out_overlap(
            atlas.var, window_bp=atlas.window_bp, flank_bp=atlas.flank_bp
        ),
        "samples": _counts(atlas.obs["sample"]),
        "obs_columns": [str(name) for name in atlas.obs.columns],
    }


def _counts(column: pd.Series[Any]) -> dict[str, int]:
    return {str(value): int(n) for value, n in column.value_counts(sort=False).items()}


def _model_sizes(model: ModelStore) -> Mapping[str, Any]:
    checkpoint = model.latest()
    state = {} if checkpoint is None else checkpoint.state
    return {
        "n_cells": model.n_cells,
        "n_batches": len(model.batches),
        "n_blocks": len(model.blocks),
        "block_cells": model.block_cells,
        "epochs_done": state.get("epoch"),
        "last_epoch": (state.get("history") or [None])[-1],
        "obs_columns": [str(name) for name in model.obs.columns],
    }


def _verify_model(model: ModelStore, on_event: Subscriber) -> None:
    metadata.check_root(model.url)
    _check_rows(len(model.obs), model.n_cells, f"{model.url}: obs")
    checkpoint = model.newest()
    model.check_metrics(checkpoint)
    for file in checkpoint.checksums:
        checkpoint.tensors(file.removesuffix(".safetensors"))
    group = urls.open_group(checkpoint.url)
    for name in checkpoint.tables:
        arrays.check_chunks(arrays.member(group, name, url=checkpoint.url), url=checkpoint.url)
    for block in model.blocks:
        for name in checkpoint.tables:
            checkpoint.rows(name, block.start, block.stop)
        on_event(Progress("checking cells", block.index + 1, len(model.blocks), "blocks"))


def _check_rows(n_rows: int, expected: int, place: str) -> None:
    if n_rows != expected:
        raise CorruptStoreError(
            f"{place}: {n_rows} rows where {expected} are expected; the store is damaged: make it "
            "again or copy it again."
        )


def _result_sizes(result: Result) -> Mapping[str, Any]:
    rows, columns = AXES.get(result.kind, ("rows", "columns"))
    return {
        "kind": result.kind,
        f"n_{rows}": result.n_obs,
        f"n_{columns}": result.n_vars,
        "scale": result.about.get("scale"),
        "dense_dtype": None if result.dense is None else str(result.dense.dtype),
        "tables": list(result.tables),
        "obs_columns": [str(name) for name in result.obs.columns],
    }


KINDS: dict[str, StoreKind] = {
    formats.ATLAS: StoreKind(
        open=Atlas.open,
        sizes=_atlas_sizes,
        verify=lambda atlas, on_event: atlas.verify(on_event=on_event),
    ),
    formats.MODEL: StoreKind(open=ModelStore.open, sizes=_model_sizes, verify=_verify_model),
    formats.RESULT: StoreKind(
        open=Result.open,
        sizes=_result_sizes,
        verify=lambda result, on_event: result.verify(on_event=on_event),
    ),
}
"""Format name -> how its stores are handled."""


def open_store(url: str | Path) -> Any:
    """Open whatever store is at `url`: an `Atlas`, a `ModelStore` or a `Result`.

    Examples
    --------
    >>> atlas = open_store("atlas.zarr")  # doctest: +SKIP
    >>> atlas.n_cells, atlas.n_peaks  # doctest: +SKIP

    Raises
    ------
    NotAStoreError
        Nothing is there, it is not ours, it is incomplete, or this package alone cannot open it.
    FormatVersionError
        It was written by a newer atlasbasset.
    """
    return _kind_of(str(url))[0].open(str(url))


def inspect_store(
    url: str | Path, *, verify: bool = False, on_event: Subscriber | None = None
) -> StoreSummary:
    """Say what is at `url`: a store, or a file or folder that a verb takes or writes.

    Parameters
    ----------
    url
        Path or URL of a store, an AnnData (``.h5ad``, ``.zarr``), MEME motifs, a table (``.csv``,
        ``.tsv``, ``.bed``, ``.parquet``), JSON, HDF5, a report's page, or a folder of files.
    verify
        Also read everything and check it; of stores.
    on_event
        Called with the progress of the check; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> inspect_store("atlas.zarr", verify=True).sizes["density"]  # doctest: +SKIP

    Raises
    ------
    NotAStoreError, FormatVersionError
        As `open_store`.
    UserInputError
        `verify` of what has no checksums.
    CorruptStoreError
        When `verify` finds damage.
    """
    if (other := _described(str(url))) is not None:
        return _file_summary(str(url), other, verify=verify)
    kind, info = _kind_of(str(url))
    store = kind.open(str(url))
    if verify:
        with shown(on_event) as subscriber:
            kind.verify(store, subscriber)
    return StoreSummary(
        url=str(url),
        format=info.format,
        version=info.version,
        sizes=kind.sizes(store),
        stored_bytes=_stored_bytes(url),
        provenance=info.provenance,
        verified=verify,
    )


def _described(url: str) -> Described | None:
    """Describe what is no store of ours; None where it is one, or should be."""
    fs, path = urls.filesystem(url)
    with remote.outage_errors(url):
        if fs.isfile(path):
            return describe_file(url)
        return describe_folder(url) if fs.isdir(path) else None


def _file_summary(url: str, found: Described, *, verify: bool) -> StoreSummary:
    if verify:
        raise UserInputError(
            f"{url} ({found.format}) has no checksums to verify; leave out --verify, which reads "
            "every byte of an atlas, model or result."
        )
    return StoreSummary(
        url=url,
        format=found.format,
        version=None,
        sizes=found.sizes,
        stored_bytes=_stored_bytes(url),
        provenance=found.provenance,
        verified=False,
    )


def _stored_bytes(url: str | Path) -> int:
    fs, path = urls.filesystem(url)
    return int(fs.du(path))


def _kind_of(url: str) -> tuple[StoreKind, formats.StoreInfo]:
    info = formats.check(open_finished(url), url=url)
    if info.format not in KINDS:
        raise NotAStoreError(
            f"{url} is of the format {info.format}, which the atlasbasset package opens: use "
            "atlasbasset.load_model(url) for a model, anndata.read_zarr(url) for a result."
        )
    return KINDS[info.format], info
