"""What a simulation makes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from atlasjobs.output.lines import Plan
from atlasstore.text_units import count, share, size

if TYPE_CHECKING:
    from atlasstore.plans import Lines
    from atlasstore.simulation import SimulationConfig, SimulationReport

__all__ = ["simulation_facts", "simulation_plan"]

_FRAGMENT_BYTES = 3  # a count in counts.h5ad: value and column, compressed
_FASTA_BYTES = 1.02  # a base and its share of a line end
_BP_PER_PEAK = 2500  # mean spacing of simulated peaks


def simulation_plan(config: SimulationConfig, out: str) -> Plan:
    """Plan a simulation; refuses an output that exists."""
    from atlasstore.files.staging import refuse_existing

    refuse_existing(out)
    n_open = round(config.density * config.n_cells * config.n_peaks)
    genome_bp = config.n_peaks * _BP_PER_PEAK
    stored = round(n_open * _FRAGMENT_BYTES + genome_bp * _FASTA_BYTES)
    rows = [
        ("cells", f"{count(config.n_cells)} of {config.n_cell_types} types"),
        ("peaks", count(config.n_peaks)),
        ("genome", f"about {count(genome_bp)} bp"),
        ("open", f"about {count(n_open)} pairs of cell and peak"),
        ("stored", f"about {size(stored)}"),
    ]
    values = {**asdict(config), "out": out, "n_open": n_open, "stored_bytes": stored}
    return Plan(f"Would simulate {out}", rows, values)


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
