"""`annotate`: labels and maps that came after training, stored in the model.

Train, embed, cluster, name the clusters, interpret: labels come last. Once stored they are columns
of the model's obs as if the atlas had had them, for every verb that groups cells. The maps that the
clusters were seen on (UMAP, ...) come along, into the obsm of every result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from atlasbasset.inference.cell_labels import joined_columns, new_columns, opened_table
from atlasbasset.inference.cell_maps import joined_maps
from atlasbasset.inference.model import Model
from atlasbasset.verbs.shared.plan import notice_lines
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.files.locks import claimed
from atlasstore.models.model_store import ModelStore
from atlasstore.plans import Plan
from atlasstore.text_units import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import anndata
    import numpy as np
    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import Obs
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["AnnotatePlan", "AnnotateReport", "annotate", "label_lines", "plan_annotate"]


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
    obsm: tuple[str, ...] = ()
    """Maps of the cells that were stored."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "replaced": list(self.replaced), "obsm": list(self.obsm)}


@dataclass(frozen=True, eq=False, repr=False)
class AnnotatePlan(Plan[AnnotateReport]):
    """Checked input of `annotate`; made by `plan_annotate`."""

    store: ModelStore
    labels: pd.DataFrame
    """Columns to store, a row per cell."""
    notice: str | None
    """A sentence on cells, names and columns that do not match, if any."""
    report: AnnotateReport
    """What there will be."""
    maps: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Arrays to store, a row per cell."""

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would store labels in {self.store.url}"

    def lines(self) -> Lines:
        """Return columns and their cells, and what is left out."""
        return [*label_lines(self.report), *notice_lines("left out", self.notice)]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return self.report.as_json()

    def _run(self, on_event: Subscriber) -> AnnotateReport:
        if self.notice:
            on_event(Notice(self.notice))
        with claimed(self.store.url, on_event=on_event):
            self.store.write_labels(self.labels, maps=self.maps)
        return self.report


def annotate(
    model: str | Path | Model,
    cells: Obs | anndata.AnnData,
    *,
    columns: Sequence[str] | None = None,
    obsm: Sequence[str] | None = None,
    on_event: Subscriber | None = None,
) -> AnnotateReport:
    """Store labels and maps of cells in a model, matched by the cells' names.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    cells
        A CSV, TSV or AnnData at a path or URL, a pandas table or an AnnData, indexed by the cells'
        names. Cells that it lacks get no label.
    columns
        Which of its columns; by default all that the model's obs lacks. Those named replace columns
        of the same name.
    obsm
        Which arrays of an AnnData's obsm (UMAP, ...); by default those of at most 3 dimensions.
        Results that are made from then on have them in their obsm.
    on_event
        Called with `Notice`; by default notices are printed.

    Examples
    --------
    >>> annotate("model.zarr", "clusters.csv", columns=["leiden"])  # doctest: +SKIP

    Raises
    ------
    UserInputError
        The table cannot be read, names a cell twice, has none of the model's cells, or lacks a
        column; or a column is one that the model depends on.
    """
    return plan_annotate(model, cells, columns=columns, obsm=obsm).run(on_event=on_event)


def plan_annotate(
    model: str | Path | Model,
    cells: Obs | anndata.AnnData,
    *,
    columns: Sequence[str] | None = None,
    obsm: Sequence[str] | None = None,
) -> AnnotatePlan:
    """Plan `annotate`: check its input; nothing is written.

    Parameters are those of `annotate`, and so are the errors that are raised.

    Examples
    --------
    >>> print(plan_annotate("model.zarr", "clusters.csv"))  # doctest: +SKIP
    """
    store = model.store if isinstance(model, Model) else ModelStore.open(model)
    maps = joined_maps(store.obs.index, cells, keys=obsm)
    given = cells if isinstance(cells, str | Path | pd.DataFrame) else cells.obs
    table = opened_table(given)
    if maps and columns is None and not new_columns(store.obs, table):
        labels, notice = pd.DataFrame(index=store.obs.index), None
    else:
        labels, notice = joined_columns(store.obs, table, columns=columns, what=store.url)
    batch_key = dict(store.config.get("train", {})).get("batch_key")
    if batch_key in labels:
        raise UserInputError(
            f"{store.url} was corrected for the batches in {batch_key!r}, which therefore stay as "
            "they are; name other columns."
        )
    counts = {str(name): int(labels[name].notna().sum()) for name in labels}
    replaced = tuple(name for name in counts if name in store.obs)
    report = AnnotateReport(store.url, store.n_cells, counts, replaced, tuple(maps))
    return AnnotatePlan(store, labels, notice, report, maps)


def label_lines(report: AnnotateReport) -> Lines:
    """Return each column with the number of cells that have a label in it."""
    replaced = set(report.replaced)
    columns = [
        (name, f"{count(n)} of {count(report.n_cells)} cells" + (", replaced" * (name in replaced)))
        for name, n in report.columns.items()
    ]
    return [*columns, *(("map", name) for name in report.obsm)]
