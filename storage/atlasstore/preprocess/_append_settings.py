"""Settings and report of `append`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasstore.inputs.samples import Sample

__all__ = ["AppendReport", "AppendSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AppendSettings:
    """The resolved arguments, as they go into the atlas's provenance."""

    samples: tuple[Sample, ...]
    peaks: str | None
    min_peaks_per_cell: int
    min_mapq: int
    skip_bad: bool
    matrix: str = "X"
    """Where an AnnData's counts are."""

    def as_config(self) -> dict[str, Any]:
        """Return JSON values."""
        return dataclasses.asdict(self)

    @property
    def files(self) -> list[str]:
        """Everything given that is read."""
        given = [text for sample in self.samples for text in (sample.url, sample.barcodes)]
        return [name for name in dict.fromkeys([*given, self.peaks]) if name is not None]


@dataclass(frozen=True, slots=True)
class AppendReport:
    """What `append` added."""

    atlas: str
    """URL of the atlas."""
    n_cells_in: int
    """Cells of the new inputs."""
    n_cells_few_peaks: int
    """Of these, removed for having fewer than `min_peaks_per_cell` open peaks."""
    n_cells_emptied: int
    """Of these, removed for having none of the atlas's peaks open."""
    n_cells_added: int
    """Cells added."""
    n_cells: int
    """Cells the atlas has now."""
    n_positives_added: int
    """Pairs of new cell and peak in which the peak is open."""
    n_blocks: int
    """Cell blocks the atlas has now."""
    samples: dict[str, int]
    """New sample -> cells added."""
    left_out: dict[str, str]
    """Sample -> why it was left out, with `skip_bad`."""
    input_bytes: int
    """Size of the inputs; each is read once."""
    dry_run: bool = False
    """Whether nothing was added. Open pairs then count all peaks of the inputs, and cells too."""
    peak_memory_bytes: int | None = None
    """Of a dry run: memory expected at most, of this process (of each of a cluster's workers)."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Undo `as_json`."""
        return cls(**values)
