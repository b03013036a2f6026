"""Labels of mapped cells, from the cells of the model that they are mapped onto."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from atlasbasset.metrics.label_transfer import transfer_labels
from atlasstore.files.locks import claimed
from atlasstore.models.model_store import ModelStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import CellLabels
    from atlasstore.events import Subscriber

__all__ = ["MappedLabels", "write_labels"]

NOVEL = 0.99
"""Novelty above which a cell is counted as of a type that the reference lacks: 1 % of its own."""


@dataclass(frozen=True, slots=True)
class MappedLabels:
    """What was written beside the cells."""

    columns: tuple[str, str, str]
    """Of obs: label, confidence, novelty."""
    counts: dict[str, int]
    """Cells of each label."""
    mean_confidence: float
    n_novel: int
    """Cells of a novelty above 0.99; 1 % of cells that are not new are such."""
    n_reference: int
    """Reference cells that voted."""
    accuracy: float
    """Share of reference cells, each left out, that the vote labels right."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "columns": list(self.columns)}


def write_labels(
    out: str,
    label: CellLabels,
    reference: NDArray[np.float32],
    *,
    on_event: Subscriber,
) -> MappedLabels:
    """Label the cells of a mapped model and store that in it, beside its obs.

    Parameters
    ----------
    out
        URL of the mapped model.
    label
        Of the reference's cells.
    reference
        float32 (N, E): their embeddings.
    """
    store = ModelStore.open(out)
    query = store.newest().rows("cells/embedding", 0, store.n_cells)
    found = transfer_labels(reference, label.values(), query)
    columns = _columns(label.key)
    values = (pd.Categorical(found.label), found.confidence, found.novelty)
    table = pd.DataFrame(dict(zip(columns, values, strict=True)), index=store.obs.index)
    with claimed(out, on_event=on_event):
        store.write_labels(table)
    return MappedLabels(
        columns,
        {str(name): int(n) for name, n in table[columns[0]].value_counts().items()},
        float(found.confidence.mean()),
        int((found.novelty > NOVEL).sum()),
        found.n_reference,
        found.accuracy,
    )


def _columns(key: str) -> tuple[str, str, str]:
    return f"mapped_{key}", f"mapped_{key}_confidence", f"mapped_{key}_novelty"
