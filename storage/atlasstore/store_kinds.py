"""Every kind of store: how it is opened, measured and verified, in one table.

A kind of store adds one row to `KINDS`; opening, inspecting, listing and cards follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.atlas.atlas import Atlas
from atlasstore.atlas.split import held_out_overlap
from atlasstore.errors import CorruptStoreError, NotAStoreError
from atlasstore.events import Progress, Subscriber
from atlasstore.models.fall_back import check_checkpoint
from atlasstore.models.model_store import ModelStore
from atlasstore.results.reader import AXES
from atlasstore.results.result import Result
from atlasstore.resume.ledger import open_finished
from atlasstore.zarrio import formats, metadata, outline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["KINDS", "Shape", "StoreKind", "kind_of"]

Shape = tuple[tuple[str, int], ...]
"""Plural name and length of each axis."""
_PLACE = ("chrom", "start", "end")


@dataclass(frozen=True, slots=True)
class StoreKind:
    """How one kind of store is opened, described and verified."""

    open: Callable[[str], Any]
    """URL -> the open store."""
    sizes: Callable[[Any], Mapping[str, Any]]
    """Open store -> its sizes, as JSON values, in the order to show them."""
    shape: Callable[[Any], Shape]
    """Open store -> its axes, told by its metadata alone."""
    verify: Callable[[Any, Subscriber], None]
    """Read everything of an open store; raises CorruptStoreError."""


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
        "splits": outline.count_values(atlas.group, "var", "split", url=atlas.url),
        "split_method": atlas.provenance.get("config", {}).get("split", "not recorded"),
        "held_out_overlap": held_out_overlap(
            outline.read_columns(atlas.group, "var", *_PLACE, "split", url=atlas.url),
            window_bp=atlas.window_bp,
            flank_bp=atlas.flank_bp,
        ),
        "samples": outline.count_values(atlas.group, atlas.obs_name, "sample", url=atlas.url),
        "obs_columns": outline.column_names(atlas.group, atlas.obs_name, url=atlas.url),
    }


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
        "obs_columns": model.obs_columns(),
    }


def _verify_model(model: ModelStore, on_event: Subscriber) -> None:
    metadata.check_root(model.url)
    _check_rows(len(model.obs), model.n_cells, f"{model.url}: obs")
    checkpoint = model.newest()
    model.check_metrics(checkpoint)
    n_blocks = len(model.blocks)
    check_checkpoint(
        model,
        checkpoint,
        lambda done: on_event(Progress("checking cells", done, n_blocks, "blocks")),
    )


def _check_rows(n_rows: int, expected: int, place: str) -> None:
    if n_rows != expected:
        raise CorruptStoreError(
            f"{place}: {n_rows} rows where {expected} are expected; the store is damaged: make it "
            "again or copy it again."
        )


def _result_shape(result: Result) -> Shape:
    rows, columns = AXES.get(result.kind, ("rows", "columns"))
    return (rows, result.n_obs), (columns, result.n_vars)


def _result_sizes(result: Result) -> Mapping[str, Any]:
    return {
        "kind": result.kind,
        **{f"n_{axis}": length for axis, length in _result_shape(result)},
        "scale": result.scale,
        "dense_dtype": None if result.dense is None else str(result.dense.dtype),
        "tables": list(result.tables),
        "obs_columns": result.obs_columns(),
    }


KINDS: dict[str, StoreKind] = {
    formats.ATLAS: StoreKind(
        open=Atlas.open,
        sizes=_atlas_sizes,
        shape=lambda atlas: (("cells", atlas.n_cells), ("peaks", atlas.n_peaks)),
        verify=lambda atlas, on_event: atlas.verify(on_event=on_event),
    ),
    formats.MODEL: StoreKind(
        open=ModelStore.open,
        sizes=_model_sizes,
        shape=lambda model: (("cells", model.n_cells),),
        verify=_verify_model,
    ),
    formats.RESULT: StoreKind(
        open=Result.open,
        sizes=_result_sizes,
        shape=_result_shape,
        verify=lambda result, on_event: result.verify(on_event=on_event),
    ),
}
"""Format name -> how its stores are handled."""


def kind_of(url: str) -> tuple[StoreKind, formats.StoreInfo]:
    """Return how the store at `url` is handled, and what it says it is.

    Raises
    ------
    NotAStoreError
        Nothing is there, it is not ours, it is incomplete, or this package alone cannot open it.
    FormatVersionError
        It was written by a newer atlasbasset.
    """
    info = formats.check(open_finished(url), url=url)
    if info.format not in KINDS:
        raise NotAStoreError(
            f"{url} is of the format {info.format}, which the atlasbasset package opens: use "
            "atlasbasset.load_model(url) for a model, anndata.read_zarr(url) for a result."
        )
    return KINDS[info.format], info
