"""The exact peak solver against scipy, one peak at a time, and at its limits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.optimize import root
from scipy.special import expit

from atlasbasset.core.peak_deviations import (
    fit_readout,
    solve_deviating,
    solve_peaks,
    solving_bytes,
)

F64 = torch.float64


class Peaks(NamedTuple):
    w: np.ndarray
    intercept: np.ndarray
    labels: np.ndarray
    """(peaks, cells)."""
    h: np.ndarray

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        sums = self.labels.astype(float) @ np.c_[self.w, np.ones(len(self.w))]
        return tuple(map(torch.from_numpy, (self.w, self.intercept, sums, self.h)))


def make_peaks(seed: int, n_peaks: int, n_cells: int, width: int) -> Peaks:
    """Labels of peaks that lie off their sequences, in cells of different depths."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(n_cells, width)) @ rng.normal(size=(width, width)) / np.sqrt(width) + 0.3
    h, intercept = rng.normal(size=(n_peaks, width)), rng.normal(-1.5, 0.7, n_cells)
    x = h + rng.normal(0, 0.5, h.shape)
    return Peaks(w, intercept, rng.random((n_peaks, n_cells)) < expit(x @ w.T + intercept), h)


def reference(peaks: Peaks, peak: int, l2: float) -> np.ndarray:
    """Where the gradient of one peak's loss vanishes, as a person would write it down."""
    w, b, y, h = peaks.w, peaks.intercept, peaks.labels[peak], peaks.h[peak]

    def gradient(x):
        return w.T @ (expit(w @ x + b) - y) + l2 * (x - h)

    def hessian(x):
        p = expit(w @ x + b)
        return (w.T * (p * (1 - p))) @ w + l2 * np.eye(len(x))

    found = root(gradient, h, jac=hessian, tol=1e-12)
    assert np.abs(gradient(found.x)).max() < 1e-9
    return found.x


@pytest.mark.parametrize(
    ("n_peaks", "n_cells", "width", "l2"),
    [(6, 300, 5, 10.0), (1, 301, 1, 1.0), (9, 97, 32, 0.3), (4, 503, 8, 100.0)],
)
def test_scipy_finds_the_same(n_peaks, n_cells, width, l2):
    peaks = make_peaks(1, n_peaks, n_cells, width)
    tiles = {"tile_peaks": 4, "tile_cells": 100}
    wide = solve_peaks(*peaks.tensors, l2=l2, dtype=F64, tolerance=1e-11, **tiles)
    narrow = solve_peaks(*(t.float() for t in peaks.tensors), l2=l2, **tiles)
    assert wide.converged.all()
    assert narrow.converged.all()
    for peak in range(n_peaks):
        expected = reference(peaks, peak, l2)
        np.testing.assert_allclose(wide.embedding[peak], expected, atol=1e-7)
        np.testing.assert_allclose(narrow.embedding[peak], expected, atol=1e-3)


def test_tiles_and_start_do_not_change_the_result():
    peaks = make_peaks(2, 17, 203, 6)
    exact = {"l2": 10.0, "dtype": F64, "tolerance": 1e-11}
    whole = solve_peaks(*peaks.tensors, **exact).embedding
    start = torch.full_like(whole, 3.0)
    for tile_peaks, tile_cells in [(1, 203), (5, 64), (17, 1)]:
        tiles = {"tile_peaks": tile_peaks, "tile_cells": tile_cells}
        found = solve_peaks(*peaks.tensors, start=start, **tiles, **exact)
        np.testing.assert_allclose(found.embedding, whole, atol=1e-8)
    assert (start == 3).all()


