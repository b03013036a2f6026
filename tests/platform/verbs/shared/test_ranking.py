"""Measures by workers against those of one process; Ray itself in `test_measures_on_ray`."""

from __future__ import annotations

import numpy as np
import pytest

import atlasbasset
from atlasbasset.batch.executor import WorkerPool
from atlasbasset.verbs.shared import ranking
from atlasbasset.verbs.shared.atlas_peaks import peak_labels
from atlasbasset.verbs.shared.prediction import measure_predictions
from atlasstore.atlas.atlas import Atlas
from atlasstore.events import ignore
from executors import PickledExecutor
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model

N, P = 60, 80


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    rng, folder = np.random.default_rng(3), tmp_path_factory.mktemp("stores")
    codes = rng.integers(0, 5, (P, TINY.window_bp + 6), dtype=np.uint8)
    atlas = make_atlas(folder / "atlas", random_labels(rng, N, P, 0.3), codes, max_block_cells=7)
    model = write_model(folder / "model", random_weights(rng, N, n_batches=3))
    return atlasbasset.load_model(model, device="cpu"), Atlas.open(atlas)


@pytest.fixture
def pool(monkeypatch):
    """Workers whose work and results travel as those of Ray's, in this process."""
    monkeypatch.setattr(WorkerPool, "executor", PickledExecutor())
    monkeypatch.setattr(ranking, "_UNIT_PAIRS", 1)
    monkeypatch.setattr(ranking, "_LEAST_PEAKS", 7)
    return WorkerPool(2)


@pytest.mark.parametrize("rows", [np.arange(P), np.arange(3, P, 3)], ids=["all", "some"])
def test_workers_measure_what_one_process_does(stores, pool, rows):
    model, atlas = stores
    h = np.random.default_rng(0).normal(size=(len(rows), TINY.embedding_dim)).astype(np.float32)
    here, there = (
        measure_predictions(model, atlas, rows, ignore, h=h, pool=p) for p in (WorkerPool(), pool)
    )
    for name in ("auroc_per_cell", "aupr_per_cell", "auroc_per_peak", "aupr_per_peak"):
        expected = getattr(here[0], name)
        assert np.ptp(expected[~np.isnan(expected)]) > 0.1
        np.testing.assert_allclose(getattr(there[0], name), expected, rtol=0, atol=1e-6)
    assert there[1].positive_share == here[1].positive_share
    for part in ("auroc_per_cell", "auroc_per_peak"):
        assert getattr(there[1], part) == pytest.approx(getattr(here[1], part), abs=1e-6)


@pytest.mark.parametrize("cells", [None, np.array([0, 8, 9, 33, 59])])
def test_workers_read_the_labels_that_one_process_reads(stores, pool, cells, monkeypatch):
    _, atlas = stores
    rows = np.array([70, 3, 4, 41])
    here, there = (
        peak_labels(atlas, rows, cells=cells, pool=p, on_event=ignore) for p in (WorkerPool(), pool)
    )
    expected = np.asarray(atlas.to_anndata().X.todense()).T[rows] != 0
    np.testing.assert_array_equal(
        here.toarray(), expected[:, slice(None) if cells is None else cells]
    )
    np.testing.assert_array_equal(there.toarray(), here.toarray(), strict=True)


def test_blocks_without_chosen_cells_are_not_read(stores, monkeypatch):
    _, atlas = stores
    read, labels = [], Atlas.labels
    monkeypatch.setattr(Atlas, "labels", lambda *a, **k: read.append(a[1]) or labels(*a, **k))
    peak_labels(atlas, np.arange(9), cells=np.array([0, 1, 20]), on_event=ignore)
    assert read == [20 // atlas.blocks[0].n_cells * i for i in (0, 1)]
