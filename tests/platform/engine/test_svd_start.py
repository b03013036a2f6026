"""The cell layer's start: against a dense SVD in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atlasbasset.core.cells import CellLayer
from atlasbasset.core.runtime import LocalRuntime
from atlasbasset.engine.labels.host import WorkerData
from atlasbasset.engine.svd_start import start_from_svd
from atlasstore.atlas.atlas import Atlas
from tiny import atlas

RUNTIME = LocalRuntime(torch.device("cpu"))


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return Atlas.open(atlas(tmp_path_factory.mktemp("atlas") / "a.zarr", n_cells=90, n_peaks=200))


def started(opened, *, dim=4, streamed=False, **options):
    data = WorkerData(opened, range(len(opened.blocks)), labels="streamed" if streamed else "ram")
    cells = CellLayer(opened.n_cells, dim)
    start_from_svd(
        cells,
        data,
        opened.peak_rows("train"),
        RUNTIME,
        n_cells=opened.n_cells,
        n_positives=opened.n_positives,
        seed=0,
        **options,
    )
    return cells


def test_every_pass_is_told(opened):
    events = []
    started(opened, on_event=events.append)
    assert [event.done for event in events] == list(range(events[0].total + 1))


def standardised(opened):
    labels = opened.to_anndata().X.toarray()[:, opened.peak_rows("train")].astype(float)
    share = labels.mean(1, keepdims=True)
    return (labels - share) / np.sqrt(share * (1 - share)), share[:, 0]


def test_iterated_to_the_end_it_is_the_truncated_svd(opened):
    cells = started(opened, power_iterations=200)
    x, share = standardised(opened)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    expected = u[:, :4] * s[:4]
    expected *= np.sqrt(2 / 4) / np.sqrt(np.mean(expected**2))
    found = cells.embedding.detach().numpy()
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-3)
    assert np.sqrt(np.mean(found**2)) == pytest.approx(np.sqrt(2 / 4), rel=1e-5)
    n_train = len(opened.peak_rows("train"))
    shifted = (share * n_train + 0.5) / (n_train + 1)
    np.testing.assert_allclose(
        cells.intercept.detach().numpy(), np.log(shifted / (1 - shifted)), rtol=1e-5
    )


def test_it_tells_the_two_kinds_of_cells_apart(opened):
    found = started(opened).embedding.detach().numpy()
    first = np.arange(len(found)) < len(found) // 2
    gap = np.abs(found[first].mean(0) - found[~first].mean(0)).max()
    assert gap > 2 * found[first].std(0).min()


def test_streamed_labels_give_the_same(opened):
    a, b = started(opened), started(opened, streamed=True)
    torch.testing.assert_close(a.embedding, b.embedding, rtol=1e-6, atol=1e-6)


def test_a_sample_of_the_cells_gives_nearly_the_same_space(opened):
    whole = started(opened, dim=2).embedding.detach().numpy()
    part = (
        started(opened, dim=2, sample_positives=opened.n_positives // 3).embedding.detach().numpy()
    )
    cosines = np.linalg.svd(np.linalg.qr(whole)[0].T @ np.linalg.qr(part)[0])[1]
    assert cosines[0] > 0.9  # the planted direction; the second is noise in this atlas


def test_more_numbers_than_peaks_leave_zeros(tmp_path):
    small = Atlas.open(atlas(tmp_path / "a.zarr", n_cells=30, n_peaks=24))
    found = started(small, dim=64).embedding.detach().numpy()
    assert np.isfinite(found).all()
    assert (found[:, 40:] == 0).all()