def test_the_same_call_gives_the_same_bits():
    tensors = [t.float() for t in make_peaks(3, 30, 400, 8).tensors]
    first, second = (solve_peaks(*tensors, l2=1.0, tile_peaks=7) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_strong_prior_keeps_peaks_at_their_sequences():
    peaks = make_peaks(4, 12, 200, 5)
    apart = [
        (solve_peaks(*peaks.tensors, l2=l2, dtype=F64).embedding - torch.from_numpy(peaks.h)).norm()
        for l2 in (1.0, 30.0, 1e3, 1e8)
    ]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 1e-4


def test_half_holds_a_peak_to_zero_and_half_to_its_sequence():
    """The gradient of both penalties and the loss vanishes, written down as a person would."""
    peaks, l2 = make_peaks(6, 7, 211, 4), 5.0
    found = solve_deviating(*peaks.tensors, l2=l2, tolerance=1e-7)
    for x, y, said in zip(found.numpy(), peaks.labels, peaks.h, strict=True):
        gradient = peaks.w.T @ (expit(peaks.w @ x + peaks.intercept) - y) + l2 * x + l2 * (x - said)
        assert np.abs(gradient).max() < 2e-4 * y.sum()
    before = torch.from_numpy(np.random.default_rng(9).normal(size=peaks.h.shape))
    beyond = solve_deviating(*peaks.tensors, l2=l2, before=before, tolerance=1e-7)
    torch.testing.assert_close(beyond, 1.5 * found - 0.5 * before, rtol=0, atol=1e-4)


def test_a_readout_is_the_least_squares_line():
    rng = np.random.default_rng(7)
    h = rng.normal(1.0, 2.0, (400, 6))
    x = h @ rng.normal(size=(6, 6)) + 3.0 + rng.normal(0, 0.5, (400, 6))
    expected, *_ = np.linalg.lstsq(np.c_[h, np.ones(len(h))], x)
    found = fit_readout(torch.from_numpy(h), torch.from_numpy(x))
    np.testing.assert_allclose(found.weight, expected[:-1], atol=5e-3)  # the ridge's thousandth
    np.testing.assert_allclose(found.offset, expected[-1], atol=1e-2)
    said = found.of(torch.from_numpy(h).float())
    assert said.dtype == torch.float32
    np.testing.assert_allclose(said.mean(0), x.mean(0), atol=1e-5)


def test_a_readout_makes_nothing_of_axes_that_do_not_move():
    rng = np.random.default_rng(8)
    h, x = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    h[:, 1] = 0.2
    h[:, 2] *= 1e-4
    found = fit_readout(torch.from_numpy(h), torch.from_numpy(x))
    assert not found.weight[1].any()
    assert found.weight[2].abs().max() < 0.1  # alone it would be some 1e3
    flat = fit_readout(torch.ones(5, 3), torch.from_numpy(x[:5]))
    np.testing.assert_allclose(flat.offset, x[:5].mean(0))


def test_peaks_open_nowhere_or_everywhere_stay_finite():
    peaks = make_peaks(5, 4, 150, 3)
    peaks.labels[1], peaks.labels[2] = False, True
    found = solve_peaks(*(t.float() for t in peaks.tensors), l2=3.0)
    assert found.converged.all()
    assert found.embedding.isfinite().all()


def test_bytes_grow_with_rows_alone():
    base = solving_bytes(100_000, 1_000_000, 32)
    assert base < 300e6
    assert solving_bytes(100_000, 2_000_000, 32) - base == 1_000_000 * 4 * 33
    assert solving_bytes(200_000, 1_000_000, 32) - base == 100_000 * 8 * 68


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"w_NE": torch.ones(0, 2)}, "neither empty"),
        ({"intercept_N": torch.ones(4)}, r"intercept must be \(3,\)"),
        ({"open_sums_PF": torch.ones(5, 2)}, r"open_sums must be \(5, 3\)"),
        ({"h_PE": torch.ones(5, 3)}, r"h must be \(5, 2\)|open_sums"),
        ({"l2": 0.0}, "above 0"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    given = {
        "w_NE": torch.ones(3, 2),
        "intercept_N": torch.ones(3),
        "open_sums_PF": torch.ones(5, 3),
        "h_PE": torch.ones(5, 2),
        "l2": 1.0,
    }
    with pytest.raises(ValueError, match=message):
        solve_peaks(**(given | changed))
