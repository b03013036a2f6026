"""What a simulation makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.text_units import count, share

if TYPE_CHECKING:
    from atlasstore.plans import Lines
    from atlasstore.simulation import SimulationReport

__all__ = ["simulation_facts"]


def simulation_facts(report: SimulationReport) -> Lines:
    """Describe a simulation."""
    config = report.config
    return [
        ("cells", f"{count(config.n_cells)} of {config.n_cell_types} types"),
        ("peaks", f"{count(config.n_peaks)} with {count(report.n_sites)} motif sites"),
        ("genome", f"{count(report.genome_bp)} bp"),
        ("fragments", f"{count(report.n_fragments)}, median {report.median_depth:,.0f} per cell"),
        ("open", f"{count(report.n_open)} pairs of cell and peak, {share(report.density)}"),
    ]
