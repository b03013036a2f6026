"""The resolved arguments of `preprocess`, as they go into the atlas's provenance."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasstore.errors import UserInputError
from atlasstore.zarrio.blocks import MIN_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasstore.atlas.split import SplitMethod
    from atlasstore.inputs.samples import Sample

__all__ = ["Settings", "as_texts", "counts_place"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What decides which atlas is made; not how much memory or which workers make it."""

    samples: tuple[Sample, ...]
    genome: str
    peaks: str | None
    min_cell_fraction: float
    min_peaks_per_cell: int
    window_bp: int
    flank_bp: int
    split: SplitMethod
    split_fractions: tuple[float, float, float]
    holdout: tuple[str, ...]
    seed: int
    min_mapq: int
    skip_bad: bool
    strict: bool
    allow_unknown_windows: bool
    matrix: str = "X"
    """Where an AnnData's counts are."""
    drop_unplaced_peaks: bool = False
    min_blocks: int = MIN_BLOCKS
    """Cell blocks at least."""

    @property
    def files(self) -> list[str]:
        """Everything given that is read, but the genome."""
        given = [text for sample in self.samples for text in (sample.url, sample.barcodes)]
        return [name for name in dict.fromkeys([*given, self.peaks]) if name is not None]

    def as_config(self) -> dict[str, Any]:
        """Return JSON values: ``inputs`` (URLs) and ``samples`` (names), and the rest as it is."""
        rest = dataclasses.asdict(self)
        del rest["samples"]
        lists = [sample.barcodes for sample in self.samples]
        columns = [dict(sample.columns) for sample in self.samples]
        return {
            "inputs": [sample.url for sample in self.samples],
            "samples": [sample.name for sample in self.samples],
            "barcodes": lists if any(lists) else None,
            "columns": columns if any(columns) else None,
            **rest,
        }


def as_texts(given: str | Path | Sequence[str | Path] | None) -> tuple[str, ...]:
    """Return one or several paths or names as text; none for None."""
    if given is None:
        return ()
    several = [given] if isinstance(given, (str, Path)) else given
    return tuple(str(item) for item in several)


def counts_place(layer: str | None, *, use_raw: bool) -> str:
    """Return where an AnnData's counts are: ``X``, ``layers/NAME`` or ``raw/X``.

    Raises
    ------
    UserInputError
        When both are asked for, or a layer of no name.
    """
    if layer is not None and (use_raw or not layer.strip("/")):
        raise UserInputError(
            f"The layer {layer!r} {'and raw were' if use_raw else 'was'} asked for; name one layer "
            "(--layer NAME), or use raw (--use-raw)."
        )
    if layer is not None:
        return f"layers/{layer}"
    return "raw/X" if use_raw else "X"
