"""Each batch is given its cells' mean: sums stay, squares of the cells' own rows are least."""

from __future__ import annotations

import numpy as np
import torch

import atlasbasset
from atlasbasset.core.cells import CellLayer
from atlasbasset.core.runtime import LocalRuntime
from atlasbasset.engine.batch_means import centre_batches, clear_batches
from tiny import atlas, config

HERE = LocalRuntime(torch.device("cpu"))


def layer(batch, n_batches):
    cells = CellLayer(len(batch), 4, batch=torch.tensor(batch), n_batches=n_batches)
    cells.initialise([(0, len(batch))], seed=3)
    return cells


def test_sums_stay_and_own_rows_have_mean_zero():
    cells = layer([0, 1, 1, 0, 1, 0, 0], n_batches=3)  # the last batch has no cells
    before = cells.embedding + cells.batch_embedding[cells.batch]
    intercept, unused = cells.batch_intercept.clone(), cells.batch_embedding[2].clone()
    centre_batches(cells, HERE)
    torch.testing.assert_close(cells.embedding + cells.batch_embedding[cells.batch], before)
    for index in range(2):
        assert cells.embedding[cells.batch == index].mean(0).abs().max() < 1e-6
    torch.testing.assert_close(cells.batch_intercept, intercept)
    torch.testing.assert_close(cells.batch_embedding[2], unused)


def test_means_are_over_all_workers():
    """Two halves that sum what they have do what the whole does."""
    batch = [0, 1, 1, 0, 1, 0, 0, 0]
    whole, halves = layer(batch, 2), [layer(batch[:4], 2), layer(batch[4:], 2)]
    for half, rows in zip(halves, (slice(0, 4), slice(4, 8)), strict=True):
        with torch.no_grad():
            half.embedding.copy_(whole.embedding[rows])
            half.batch_embedding.copy_(whole.batch_embedding)
    sums = []

    class Noting:
        def sum_(self, tensor):
            sums.append(tensor.clone())
            return tensor

    for half in halves:
        centre_batches(layer_copy(half), Noting())

    class Adding:
        def sum_(self, tensor):
            return sums[0] + sums[1]

    for half in halves:
        centre_batches(half, Adding())
    centre_batches(whole, HERE)
    torch.testing.assert_close(torch.cat([h.embedding for h in halves]), whole.embedding)
    torch.testing.assert_close(halves[0].batch_embedding, whole.batch_embedding)


def layer_copy(cells):
    made = layer(cells.batch.tolist(), len(cells.batch_embedding))
    made.load_state_dict(cells.state_dict())
    return made


def test_without_batches_nothing_happens():
    cells = CellLayer(5, 4)
    before = cells.embedding.clone()
    clear_batches(cells)
    centre_batches(cells, HERE)
    torch.testing.assert_close(cells.embedding, before)


def test_a_solved_model_has_its_cells_mean_in_the_batch(tmp_path):
    url = atlas(tmp_path / "atlas.zarr")
    settings = config(
        batch_key="sample", batch_effect="free", cell_start="svd", final_solve=True, epochs=1
    )
    atlasbasset.train(url, out=tmp_path / "m", config=settings)
    model = atlasbasset.load_model(tmp_path / "m")
    assert np.abs(model.cell_embedding.mean(0)).max() < 1e-5
    assert np.abs(model.batch_embedding).max() > 1e-3
