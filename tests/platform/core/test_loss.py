"""The fused loss against a dense float64 reference: values and every gradient.

Habit: ours may be no further from float64 than the plain float32 computation, plus 1e-6 relative.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from atlasbasset.core import loss
from atlasbasset.core.cells import CellLayer
from atlasbasset.core.loss import fused_bce
from atlasbasset.core.loss_types import Positives
from dense_loss import dense, positives_of, random_case

SIZES = [(1, 1), (3, 1), (7, 13), (5, 64), (16, 130), (2, 257)]
E = 8


@pytest.fixture(params=["compiled", "torch tiles"])
def _way(request, monkeypatch):
    """Run a test on what is installed, and again as if neither numba nor Triton were."""
    if request.param == "torch tiles":
        monkeypatch.setattr(loss, "_is_installed", lambda _: False)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize(("n_peaks", "n_cells"), SIZES)
@pytest.mark.parametrize("tile", [1, 7, 64, 2048])
def test_equals_the_dense_loss(n_peaks, n_cells, tile):
    h, table, labels = random_case(n_peaks, n_cells)
    found = fused_bce(h, table, positives_of(labels), tile_cells=tile)
    exact, plain = (dense(h, table, labels, dtype) for dtype in (torch.float64, torch.float32))
    for ours, truth, same_dtype in zip(found, exact, plain, strict=True):
        allowed = (truth - same_dtype).norm() + 1e-6 * (truth.norm() + 1)
        assert (ours.double() - truth).norm() <= allowed


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("density", [0.0, 1.0])
def test_rows_without_or_full_of_positives(density):
    h, table, labels = random_case(5, 33, density=density)
    found = fused_bce(h, table, positives_of(labels), tile_cells=8)
    truth = dense(h, table, labels, torch.float64)
    assert found.loss_sum.item() == pytest.approx(truth[0].item(), rel=1e-6)


@pytest.mark.usefixtures("_way")
def test_large_logits_stay_finite():
    h, table, labels = random_case(4, 9)
    found = fused_bce(h * 1e3, table, positives_of(labels))
    assert all(torch.isfinite(value).all() for value in found)


@pytest.mark.usefixtures("_way")
def test_gradients_are_scaled_and_the_loss_is_not():
    h, table, labels = random_case(4, 9)
    one, half = (fused_bce(h, table, positives_of(labels), scale=s) for s in (1.0, 0.5))
    assert one.loss_sum == half.loss_sum
    torch.testing.assert_close(one.embedding * 0.5, half.embedding)


@pytest.mark.usefixtures("_way")
def test_batch_terms_and_penalties_against_autograd():
    """Loss + lambda1 * sum(W^2) + lambda2 * sum(V^2), every parameter's gradient (method)."""
    h, table, labels = random_case(6, 40, n_batches=3)
    l2_cells, l2_batch = 1e-2, 3e-2
    layer = CellLayer(40, E, batch=table.batch, n_batches=3)
    with torch.no_grad():
        for name in ("embedding", "intercept", "batch_embedding", "batch_intercept"):
            getattr(layer, name).copy_(getattr(table, name))
    effective = layer.table()
    found = fused_bce(h, effective, positives_of(labels), tile_cells=16)
    own = layer.gradients(found, effective, l2_cells=l2_cells)
    layer.add_batch_penalty(l2_batch)

    w, b, v, c = (
        t.double().requires_grad_()
        for t in (table.embedding, table.intercept, table.batch_embedding, table.batch_intercept)
    )
    onehot = F.one_hot(table.batch, 3).double()
    logits = h.double() @ w.T + b + (h.double() @ v.T + c) @ onehot.T
    penalty = l2_cells * w.square().sum(), l2_batch * v.square().sum()
    bce = F.binary_cross_entropy_with_logits(logits, labels.double(), reduction="sum")
    (bce + sum(penalty)).backward()
    assert found.loss_sum.item() == pytest.approx(bce.item(), rel=1e-6)
    assert [p.item() for p in layer.penalty(l2_cells, l2_batch)] == pytest.approx(
        [p.item() for p in penalty], rel=1e-6
    )
    for gradient, expected in zip(
        (own.embedding, own.intercept, layer.batch_embedding.grad, layer.batch_intercept.grad),
        (w.grad, b.grad, v.grad, c.grad),
        strict=True,
    ):
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("_way")
def test_memory_does_not_grow_with_cells():
    """No B x N array: every tensor made inside is a tile, a table or smaller."""
    n_cells, tile = 20_000, 500
    h, table, _ = random_case(64, n_cells, density=0)
    nothing = Positives(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long))
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    with Watch():
        fused_bce(h, table, nothing, tile_cells=tile)
    assert largest <= max(n_cells * E, 64 * tile)
