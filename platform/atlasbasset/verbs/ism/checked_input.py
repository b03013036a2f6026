"""What `ism` is asked for, checked, and how its result is cut: known before any work begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.batch.model_source import digest_of
from atlasbasset.inference.groups import group_labels
from atlasbasset.inference.model import trunk_config
from atlasbasset.verbs.ism.work import ism_tables
from atlasstore.atlas.atlas import Atlas
from atlasstore.atlas.regions import PeakRegions, Regions, bed_regions, is_reverse, peak_regions
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from atlasbasset.inference.cell_labels import Obs
    from atlasstore.models.model_store import ModelStore
    from atlasstore.zarrio.table_plan import TablePlan

__all__ = ["IsmInput", "check_ism"]


@dataclass(frozen=True, eq=False, slots=True)
class IsmInput:
    """Checked input of `ism`, and how its result is cut."""

    regions: Regions
    span: tuple[int, int]
    """Positions of a window that are mutated, [start, stop)."""
    group_by: str | None
    n_groups: int
    tables: dict[str, TablePlan]
    inputs: list[str]
    """What the sequences come from."""
    notice: str | None
    """A sentence on cells that are in no group, if any."""

    @property
    def span_bp(self) -> int:
        """Mutated positions of each region."""
        return self.span[1] - self.span[0]

    @property
    def n_regions(self) -> int:
        """R."""
        return len(self.regions.table)

    @property
    def n_bytes(self) -> int:
        """Size of the tables before compression."""
        return sum(table.n_bytes for table in self.tables.values())

    def obs(self) -> pd.DataFrame:
        """Return the result's rows."""
        table, (first, last) = self.regions.table, self.span
        offset = np.where(is_reverse(table), self.regions.window_bp - last, first)
        return table.assign(span_start=table["window_start"] + offset)

    @property
    def strands(self) -> str | None:
        """A sentence on the regions' strands, where they have some."""
        if "strand" not in self.regions.table:
            return None
        return (
            f"{int(is_reverse(self.regions.table).sum()):,} of {self.n_regions:,} regions are on "
            "the - strand and read as their reverse complement, so are their scores."
        )

    def config(self) -> dict[str, Any]:
        """Return what decides the result in addition to the model, JSON values."""
        chosen = {}
        if isinstance(self.regions, PeakRegions):
            names = digest_of([str(name) for name in self.regions.table.index])
            chosen = {"n_peaks": self.n_regions, "peaks_sha256": names}
        return {**chosen, "span": self.span_bp, "group_by": self.group_by}


def check_ism(
    model: ModelStore,
    *,
    genome: str | Path | None,
    regions: str | Path | None,
    atlas: str | Path | Atlas | None,
    peaks: Sequence[str] | None,
    span: int | None,
    group_by: str | None,
    obs: Obs | None,
) -> IsmInput:
    """Plan `ism`, or raise what it raises of its options."""
    trunk = trunk_config(model)
    chosen, inputs = _regions(trunk.window_bp, genome, regions, atlas, peaks)
    mutated = _span(span, trunk.window_bp)
    labels = group_labels(model.obs, group_by, obs=obs, what=model.url)
    n_groups = None if labels is None else len(labels.names)
    tables = ism_tables(
        len(chosen.table),
        mutated[1] - mutated[0],
        width=trunk.embedding_dim,
        n_groups=n_groups,
    )
    columns = model.n_cells if n_groups is None else n_groups
    notice = None if labels is None else labels.notice()
    return IsmInput(chosen, mutated, group_by, columns, tables, inputs, notice)


def _regions(
    window_bp: int,
    genome: str | Path | None,
    regions: str | Path | None,
    atlas: str | Path | Atlas | None,
    peaks: Sequence[str] | None,
) -> tuple[Regions, list[str]]:
    """Return the regions, and what they were read from."""
    given = {"genome": genome, "regions": regions, "atlas": atlas, "peaks": peaks}
    names = [name for name, value in given.items() if value is not None]
    if genome is not None and regions is not None and len(names) == 2:
        found = bed_regions(regions, genome, window_bp=window_bp)
        return found, [str(regions), str(found.genome)]
    if atlas is not None and peaks is not None and len(names) == 2:
        store = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
        if store.window_bp != window_bp:
            raise UserInputError(
                f"{store.url} has windows of {store.window_bp} bp, but the model reads "
                f"{window_bp} bp; give its genome and a BED file instead."
            )
        return peak_regions(store, peaks), [store.url]
    got = f"({', '.join(names)})" if names else "none of them"
    raise UserInputError(
        "regions come from a genome and a BED file (genome, regions) or from an atlas and names of "
        f"its peaks (atlas, peaks); given were {got}."
    )


def _span(span: int | None, window_bp: int) -> tuple[int, int]:
    """Return the central positions of a window."""
    if span is None:
        return 0, window_bp
    if not 1 <= span <= window_bp:
        raise UserInputError(f"span must be 1 to {window_bp} bp (the model's window), got {span}.")
    start = window_bp // 2 - span // 2
    return start, start + span
