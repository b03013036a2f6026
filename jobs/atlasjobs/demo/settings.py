"""The demo's settings, and the folder that records them so that a stopped demo can be resumed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json

if TYPE_CHECKING:
    from pathlib import Path

    from atlasbasset.core.compute import Compute

__all__ = ["DemoFolder", "DemoSettings"]

_RECORD = "demo.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSettings:
    """What the demo simulates and how it trains.

    Few peaks, each open in many cells, few epochs of the fast recipe, and small batches, so many
    steps: the full-size model then learns in minutes on two CPU cores.
    """

    n_cells: int = 1000
    """Cells simulated."""
    n_peaks: int = 1800
    """Peaks simulated."""
    n_cell_types: int = 4
    """Cell types simulated."""
    n_motifs: int = 8
    """Motifs planted."""
    density: float = 0.3
    """Share of open peaks in a cell of median depth, 0..1."""
    split_fractions: tuple[float, float, float] = (0.85, 0.05, 0.10)
    """Shares of training, validation and test peaks."""
    epochs: int = 4
    """Epochs trained."""
    batch_size: int = 16
    """Peaks in a step."""
    n_auroc_peaks: int = 250
    """Training peaks that each epoch's auROC is taken on."""
    n_backgrounds: int = 100
    """Shuffled peaks into which each motif is put."""
    n_mutated_peaks: int = 8
    """Held-out peaks that are mutated in silico."""
    predicted_region: str = "chr1:0-60000"
    """Predicted along the genome, for the tracks."""
    seed: int = 0
    """Of the simulation, the split and the training."""
    compute: Compute = "auto"
    """Arithmetic of the convolutions."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "split_fractions": list(self.split_fractions)}


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """The demo's folder and what is in it."""

    root: Path

    @classmethod
    def claim(cls, out: str, settings: DemoSettings) -> DemoFolder:
        """Make the folder, or resume one that the same demo began.

        Raises
        ------
        UserInputError
            `out` is not a local path.
        StoreExistsError
            `out` exists and is not a demo of this version and these settings.
        """
        if not urls.is_local(out):
            raise UserInputError(f"--out is {out}; the demo writes to a local folder, give a path.")
        folder = cls(urls.local_path(out))
        record = {"version": version("atlasbasset"), "settings": settings.as_json()}
        if folder.root.exists():
            folder._check(record)
        else:
            text = json.dumps(record, indent=2) + "\n"
            urls.write_bytes(folder.root / _RECORD, text.encode())
        return folder

    def _check(self, record: dict[str, Any]) -> None:
        try:
            found = parsed_json((self.root / _RECORD).read_text())
        except (OSError, ValueError):
            found = None
        if found != record:
            what = "holds no demo" if found is None else "is a demo of another version or settings"
            raise StoreExistsError(
                f"{self.root} exists and {what}; give another --out, or delete it first."
            )

    @property
    def simulated(self) -> Path:
        """Folder of counts, genome, peaks, motifs, truth."""
        return self.root / "simulated"

    @property
    def atlas(self) -> Path:
        """The atlas store."""
        return self.root / "atlas.zarr"

    @property
    def model(self) -> Path:
        """The model store."""
        return self.root / "model.zarr"

    @property
    def cells(self) -> Path:
        """The cells as AnnData."""
        return self.root / "cells.h5ad"

    @property
    def held_out_peaks(self) -> Path:
        """BED of the test peaks."""
        return self.root / "held-out-peaks.bed"

    @property
    def denoised(self) -> Path:
        """Denoised accessibility as AnnData zarr."""
        return self.root / "denoised.zarr"

    @property
    def activity(self) -> Path:
        """TF activity as AnnData zarr."""
        return self.root / "activity.zarr"

    @property
    def ism(self) -> Path:
        """Mutagenesis as AnnData zarr."""
        return self.root / "ism.zarr"

    @property
    def tracks(self) -> Path:
        """Folder of tracks."""
        return self.root / "tracks"

    @property
    def reported(self) -> tuple[Path, ...]:
        """What the report is about beside the model; tracks need an extra."""
        found = (self.atlas, self.denoised, self.activity, self.ism)
        return (*found, self.tracks) if self.tracks.exists() else found

    @property
    def report(self) -> Path:
        """The page of what the model learned."""
        return self.root / "report.html"

    @property
    def summary(self) -> Path:
        """All figures as JSON."""
        return self.root / "summary.json"

    @property
    def picture(self) -> Path:
        """Embedding, loss and auROC as PNG."""
        return self.root / "demo.png"
