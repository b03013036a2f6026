from __future__ import annotations

from typing import NamedTuple

import anndata
import pytest

from atlasstore.simulation import SimulationReport, Truth, simulate


class Simulated(NamedTuple):
    """A small simulation with two batches, and what a reader finds in it."""

    folder: object
    report: SimulationReport
    truth: Truth
    counts: anndata.AnnData


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "deep" / "out"
    report = simulate(folder, n_cells=600, n_peaks=1500, n_cell_types=4, n_batches=2, seed=11)
    counts = anndata.read_h5ad(folder / "counts.h5ad")
    return Simulated(folder, report, Truth.load(folder), counts)
