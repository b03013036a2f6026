"""`import_weights`, `export_weights`: published weight files to and from model stores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from atlasbasset.core.config import TrunkConfig
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.state import RunState
from atlasbasset.inference.model import Model, as_model
from atlasbasset.weights import PublishedWeights, check_weights, read_keras, read_scvi, write_keras
from atlasbasset.weights.batch_order import Batches, number_batches
from atlasstore.cards.store_card import refresh_card
from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing, staged, staged_path
from atlasstore.files.text import numbered_lines
from atlasstore.inputs.cell_table import read_cell_table
from atlasstore.models.model_store import ModelStore
from atlasstore.zarrio import formats
from atlasstore.zarrio.blocks import plan_cell_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ImportReport", "WeightFormat", "export_weights", "import_weights"]

WeightFormat = Literal["auto", "tensorflow", "scvi"]
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What was imported."""

    model: str
    """URL of the new model store."""
    format: str
    """tensorflow or scvi."""
    n_cells: int
    batches: tuple[str, ...]
    """Names of the batches; empty without batch correction."""
    named_by: str
    """Where the cells' names come from: given, file, or numbered."""
    ordered_by: str | None
    """Where the batches' order comes from: given, categories, natural order, or file; None without
    batch correction."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "model": self.model,
            "format": self.format,
            "n_cells": self.n_cells,
            "batches": list(self.batches),
            "named_by": self.named_by,
            "ordered_by": self.ordered_by,
        }


def import_weights(
    path: str | Path,
    *,
    out: str | Path,
    obs_names: str | Path | Sequence[str] | None = None,
    batches: str | Path | Sequence[str] | pd.Series[str] | pd.Categorical | None = None,
    batch_key: str | None = None,
    batch_order: Sequence[str] | None = None,
    format: WeightFormat = "auto",
) -> ImportReport:
    """Make a model store of published weights.

    Parameters
    ----------
    path
        The released TensorFlow weights (.h5), or scvi-tools' ``model.pt``, its folder, or its
        state dict (torch.save or .safetensors); a local path.
    out
        URL of the new model store.
    obs_names
        The cells' names in the file's order: a text file, one a line, or a list. By default those
        in the file (scvi-tools keeps them), else ``cell_0``, ``cell_1``, ...
    batches
        Each cell's batch, likewise, for a batch-corrected model whose file does not tell
        (TensorFlow). As the released code does, batches are numbered in the order of the
        categories where these are categories, else in natural order (donor2 before donor10).
    batch_key
        `batches` is then a table of cells (CSV, TSV, AnnData) that has this column; its rows are
        matched by name where the model's cells have names, else in the model's order.
    batch_order
        Names of the batches in the model's order, where it is another.
    format
        "tensorflow", "scvi", or auto: by the file's first bytes.

    Examples
    --------
    >>> import_weights("best_model.h5", out="model.zarr", obs_names="cells.txt")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When the file is not of the published model, its shapes do not fit together, a value is not
        finite, or names or batches do not fit it.
    StoreExistsError
        When something exists at `out`.
    """
    refuse_existing(out)
    kind = _format_of(path, format)
    weights = read_keras(path) if kind == "tensorflow" else read_scvi(path)
    check_weights(weights, path)
    n_cells = len(weights.intercept)
    names, named_by = _cell_names(weights, obs_names, n_cells)
    if batch_key is not None:
        named = names if named_by != "numbered" else None
        batches = _column(batches, batch_key, named)
    found = _batches(weights, batches, batch_order, n_cells)
    batch_names = [] if found is None else list(found.names)
    obs = pd.DataFrame(index=pd.Index(names, dtype=object, name="cell"))
    if found is not None:
        obs["batch"] = pd.Categorical.from_codes(found.codes, categories=pd.Index(batch_names))
        obs["scbasset_batch"] = found.codes
    _write_model(str(out), weights, obs, batch_names, source={"path": str(path), "format": kind})
    ordered_by = None if found is None else found.ordered_by
    return ImportReport(str(out), kind, n_cells, tuple(batch_names), named_by, ordered_by)


def _format_of(path: str | Path, given: str) -> Literal["tensorflow", "scvi"]:
    if given not in ("auto", "tensorflow", "scvi"):
        raise UserInputError(f"format must be auto, tensorflow or scvi, got {given!r}.")
    local = urls.local_path(path)
    if not local.exists():
        raise UserInputError(f"{path} does not exist; check the path (a local one is needed).")
    if given != "auto":
        return "tensorflow" if given == "tensorflow" else "scvi"
    if local.is_dir():
        return "scvi"
    with local.open("rb") as file:
        return "tensorflow" if file.read(8) == _HDF5_MAGIC else "scvi"


def _lines(given: str | Path | Sequence[str]) -> list[str]:
    """Return the entries of a list, or of a text file with one a line."""
    if not isinstance(given, str | Path):
        return [str(value) for value in given]
    lines = (line.strip() for _, line in numbered_lines(given, error=UserInputError))
    return [line for line in lines if line]


def _cell_names(
    weights: PublishedWeights, given: str | Path | Sequence[str] | None, n_cells: int
) -> tuple[list[str], str]:
    if given is None:
        numbered = [f"cell_{i}" for i in range(n_cells)]
        found, named_by = weights.obs_names or numbered, "file" if weights.obs_names else "numbered"
    else:
        found, named_by = _lines(given), "given"
    if len(found) != n_cells or len(set(found)) != n_cells:
        raise UserInputError(
            f"the model has {n_cells} cells, but {len(found)} names ({len(set(found))} different) "
            "were found; give each cell's name once, in the order of the model's cells."
        )
    return list(found), named_by


def _column(
    table: str | Path | Sequence[str] | pd.Series[str] | pd.Categorical | None,
    key: str,
    names: list[str] | None,
) -> pd.Series[str]:
    """Return a column of a table of cells, in the order of `names` where there are some."""
    if not isinstance(table, str | Path):
        raise UserInputError("batch_key names a column of a table; give the table (batches).")
    found = read_cell_table(table)
    if key not in found:
        listed = ", ".join(map(str, found.columns))
        raise UserInputError(f"{table} has no column {key!r}; its columns: {listed}.")
    if names is None:
        return found[key]
    missing = [name for name in names if name not in found.index]
    if missing:
        raise UserInputError(
            f"{table} lacks {len(missing)} of the model's {len(names)} cells ({missing[0]}, ...); "
            "give a table of all of them."
        )
    return found[key].loc[names]


def _batches(
    weights: PublishedWeights,
    given: str | Path | Sequence[str] | pd.Series[str] | pd.Categorical | None,
    order: Sequence[str] | None,
    n_cells: int,
) -> Batches | None:
    """Return the cells' batches; None without correction."""
    if weights.batch_embedding is None:
        if given is not None or order is not None:
            raise UserInputError("the model has no batch layer; import it without batches.")
        return None
    n_batches = len(weights.batch_embedding)
    if given is None:
        return _stored_batches(weights, order, n_batches)
    labels = _lines(given) if isinstance(given, str | Path) else given
    return number_batches(labels, order, n_cells=n_cells, n_batches=n_batches)


