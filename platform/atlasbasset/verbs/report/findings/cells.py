"""The cells that a report is about: all of a small atlas, a seeded sample of a large one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.inference.cell_labels import CellLabels, cell_labels, check_batches, opened_table
from atlasbasset.metrics import sample_rows
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.report.options import ReportOptions
    from atlasstore.models.model_store import ModelStore

__all__ = ["Keys", "SampledCells", "read_keys", "sample_cells"]

_BATCH = "batch"


@dataclass(frozen=True, eq=False, slots=True)
class Keys:
    """Labels and batches of all cells; None where they were not asked for."""

    label: CellLabels | None
    batch: CellLabels | None
    notices: tuple[str, ...]
    """Sentences on cells without either."""
    lone_batch: str | None = None
    """The batch that all cells are of, by obs "batch"; None where a column was named."""


def read_keys(model: ModelStore, options: ReportOptions) -> Keys:
    """Return the columns of labels and batches.

    Raises
    ------
    UserInputError
        obs lacks a column, or the batches are none.
    """
    table = _table(options.obs, options)
    found, notices = [], []
    for key in (options.label_key, options.batch_key):
        labels = (
            None if key is None else cell_labels(model.obs, key, obs=table, what=str(model.url))
        )
        found.append(labels)
        notices.append(None if labels is None else labels.notice())
    label, batch = found
    if batch is not None:
        notices.append(check_batches(batch, model.url, least=2))
    lone = None if options.batch_key is not None else _lone_batch(model)
    return Keys(label, batch, tuple(sentence for sentence in notices if sentence), lone)


def _lone_batch(model: ModelStore) -> str | None:
    if _BATCH not in model.obs:
        return None
    names = model.obs[_BATCH].astype(str).unique()
    return str(names[0]) if len(names) == 1 else None


def _table(obs: Obs | None, options: ReportOptions) -> Obs | None:
    if obs is None:
        return None
    if options.label_key is None and options.batch_key is None:
        raise UserInputError(
            "a table of cells (obs) is there for its labels; name the column (label_key, "
            "batch_key)."
        )
    return opened_table(obs)


@dataclass(frozen=True, eq=False, slots=True)
class SampledCells:
    """n of a model's N cells."""

    rows: NDArray[np.int64]
    """int64 (n,), rising: rows of the model's cells."""
    names: tuple[str, ...]
    embedding: NDArray[np.float32]
    """float32 (n, E): the cells' own, without batch terms."""
    intercept: NDArray[np.float32]
    """float32 (n,)."""
    depth: NDArray[np.float64] | None
    """Open peaks of each, float64 (n,); None where the model does not have it."""
    label: CellLabels | None
    batch: CellLabels | None
    n_all: int
    """N."""
    lone_batch: str | None = None
    """As in `Keys`."""

    @property
    def is_sample(self) -> bool:
        """Whether cells were left out."""
        return len(self.rows) < self.n_all


def sample_cells(model: Model, keys: Keys, *, max_cells: int, seed: int) -> SampledCells:
    """Return at most `max_cells` of a model's cells, in their order."""
    rows = sample_rows(model.n_cells, max_cells, seed=seed)
    obs = model.obs
    return SampledCells(
        rows=rows,
        names=tuple(str(name) for name in obs.index[rows]),
        embedding=model.cell_embedding[rows],
        intercept=model.intercept[rows],
        depth=obs["n_peaks"].to_numpy(np.float64)[rows] if "n_peaks" in obs else None,
        label=_of_rows(keys.label, rows),
        batch=_of_rows(keys.batch, rows),
        n_all=model.n_cells,
        lone_batch=keys.lone_batch,
    )


def _of_rows(labels: CellLabels | None, rows: NDArray[np.int64]) -> CellLabels | None:
    return None if labels is None else CellLabels(labels.key, labels.names, labels.codes[rows])
