"""What ``atlasbasset demo --dry-run`` says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.simulation import plan_simulate
from atlasstore.text_units import count

if TYPE_CHECKING:
    from atlasjobs.demo.settings import DemoSettings
    from atlasstore.plans import Lines
    from atlasstore.simulation import SimulatePlan

__all__ = ["DemoPlan", "demo_plan"]


@dataclass(frozen=True)
class DemoPlan:
    """What the demo would do."""

    settings: DemoSettings
    out: str
    simulation: SimulatePlan

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would run the demo in {self.out}"

    def lines(self) -> Lines:
        """Return what is simulated and trained."""
        s = self.settings
        sequences = count(round(s.epochs * s.n_peaks * s.split_fractions[0]))
        training = f"{s.epochs} epochs, {sequences} sequences, in this process"
        return [*self.simulation.lines(), ("training", training)]

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"dry_run": True, **asdict(self.settings), "out": self.out}


def demo_plan(settings: DemoSettings, out: str) -> DemoPlan:
    """Plan the demo in the folder `out`."""
    names = ("n_cells", "n_peaks", "n_cell_types", "n_motifs", "density", "seed")
    dials = {name: getattr(settings, name) for name in names}
    return DemoPlan(settings, out, plan_simulate(f"{out}/simulated", **dials))