def _stored_batches(
    weights: PublishedWeights, order: Sequence[str] | None, n_batches: int
) -> Batches:
    """Return the batches that the file tells; an order names them."""
    if weights.batch is None:
        raise UserInputError(
            f"the model corrects for {n_batches} batches, but its file does not say which cell "
            "is of which; give each cell's batch (--batches)."
        )
    names = tuple(order or weights.batches or map(str, range(n_batches)))
    if len(set(names)) != n_batches:
        raise UserInputError(
            f"the model has {n_batches} batches, but the order names {len(set(names))}; name each "
            "once."
        )
    return Batches(weights.batch, names, "given" if order else "file")


def _write_model(
    out: str, weights: PublishedWeights, obs: pd.DataFrame, batches: list[str], *, source: Any
) -> None:
    config = {
        "train": TrainConfig.recipe("paper", trunk=weights.trunk_config()).as_json(),
        "atlas": None,
        "imported": source,
    }
    with staged(out) as place:
        store = ModelStore.create(
            place,
            obs=obs,
            config=config,
            block_cells=plan_cell_blocks(len(obs))[0].n_cells,
            batches=batches,
            provenance=formats.provenance([source["path"]], {"imported": source}, None),
        )
        _write_checkpoint(store, weights)
        refresh_card(place)


