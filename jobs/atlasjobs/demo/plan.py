"""What ``atlasbasset demo --dry-run`` says."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from atlasjobs.output.lines import Plan
from atlasjobs.reports.simulate import simulation_plan
from atlasstore.simulation import SimulationConfig
from atlasstore.text_units import count

if TYPE_CHECKING:
    from atlasjobs.demo.settings import DemoSettings

__all__ = ["demo_plan"]


def demo_plan(settings: DemoSettings, out: str) -> Plan:
    """Plan the demo in the folder `out`."""
    names = ("n_cells", "n_peaks", "n_cell_types", "n_motifs", "density", "seed")
    simulation = SimulationConfig(**{name: getattr(settings, name) for name in names})
    sequences = round(settings.epochs * settings.n_peaks * settings.split_fractions[0])
    rows = [
        *simulation_plan(simulation, f"{out}/simulated").rows,
        ("training", f"{settings.epochs} epochs, {count(sequences)} sequences, in this process"),
    ]
    return Plan(f"Would run the demo in {out}", rows, asdict(settings) | {"out": out})
