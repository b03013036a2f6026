from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import atlasbasset
from atlasbasset.batch.executor import WorkerPool
from atlasbasset.inference.cell_labels import CellLabels
from atlasbasset.verbs.report.findings.cells import Keys, sample_cells
from atlasbasset.verbs.report.findings.missing import Missing
from atlasbasset.verbs.report.findings.predictions import label_mean_quality, predictions_of
from atlasbasset.verbs.report.options import ReportOptions
from atlasstore.atlas.atlas import Atlas
from atlasstore.events import ignore
from executors import PickledExecutor

NONE = Keys(None, None, ())


def found_with(stores, **options):
    model = atlasbasset.load_model(stores.model, device="cpu")
    cells = sample_cells(model, NONE, max_cells=options.pop("max_cells", 1000), seed=0)
    asked = ReportOptions(**options)
    return cells, predictions_of(model, Atlas.open(stores.atlas), cells, asked, ignore)


def test_predictions_are_those_of_evaluate(stores) -> None:
    cells, found = found_with(stores)
    wanted = atlasbasset.evaluate(stores.model, stores.atlas, on_event=ignore)
    np.testing.assert_allclose(found.quality.auroc_per_cell, wanted.per_cell, atol=1e-6)
    np.testing.assert_allclose(found.quality.auroc_per_peak, wanted.per_peak, atol=1e-6)
    assert found.certainty == wanted.certainty
    assert not cells.is_sample
    assert found.reference is None


def test_a_sample_of_cells_has_the_same_figures(stores) -> None:
    cells, found = found_with(stores, max_cells=20)
    assert cells.is_sample
    wanted = atlasbasset.evaluate(stores.model, stores.atlas, on_event=ignore).per_cell
    np.testing.assert_allclose(found.quality.auroc_per_cell, wanted[cells.rows], atol=1e-6)


def test_workers_find_what_one_process_does(stores, monkeypatch) -> None:
    _, here = found_with(stores, max_cells=20)
    monkeypatch.setattr(WorkerPool, "executor", PickledExecutor())
    _, there = found_with(stores, max_cells=20, pool=WorkerPool(2))
    np.testing.assert_array_equal(there.rows, here.rows)
    np.testing.assert_allclose(there.h, here.h, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(there.labels.toarray(), here.labels.toarray())
    expected = here.quality.auroc_per_cell
    np.testing.assert_allclose(there.quality.auroc_per_cell, expected, atol=1e-6)


def test_a_sample_of_peaks_is_drawn_once(stores) -> None:
    first, again = (found_with(stores, max_peaks=2, seed=3)[1] for _ in range(2))
    assert len(first.rows) == 2 < first.n_split
    np.testing.assert_array_equal(first.rows, again.rows)


def test_without_an_atlas_the_command_is_named(stores) -> None:
    model = atlasbasset.load_model(stores.model, device="cpu")
    cells = sample_cells(model, NONE, max_cells=9, seed=0)
    found = predictions_of(model, None, cells, ReportOptions(), ignore)
    assert isinstance(found, Missing)
    assert found.command.startswith(f"report {stores.model} ATLAS")


def test_label_means_rank_peaks_that_labels_decide() -> None:
    codes = np.array([0, 1] * 20)
    labels = sparse.csr_array(np.stack([codes == 0, codes == 1, codes == 0]))
    found = label_mean_quality(labels, CellLabels("kind", ("a", "b"), codes), seed=0)
    assert found.mean_auroc_per_cell == 1
    assert found.mean_auroc_per_peak == 1


def test_label_means_do_not_know_the_cell_itself(rng) -> None:
    """Each cell alone in its label: there is no other cell to learn from."""
    labels = sparse.csr_array(rng.random((50, 30)) < 0.5)
    alone = CellLabels("kind", tuple(map(str, range(30))), np.arange(30))
    found = label_mean_quality(labels, alone, seed=0)
    np.testing.assert_array_equal(found.auroc_per_cell, np.full(30, 0.5))


def test_cells_without_a_label_are_not_predicted(rng) -> None:
    labels = sparse.csr_array(rng.random((50, 30)) < 0.5)
    codes = np.where(np.arange(30) < 25, 0, -1)
    found = label_mean_quality(labels, CellLabels("kind", ("a",), codes), seed=0)
    assert found.auroc_per_cell[25:] == pytest.approx(0.5)
    assert label_mean_quality(labels, None, seed=0) is None
