"""Atlases with known answers: a genome with planted motifs, cells that read them, and the truth."""

from __future__ import annotations

from atlasstore.simulation.config import SimulationConfig
from atlasstore.simulation.folder import SimulationReport
from atlasstore.simulation.simulate import SimulatePlan, plan_simulate, simulate
from atlasstore.simulation.truth import Ceiling, Truth

__all__ = [
    "Ceiling",
    "SimulatePlan",
    "SimulationConfig",
    "SimulationReport",
    "Truth",
    "plan_simulate",
    "simulate",
]
