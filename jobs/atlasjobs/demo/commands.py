"""The commands that do what the demo does, stage by stage, as a person would type them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasjobs.demo.settings import DemoFolder, DemoSettings

__all__ = ["MUTATED_BP", "DemoCommands"]

MUTATED_BP = 300
"""Centre of a peak that is mutated: the part in which sites are planted."""


@dataclass(frozen=True, slots=True)
class DemoCommands:
    """Each stage's command, without the program's name."""

    where: DemoFolder
    settings: DemoSettings

    @property
    def simulate(self) -> str:
        """Make an atlas with known answers."""
        s = self.settings
        return (
            f"simulate {self.where.simulated} --cells {s.n_cells} --peaks {s.n_peaks} --cell-types "
            f"{s.n_cell_types} --n-motifs {s.n_motifs} --density {s.density} --seed {s.seed}"
        )

    @property
    def preprocess(self) -> str:
        """Bring its counts into an atlas."""
        fractions = " ".join(str(share) for share in self.settings.split_fractions)
        return (
            f"preprocess {self.where.simulated}/counts.h5ad --genome "
            f"{self.where.simulated}/genome.fa --out {self.where.atlas} --split-fractions "
            f"{fractions} --seed {self.settings.seed}"
        )

    @property
    def train(self) -> str:
        """Train on it."""
        s = self.settings
        return (
            f"train {self.where.atlas} --out {self.where.model} --recipe fast --epochs {s.epochs} "
            f"--batch-size {s.batch_size} --n-auroc-peaks {s.n_auroc_peaks} --compute {s.compute} "
            f"--seed {s.seed}"
        )

    @property
    def embed(self) -> str:
        """Write the cells' embeddings."""
        return f"embed {self.where.model} --out {self.where.cells}"

    @property
    def evaluate(self) -> str:
        """Measure on held-out peaks."""
        return f"evaluate {self.where.model} {self.where.atlas} --label-key cell_type --cluster"

    @property
    def denoise(self) -> str:
        """Predict held-out peaks in every cell."""
        where = self.where
        return (
            f"denoise {where.model} {where.atlas} --out {where.denoised} "
            f"--peaks {where.held_out_peaks}"
        )

    @property
    def motifs(self) -> str:
        """Score the planted motifs."""
        where, s = self.where, self.settings
        return (
            f"motifs {where.model} {where.atlas} --motifs {where.simulated}/motifs.meme "
            f"--n-backgrounds {s.n_backgrounds} --seed {s.seed} --out {where.activity}"
        )

    def ism(self, peaks: Sequence[str]) -> str:
        """Mutate held-out peaks."""
        where = self.where
        return (
            f"ism {where.model} --atlas {where.atlas} --peaks {','.join(peaks)} "
            f"--span {MUTATED_BP} --group-by cell_type --out {where.ism}"
        )

    @property
    def tracks(self) -> str:
        """Write tracks of the cell types."""
        where = self.where
        return (
            f"tracks {where.model} {where.atlas} --group-by cell_type --genome "
            f"{where.simulated}/genome.fa --genome-wide {self.settings.predicted_region} "
            f"--out {where.tracks}"
        )

    @property
    def report(self) -> str:
        """Show all of it on one page."""
        stores = " ".join(str(store) for store in self.where.reported)
        return f"report {self.where.model} {stores} --label-key cell_type --out {self.where.report}"
