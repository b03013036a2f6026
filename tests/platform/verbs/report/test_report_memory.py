"""What a report holds for each cell beyond those that it shows: 200,000 cells beside 20,000."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import atlasbasset
from atlasbasset.verbs.report.findings import findings
from atlasbasset.verbs.report.findings.costs import peak_memory_bytes
from atlasstore.events import ignore
from forked import fork_server
from small_atlas import make_atlas
from small_model import TINY, random_weights, write_model

N_PEAKS, FEW, MANY = 60, 20_000, 200_000
CELL_BYTES = 500
"""docs/report.md, "A million cells": 366 were measured, 24 of them of TINY's 6 numbers."""


def make(folder: str, n_cells: int) -> None:
    """Write a model and its atlas."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical(np.array(list("abcdefgh"))[rng.integers(0, 8, n_cells)])},
        index=[f"cell{i}" for i in range(n_cells)],
    )
    write_model(Path(folder, "model"), random_weights(rng, n_cells), obs=obs)
    codes = rng.integers(0, 4, (N_PEAKS, TINY.window_bp + 6), dtype=np.uint8)
    make_atlas(Path(folder, "atlas"), rng.random((n_cells, N_PEAKS), np.float32) < 0.03, codes)


def report(folder: str) -> None:
    """Make the report of 300 cells, and write down the most memory that this process has held."""
    findings.umap_of = lambda embedding, seed: embedding[:, :2]  # of the cells shown alone
    findings.clusters_of = lambda embedding, seed: None
    began = peak_memory_bytes()
    made = atlasbasset.report(
        Path(folder, "model"), Path(folder, "atlas"), out=Path(folder, "r.html"),
        label_key="cell_type", max_cells=300, max_peaks=50, on_event=ignore,
    )  # fmt: skip
    found = {"bytes": peak_memory_bytes() - began, "n_cells": made.n_cells, "page": made.n_bytes}
    Path(folder, "said.json").write_text(json.dumps(found))


def in_a_process(work, *given) -> None:
    process = fork_server().Process(target=work, args=given)
    process.start()
    process.join(280)
    assert process.exitcode == 0


@pytest.mark.slow
def test_memory_grows_by_a_bounded_number_of_bytes_a_cell(tmp_path) -> None:
    pytest.importorskip("umap")
    pytest.importorskip("plotly")
    found = {}
    for n_cells in (FEW, MANY):
        folder = tmp_path / str(n_cells)
        folder.mkdir()
        in_a_process(make, str(folder), n_cells)
        in_a_process(report, str(folder))
        found[n_cells] = json.loads((folder / "said.json").read_text())
        assert found[n_cells]["n_cells"] == 300
    grown = (found[MANY]["bytes"] - found[FEW]["bytes"]) / (MANY - FEW)
    assert grown < CELL_BYTES, found
    assert found[MANY]["page"] == pytest.approx(found[FEW]["page"], rel=0.1)
