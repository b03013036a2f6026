"""The table of `evaluate --baselines`, and how embeddings get their figures in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasbasset.metrics import cluster_agreement, label_score, neighbor_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.verbs.evaluate.rna import RnaCells

__all__ = ["BaselineRow", "BaselineTable", "Judge"]


@dataclass(frozen=True, slots=True)
class BaselineRow:
    """One baseline, or the model; None where a figure does not apply or was not asked for."""

    name: str
    n_cells: int
    """Cells that all figures stand on."""
    n_peaks: int
    """Training peaks that it has learned from; 0 for an oracle, which learns from held-out ones."""
    n_held_out: int = 0
    """Peaks that were predicted."""
    auroc_per_cell: float | None = None
    auroc_per_peak: float | None = None
    label_score: dict[int, float] | None = None
    """By k."""
    neighbor_score: dict[int, float] | None = None
    """By k."""
    ari: float | None = None


@dataclass(frozen=True, slots=True)
class BaselineTable:
    """The model and every baseline that could be had, on the same cells."""

    rows: tuple[BaselineRow, ...]
    left_out: tuple[str, ...]
    """A sentence for each that could not be had."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"rows": [asdict(row) for row in self.rows], "left_out": list(self.left_out)}

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each, indexed by name; a column for each k."""
        table = pd.DataFrame([_flat(row) for row in self.rows]).set_index("name")
        return table.dropna(axis="columns", how="all")


@dataclass(frozen=True, eq=False, slots=True)
class Judge:
    """What embeddings of the chosen cells are judged by."""

    cells: NDArray[np.int64]
    """Rows of the model's cells that are embedded."""
    label: NDArray[np.object_] | None
    """Of all cells of the model."""
    rna: RnaCells | None
    ks: tuple[int, ...]
    cluster: bool

    @property
    def judges(self) -> bool:
        """Whether there is anything to judge an embedding by."""
        return self.label is not None or self.rna is not None

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """Each cell's label as a number; cells without one are a group of their own."""
        if self.label is None:
            return None
        codes = pd.factorize(self.label[self.cells], use_na_sentinel=False)[0]
        return codes.astype(np.int64)

    def row(self, name: str, *, n_peaks: int, embedding: NDArray[np.float32] | None) -> BaselineRow:
        """Return a row with the figures of an embedding of the cells, if there is one."""
        if embedding is None:
            return BaselineRow(name, len(self.cells), n_peaks)
        labels = clusters = neighbors = None
        if self.label is not None:
            known = self.label[self.cells]
            labels = label_score(embedding, known, self.ks).mean
            clusters = cluster_agreement(embedding, known).ari if self.cluster else None
        if self.rna is not None:
            neighbors = self._neighbors(embedding, self.rna)
        return BaselineRow(
            name,
            len(self.cells),
            n_peaks,
            label_score=labels,
            neighbor_score=neighbors,
            ari=clusters,
        )

    def _neighbors(self, embedding: NDArray[np.float32], rna: RnaCells) -> dict[int, float]:
        _, ours, theirs = np.intersect1d(self.cells, rna.cells, return_indices=True)
        return neighbor_score(embedding[ours], rna.embedding[theirs], self.ks).mean


def _flat(row: BaselineRow) -> dict[str, Any]:
    found = asdict(row)
    for name in ("label_score", "neighbor_score"):
        found |= {f"{name}_{k}": share for k, share in (found.pop(name) or {}).items()}
    return found