def _write_checkpoint(store: ModelStore, weights: PublishedWeights) -> None:
    writer = store.write_checkpoint(0)
    tables = {"cells/embedding": weights.embedding, "cells/intercept": weights.intercept}
    writer.begin({name: values.shape[1:] for name, values in tables.items()})
    for name, values in tables.items():
        for block in store.blocks:
            writer.write_rows(name, block.start, values[block.start : block.stop])
    writer.write_tensors("trunk", weights.trunk)
    if weights.batch_embedding is not None and weights.batch_intercept is not None:
        tensors = {
            "batch_embedding": weights.batch_embedding,
            "batch_intercept": weights.batch_intercept,
        }
        writer.write_tensors("batches", tensors)
    writer.commit(RunState().as_json())


def export_weights(model: str | Path | Model, path: str | Path) -> Path:
    """Write a model's weights as the released TensorFlow code's ``load_weights`` reads them.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    path
        The new .h5 file, local. Cells are in the model's order; with batch correction the batch
        layer's outputs are in the order of ``model.batches``. Names of neither are kept.

    Returns
    -------
    Path
        The file.

    Examples
    --------
    >>> export_weights("model.zarr", "best_model.h5")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When the model is not of the released architecture.
    StoreExistsError
        When `path` exists.
    """
    target = urls.local_path(path)
    refuse_existing(target)
    loaded = as_model(model)
    _check_exportable(loaded)
    weights = _published(loaded)
    check_weights(weights, loaded.url)  # whatever else the trunk may come to have is not lost
    with staged_path(target) as place:
        write_keras(place, weights)
    return target


def _published(model: Model) -> PublishedWeights:
    """Return the model in the released architecture: cells take the trunk's readout in."""
    trunk = {name: t.cpu().numpy() for name, t in model.trunk.state_dict().items()}
    names = ("bottleneck.readout_weight", "bottleneck.readout_offset")
    weight, offset = (trunk.pop(name, None) for name in names)
    embedding, intercept = model.cell_embedding, model.intercept
    batch_embedding, batch_intercept = model.batch_embedding, model.batch_intercept
    if weight is not None and offset is not None:
        embedding, intercept = embedding @ weight.T, intercept + embedding @ offset
        if batch_embedding is not None and batch_intercept is not None:
            batch_intercept = batch_intercept + batch_embedding @ offset
            batch_embedding = batch_embedding @ weight.T
    return PublishedWeights(trunk, embedding, intercept, batch_embedding, batch_intercept)


def _check_exportable(model: Model) -> None:
    if model.trunk.config.stem_pool_lead:
        raise UserInputError(
            f"{model.url} was imported from scvi-tools, whose first pooling is offset by one "
            "position; the released TensorFlow model has no such setting, so it would predict "
            "otherwise: keep it as it is."
        )
    ours, released = model.trunk.config, TrunkConfig()
    for name in TrunkConfig.__dataclass_fields__:
        if name not in ("dropout", "bn_momentum") and getattr(ours, name) != getattr(
            released, name
        ):
            raise UserInputError(
                f"{model.url} has {name} = {getattr(ours, name)}, but the released TensorFlow "
                f"model is fixed at {getattr(released, name)}; only the published architecture "
                "can be exported."
            )
