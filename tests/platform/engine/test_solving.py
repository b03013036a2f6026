"""The exact cell layer inside training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atlasbasset.core.runtime import LocalRuntime
from atlasbasset.engine.build_learner import new_learner
from atlasbasset.engine.embed_shared import embed_shared
from atlasbasset.engine.labels.host import WorkerData
from atlasbasset.engine.solving import open_sums, solve_layer
from atlasbasset.verbs.train.setup import begun_store
from atlasstore.atlas.atlas import Atlas
from tiny import atlas, config

CPU = torch.device("cpu")


@pytest.fixture(params=[None, "sample"])
def worker(request, tmp_path):
    opened = Atlas.open(atlas(tmp_path / "a.zarr", n_peaks=200))
    settings = config(batch_key=request.param)
    store = begun_store(opened, str(tmp_path / "m"), settings)
    data = WorkerData(opened, range(len(opened.blocks)))
    learner = new_learner(settings, data, store, n_cells=opened.n_cells, device=CPU)
    if request.param:
        with torch.no_grad():
            learner.cells.batch_embedding.fill_(0.3)
            learner.cells.batch_intercept.fill_(-0.2)
    return learner.__class__(**{**learner.__dict__, "trunk": learner.trunk.eval()}), data, opened


def test_sums_over_open_peaks(worker):
    learner, data, opened = worker
    peaks = opened.peak_rows("train")
    h = embed_shared(learner, data.codes, peaks, LocalRuntime(CPU)).numpy()
    labels = opened.to_anndata().X.toarray()[:, peaks].astype(float)
    expected = labels @ np.column_stack([h, np.ones(len(h))])
    np.testing.assert_allclose(open_sums(data, peaks, h), expected, rtol=1e-9)


def test_the_gradient_of_every_cell_vanishes(worker):
    """Of the loss a person would write down: with batch tables, the penalty on the cell's own."""
    learner, data, opened = worker
    peaks, l2 = opened.peak_rows("train"), 3.0
    solved = solve_layer(learner, data, peaks, LocalRuntime(CPU), l2=l2)
    assert solved.n_converged == opened.n_cells
    h = embed_shared(learner, data.codes, peaks, LocalRuntime(CPU)).double()
    labels = torch.from_numpy(opened.to_anndata().X.toarray()[:, peaks].astype(float)).T
    own = learner.cells.embedding.detach().double().requires_grad_()
    effective, intercept = own, learner.cells.intercept.detach().double()
    if learner.cells.batch is not None:
        batch = learner.cells.batch
        effective = own + learner.cells.batch_embedding.detach().double()[batch]
        intercept = intercept + learner.cells.batch_intercept.detach().double()[batch]
    logits = h @ effective.T + intercept
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    loss = bce + l2 / 2 * own.square().sum()
    (gradient,) = torch.autograd.grad(loss, own)
    assert gradient.norm(dim=1).max() < 1e-3 * labels.sum(0).clamp(min=1).max()
    assert solved.loss == pytest.approx(loss.item() / labels.numel(), rel=1e-5)
