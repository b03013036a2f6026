"""Atlases with known answers: a genome with planted motifs, cells that read them, and the truth."""

from __future__ import annotations

from atlasstore.simulation.config import SimulationConfig
from atlasstore.simulation.folder import SimulationReport
from atlasstore.simulation.simulate import simulate
from atlasstore.simulation.truth import Ceiling, Truth

__all__ = ["Ceiling", "SimulationConfig", "SimulationReport", "Truth", "simulate"]
