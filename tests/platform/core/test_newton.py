"""The exact cell solver against scikit-learn, its own optimality conditions, and hard cases."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from atlasbasset.core.newton import solve_cells, working_bytes

if TYPE_CHECKING:
    from atlasbasset.core.newton import SolvedCells

F64 = torch.float64


class Cells(NamedTuple):
    h: np.ndarray
    labels: np.ndarray

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        sums = self.labels.T.astype(float) @ np.c_[self.h, np.ones(len(self.h))]
        return torch.from_numpy(self.h), torch.from_numpy(sums)


def make_cells(seed: int, n_peaks: int, n_cells: int, width: int, *, depth: float = -1.5) -> Cells:
    """Labels drawn from a model of correlated, uncentred features."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) / np.sqrt(width)
    h = rng.normal(size=(n_peaks, width)) @ mixing + rng.normal(size=width) + 1
    logits = (h - h.mean(0)) @ rng.normal(size=(width, n_cells)) + rng.normal(depth, 0.5, n_cells)
    return Cells(h, rng.random((n_peaks, n_cells)) < expit(logits))


def exact(cells: Cells, l2: float, **settings_: object) -> SolvedCells:
    return solve_cells(*cells.tensors, l2=l2, dtype=F64, tolerance=1e-10, **settings_)


def objective(cells: Cells, found: SolvedCells, l2: float) -> np.ndarray:
    w = found.embedding.numpy()
    logits = cells.h @ w.T + found.intercept.numpy()
    losses = np.logaddexp(0, logits) - cells.labels * logits
    return losses.sum(0) + l2 / 2 * (w**2).sum(1)


@pytest.mark.parametrize(
    ("n_peaks", "n_cells", "width", "l2"),
    [(300, 7, 5, 10.0), (301, 1, 1, 1.0), (97, 13, 32, 0.3), (503, 5, 8, 100.0)],
)
def test_scikit_learn_finds_the_same(n_peaks, n_cells, width, l2):
    cells = make_cells(1, n_peaks, n_cells, width)
    found = exact(cells, l2, intercept_l2=1e-10, tile_cells=4, tile_peaks=100)
    assert found.converged.all()
    for cell in range(n_cells):
        theirs = LogisticRegression(C=1 / l2, solver="newton-cholesky", tol=1e-12, max_iter=200)
        theirs.fit(cells.h, cells.labels[:, cell])
        np.testing.assert_allclose(found.embedding[cell], theirs.coef_[0], atol=1e-6)
        np.testing.assert_allclose(found.intercept[cell], theirs.intercept_[0], atol=1e-6)
    np.testing.assert_allclose(found.objective, objective(cells, found, l2), rtol=1e-6)


@pytest.mark.parametrize("with_errors", [True, False])
def test_standard_errors_are_roots_of_the_inverse_hessians_diagonal(with_errors):
    cells, l2 = make_cells(3, 200, 3, 4), 2.0
    found = exact(cells, l2, with_errors=with_errors, tile_peaks=64)
    if not with_errors:
        assert found.standard_error.shape == (3, 0)
        return
    features = np.c_[cells.h, np.ones(200)]
    for cell in range(3):
        mean = expit(cells.h @ found.embedding[cell].numpy() + found.intercept[cell].item())
        hessian = (features * (mean * (1 - mean))[:, None]).T @ features
        hessian[:4, :4] += l2 * np.eye(4)
        wanted = np.sqrt(np.diag(np.linalg.inv(hessian)))[:4]
        np.testing.assert_allclose(found.standard_error[cell], wanted, rtol=1e-4)


def test_standard_errors_cover_embeddings_drawn_from_the_prior():
    rng = np.random.default_rng(4)
    h, l2 = rng.normal(size=(400, 4)), 4.0
    w = rng.normal(0, l2**-0.5, (300, 4))
    labels = rng.random((400, 300)) < expit(h @ w.T - 1.0)
    found = exact(Cells(h, labels), l2, with_errors=True)
    z = (found.embedding.numpy() - w) / found.standard_error.numpy()
    assert abs(z.mean()) < 0.1
    assert z.std() == pytest.approx(1, abs=0.08)
    assert (np.abs(z) < 1.96).mean() == pytest.approx(0.95, abs=0.02)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n_peaks=st.integers(2, 70),
    n_cells=st.integers(1, 9),
    width=st.integers(1, 6),
    l2=st.sampled_from([0.01, 1.0, 50.0]),
)
def test_the_gradient_vanishes(seed, n_peaks, n_cells, width, l2):
    cells = make_cells(seed, n_peaks, n_cells, width, depth=-0.5)
    found = exact(cells, l2, tile_cells=4, tile_peaks=16)
    assert found.converged.all()
    residual = expit(cells.h @ found.embedding.numpy().T + found.intercept.numpy()) - cells.labels
    of_embedding = residual.T @ cells.h + l2 * found.embedding.numpy()
    assert np.abs(residual.sum(0)).max() < 1e-4  # the ridge times an intercept of -20 at most
    assert np.abs(of_embedding).max() < 1e-4 * np.abs(cells.h).max()


def test_float32_is_as_good_as_its_numbers():
    cells = make_cells(2, 1000, 20, 32)
    h, sums = cells.tensors
    wide = exact(cells, 10.0)
    found = solve_cells(h.float(), sums, l2=10.0)
    assert found.converged.all()
    assert found.embedding.dtype == F64
    np.testing.assert_allclose(found.embedding, wide.embedding, atol=2e-4)
    np.testing.assert_allclose(found.intercept, wide.intercept, atol=5e-4)
    np.testing.assert_allclose(found.objective, wide.objective, rtol=1e-5)


