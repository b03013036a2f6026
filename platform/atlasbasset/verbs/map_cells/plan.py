"""The plan of `map`: which cells and peaks, and what solving holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.run import Workers
from atlasbasset.verbs.map_cells.map_cells import MapReport, check_mapping, map_cells
from atlasbasset.verbs.map_cells.work import solving_bytes
from atlasbasset.verbs.shared.plan import PlannedModel, workers_in_full
from atlasstore.atlas.atlas import Atlas
from atlasstore.plans import Plan
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from pathlib import Path

    from atlasbasset.core.compute import Compute
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.shared.split import Split
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["MapPlan", "plan_map_cells"]


@dataclass(frozen=True, eq=False, repr=False)
class MapPlan(Plan[MapReport]):
    """Checked input of `map_cells`, and its sizes; made by `plan_map_cells`."""

    model: PlannedModel
    atlas: Atlas
    out: str
    l2: float
    split: Split
    n_peaks: int
    """Peaks that are fitted."""
    workers: Workers

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would map {self.atlas.url} onto {self.model.url}"

    @property
    def memory_bytes(self) -> int:
        """Of a worker while it solves cells."""
        return solving_bytes(self.atlas, self.n_peaks, self.model.trunk.embedding_dim)

    def lines(self) -> Lines:
        """Return cells, peaks, workers and memory."""
        n_blocks, each = len(self.atlas.blocks), "per worker " if self.workers.count else ""
        return [
            ("cells", f"{count(self.atlas.n_cells)} in {count(n_blocks)} blocks"),
            ("peaks", f"{count(self.n_peaks)} of the {self.split} split"),
            ("workers", workers_in_full(self.workers)),
            ("memory", f"about {size(self.memory_bytes)} {each}while solving"),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "n_cells": self.atlas.n_cells,
            "n_blocks": len(self.atlas.blocks),
            "n_peaks": self.n_peaks,
            "workers": self.workers.count,
            "memory_bytes": self.memory_bytes,
        }

    def _run(self, on_event: Subscriber) -> MapReport:
        return map_cells(
            self.model.given,
            self.atlas,
            out=self.out,
            l2=self.l2,
            split=self.split,
            compute=self.model.compute,
            workers=self.workers.count,
            gpus_per_worker=self.workers.gpus,
            cpus_per_worker=self.workers.cpus,
            on_event=on_event,
        )


def plan_map_cells(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    out: str | Path,
    l2: float = 10.0,
    split: Split = "train",
    compute: Compute = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
) -> MapPlan:
    """Plan `map_cells`: check its input and compute its sizes; nothing is written.

    Parameters are those of `map_cells`, and so are the errors that are raised.

    Examples
    --------
    >>> plan = plan_map_cells("model.zarr", "new_atlas.zarr", out="mapped.zarr")  # doctest: +SKIP
    >>> plan.run().as_json()["n_converged"]  # doctest: +SKIP
    """
    pool = Workers(workers, cpus_per_worker, gpus_per_worker)
    cells = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    planned = PlannedModel.of(model, compute=compute)
    rows = check_mapping(planned.store, cells, out=out, l2=l2, split=split, workers=pool)
    return MapPlan(planned, cells, str(out), l2, split, len(rows), pool)
