"""`annotate`: labels that came after training, stored in the model.

Train, embed, cluster, name the clusters, interpret: labels come last. Once stored they are columns
of the model's obs as if the atlas had had them, for every verb that groups cells.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from atlasbasset.inference.cell_labels import joined_columns
from atlasbasset.inference.model import Model
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.files.locks import claimed
from atlasstore.models.model_store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from atlasbasset.inference.cell_labels import Obs
    from atlasstore.events import Subscriber

__all__ = ["AnnotateReport", "annotate", "check_annotate"]


@dataclass(frozen=True, slots=True)
class AnnotateReport:
    """What was stored."""

    model: str
    """URL of the model."""
    n_cells: int
    columns: dict[str, int]
    """Column -> cells that have a label in it."""
    replaced: tuple[str, ...]
    """Those that were there before."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "replaced": list(self.replaced)}


def annotate(
    model: str | Path | Model,
    cells: Obs,
    *,
    columns: Sequence[str] | None = None,
    on_event: Subscriber = ignore,
) -> AnnotateReport:
    """Store labels of cells in a model, matched by the cells' names.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    cells
        A CSV, TSV or AnnData at a path or URL, or a pandas table, indexed by the cells' names.
        Cells that it lacks get no label.
    columns
        Which of its columns; by default all that the model's obs lacks. Those named replace columns
        of the same name.
    on_event
        Hears `Notice`.

    Raises
    ------
    UserInputError
        The table cannot be read, names a cell twice, has none of the model's cells, or lacks a
        column; or a column is one that the model depends on.
    """
    store = model.store if isinstance(model, Model) else ModelStore.open(model)
    labels, told, report = check_annotate(store, cells, columns=columns)
    if told:
        on_event(Notice(told))
    with claimed(store.url, on_event=on_event):
        store.write_labels(labels)
    return report


def check_annotate(
    store: ModelStore, cells: Obs, *, columns: Sequence[str] | None
) -> tuple[pd.DataFrame, str | None, AnnotateReport]:
    """Return the labels, what is to be said of them, and the report; or raise as `annotate`."""
    labels, told = joined_columns(store.obs, cells, columns=columns, what=store.url)
    batch_key = dict(store.config.get("train", {})).get("batch_key")
    if batch_key in labels:
        raise UserInputError(
            f"{store.url} was corrected for the batches in {batch_key!r}, which therefore stay as "
            "they are; name other columns."
        )
    counts = {str(name): int(labels[name].notna().sum()) for name in labels}
    replaced = tuple(name for name in counts if name in store.obs)
    return labels, told, AnnotateReport(store.url, store.n_cells, counts, replaced)