def test_tiles_do_not_change_the_result():
    cells = make_cells(3, 203, 17, 6)
    whole = exact(cells, 10.0)
    for tile_cells, tile_peaks in [(1, 203), (5, 64), (17, 1), (16, 202)]:
        tiled = exact(cells, 10.0, tile_cells=tile_cells, tile_peaks=tile_peaks)
        np.testing.assert_allclose(tiled.embedding, whole.embedding, atol=1e-9)
        np.testing.assert_allclose(tiled.intercept, whole.intercept, atol=1e-9)
        assert torch.equal(tiled.iterations, whole.iterations)


def test_the_same_call_gives_the_same_bits():
    h, sums = make_cells(4, 400, 30, 8).tensors
    first, second = (solve_cells(h.float(), sums, l2=1.0, tile_cells=7) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("far", [False, True])
def test_the_objective_never_rises(far):
    cells = make_cells(5, 400, 12, 8)
    start = None
    if far:  # every prediction is saturated, on either side: full Newton steps would overshoot
        generator = torch.Generator().manual_seed(0)
        start = (20 * torch.randn(12, 8, generator=generator), torch.zeros(12))
    values = [exact(cells, 1.0, start=start, max_iterations=n).objective for n in range(1, 16)]
    assert all((b <= a + 1e-12 * a).all() for a, b in pairwise(values))
    found = exact(cells, 1.0, start=start)
    assert found.converged.all()
    np.testing.assert_allclose(found.embedding, exact(cells, 1.0).embedding, atol=1e-8)


def test_a_start_at_the_solution_takes_no_step():
    cells = make_cells(6, 300, 9, 4)
    solved = exact(cells, 10.0)
    again = exact(cells, 10.0, start=(solved.embedding, solved.intercept))
    assert again.iterations.max() <= 1  # rounding of the intercept's shift
    np.testing.assert_allclose(again.embedding, solved.embedding, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_cells_with_one_class_stay_finite(dtype):
    cells = make_cells(7, 200, 4, 5)
    cells.labels[:, 1], cells.labels[:, 2] = False, True
    h, sums = cells.tensors
    found = solve_cells(h.to(dtype), sums, l2=10.0, dtype=dtype)
    assert found.one_class.tolist() == [False, True, True, False]
    assert found.converged.all()
    assert found.intercept[1] < -10
    assert found.intercept[2] > 10
    assert found.embedding[1:3].abs().max() < 1e-4
    others = solve_cells(h.to(dtype), sums[[0, 3]], l2=10.0, dtype=dtype)
    np.testing.assert_allclose(found.embedding[[0, 3]], others.embedding, atol=1e-5)


def test_separable_labels_converge():
    rng = np.random.default_rng(8)
    h = rng.normal(size=(150, 3))
    cells = Cells(h, (h @ rng.normal(size=(3, 6))) > 0.1)
    found = exact(cells, 1e-3)
    assert found.converged.all()
    logits = h @ found.embedding.numpy().T + found.intercept.numpy()
    assert np.array_equal(logits > 0, cells.labels)
    assert found.embedding.abs().max() > 5


def test_a_constant_feature_and_a_copy_of_another_do_no_harm():
    cells = make_cells(9, 250, 5, 4)
    h = np.c_[cells.h, cells.h[:, 0], np.full(250, 3.0)]
    found = exact(Cells(h, cells.labels), 1.0)
    assert found.converged.all()
    np.testing.assert_allclose(found.embedding[:, 0], found.embedding[:, 4], atol=1e-8)
    np.testing.assert_allclose(found.embedding[:, 5], 0, atol=1e-8)


def test_too_few_steps_are_reported():
    found = exact(make_cells(10, 300, 5, 4), 1.0, max_iterations=1)
    assert not found.converged.any()
    assert found.iterations.tolist() == [1] * 5
    assert (found.gradient_norm > 0).all()


def test_no_product_is_larger_than_its_tile(monkeypatch):
    sizes = []
    plain = torch.Tensor.addmm_

    def watched(self, left, right):
        sizes.append(tuple(left.shape))
        return plain(self, left, right)

    monkeypatch.setattr(torch.Tensor, "addmm_", watched)
    exact(make_cells(11, 500, 50, 4), 1.0, tile_cells=8, tile_peaks=64)
    assert sizes
    assert max(n for n, _ in sizes) <= 8
    assert max(p for _, p in sizes) <= 64


def test_working_bytes_grow_with_rows_alone():
    base = working_bytes(100_000, 60_000, 32)
    assert base < 150e6
    assert working_bytes(200_000, 60_000, 32) - base == 100_000 * 4 * 65
    assert working_bytes(100_000, 120_000, 32) - base == 60_000 * 8 * 71


@pytest.mark.parametrize(
    ("h", "sums", "l2", "message"),
    [
        ((4, 2), (3, 2), 1.0, "3 columns, got 2"),
        ((0, 2), (3, 3), 1.0, "neither empty"),
        ((4, 2), (0, 3), 1.0, "neither empty"),
        ((4, 2), (3, 3), 0.0, "above 0"),
    ],
)
def test_what_does_not_fit_is_refused(h, sums, l2, message):
    with pytest.raises(ValueError, match=message):
        solve_cells(torch.ones(h), torch.ones(sums, dtype=F64), l2=l2)
