from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasstore.genome.motifs import Motif
from atlasstore.simulation.builtin_motifs import motif_from_consensus
from atlasstore.simulation.peaks import (
    CENTRAL_BP,
    LEADING_SHARE,
    MEAN_SITES,
    WINDOW_BP,
    Sites,
    place_peaks,
    place_sites,
    plant,
    window_gc,
)


@settings(max_examples=40, deadline=None)
@given(n_peaks=st.integers(10, 3000), seed=st.integers(0, 2**32))
def test_peaks_fit_and_never_overlap(n_peaks, seed):
    peaks = place_peaks(n_peaks, np.random.default_rng(seed))
    widths = peaks.end - peaks.start
    assert widths.size == n_peaks
    assert widths.min() >= 300
    assert widths.max() <= 1500
    assert len(set(peaks.names)) == n_peaks
    length = peaks.chromosome_bp[peaks.chromosome]
    assert (peaks.mid - WINDOW_BP // 2).min() >= 0
    assert (length - peaks.mid - WINDOW_BP // 2).min() >= 0
    same = np.diff(peaks.chromosome) == 0
    assert np.all(np.diff(peaks.chromosome) >= 0)
    assert np.all((peaks.start[1:] - peaks.end[:-1])[same] >= 200)
    counts = np.bincount(peaks.chromosome)
    assert counts.max() - counts.min() <= 1


def test_widths_are_around_500(rng):
    peaks = place_peaks(20_000, rng)
    assert np.median(peaks.end - peaks.start) == pytest.approx(500, abs=10)
    assert peaks.chromosome_bp.size == 20


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.integers(4, 40), min_size=1, max_size=12),
    n_peaks=st.integers(10, 300),
    seed=st.integers(0, 2**32),
)
def test_sites_stand_in_the_middle_and_never_overlap(widths, n_peaks, seed):
    rng = np.random.default_rng(seed)
    peaks = place_peaks(n_peaks, rng)
    width = np.array(widths)
    sites = place_sites(peaks, width, rng)
    end = sites.start + width[sites.motif]
    mid = peaks.mid[sites.peak]
    assert np.all(sites.start >= mid - CENTRAL_BP // 2)
    assert np.all(end <= mid + CENTRAL_BP // 2)
    assert np.all(sites.start >= peaks.start[sites.peak])
    assert np.all(end <= peaks.end[sites.peak])
    order = np.lexsort((sites.start, sites.peak))
    same = np.diff(sites.peak[order]) == 0
    assert np.all((sites.start[order][1:] - end[order][:-1])[same] >= 0)


def test_how_many_sites_and_of_which_motif(rng):
    n_peaks, n_motifs = 20_000, 10
    sites = place_sites(place_peaks(n_peaks, rng), np.full(n_motifs, 10), rng)
    counts = sites.counts(n_peaks, n_motifs).toarray()
    total = counts.sum(axis=1)
    assert total.mean() == pytest.approx(MEAN_SITES, abs=5 * np.sqrt(MEAN_SITES / n_peaks))
    assert total.var() == pytest.approx(MEAN_SITES, rel=0.05)
    np.testing.assert_allclose(counts.mean(axis=0) / MEAN_SITES * n_motifs, 1, atol=0.08)
    leading = counts.max(axis=1)[total >= 6].sum() / total[total >= 6].sum()
    assert leading == pytest.approx(LEADING_SHARE + (1 - LEADING_SHARE) / n_motifs, abs=0.02)
    assert sites.reverse.mean() == pytest.approx(0.5, abs=0.01)


def test_plant_writes_words_on_both_strands(rng):
    word = Motif("w", "w", np.eye(4)[[0, 1, 1, 3]])  # ACCT, AGGT on the reverse strand
    sites = Sites(
        np.array([0, 0]), np.array([0, 0]), np.array([2, 8]), np.array([False, True], dtype=bool)
    )
    codes = np.full(14, 2, dtype=np.uint8)
    plant(codes, sites, [word], rng)
    assert "".join("ACGT"[code] for code in codes) == "GGACCTGGAGGTGG"


def test_plant_follows_the_motif(rng):
    motif = motif_from_consensus("TF", "ACGW")
    n = 5000
    start = np.arange(n) * 10
    sites = Sites(np.zeros(n, int), np.zeros(n, int), start, np.ones(n, bool))
    codes = np.zeros(n * 10, dtype=np.uint8)
    plant(codes, sites, [motif], rng)
    words = 3 - codes[start[:, None] + np.arange(4)][:, ::-1]
    shares = np.stack([(words == base).mean(axis=0) for base in range(4)], axis=1)
    np.testing.assert_allclose(shares, motif.probabilities, atol=5 * np.sqrt(0.25 / n))


def test_window_gc_counts_by_hand():
    codes = np.zeros(4000, dtype=np.uint8)
    codes[1000:1336] = 1
    gc = window_gc(codes, np.array([1200, 3000]))
    np.testing.assert_allclose(gc, [336 / WINDOW_BP, 0])
