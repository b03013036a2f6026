"""Peaks put right and wrong on a genome made for it: CpG-rich motif sites make peaks open."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.genome.fasta import Genome
from atlasstore.preprocess._peak_check import check_peak_sequences
from small_atlas import write_fasta

N, STEP, SITE = 900, 3_000, "ACGCGTCA"
SETTINGS = SimpleNamespace(
    window_bp=1344, seed=0, strict=False, allow_unknown_windows=False, genome="genome.fa"
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Peaks, their numbers of open cells, and a genome with up to 12 sites in each peak."""
    rng = np.random.default_rng(5)
    letters = rng.choice(list("ACGT"), (N + 10) * STEP)
    middles, n_sites = (np.arange(N) + 5) * STEP + 100, rng.integers(1, 13, N)
    for middle, n in zip(middles, n_sites, strict=True):
        for place in rng.choice(40, n, replace=False) * 10 - 200:
            letters[middle + place : middle + place + 8] = list(SITE)
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    write_fasta(path, {"chr1": "".join(letters), "chrN": "N" * (N + 10) * STEP})
    var = pd.DataFrame({"chrom": "chr1", "start": middles - 250, "end": middles + 250})
    return var, rng.poisson(20.0 * n_sites), path


def look(planted, *, shift=0, order=None, **changed):
    var, n_open, path = planted
    said: list[object] = []
    settings = SimpleNamespace(**{**vars(SETTINGS), **changed})
    moved = var.assign(start=var["start"] + shift, end=var["end"] + shift)
    with Genome.open(path) as genome:
        counts = n_open if order is None else n_open[order]
        found = check_peak_sequences(moved, counts, genome, settings, said.append)
    return found, [e.message for e in said if isinstance(e, Notice)]


@pytest.mark.parametrize("shift", [0, 1, -1])
def test_peaks_in_place_are_not_warned_of(planted, shift):
    found, said = look(planted, shift=shift, strict=True)
    assert said == []
    assert found.n_judged == N
    assert min(found.cpg_auroc_shifted, found.cpg_auroc_random) > 0.75
    assert found.count_correlation > 0.5


def test_the_wrong_place_is_warned_of_and_refused_when_strict(planted):
    found, (said,) = look(planted, shift=1_500)
    assert found.cpg_auroc_random < 0.55
    assert "do not look like peaks of this genome" in said
    assert all(cause in said for cause in ("another assembly", "1-based", "order"))
    with pytest.raises(UserInputError, match="do not look like peaks"):
        look(planted, shift=1_500, strict=True)


def test_another_order_is_warned_of(planted):
    _, (said,) = look(planted, order=np.random.default_rng(1).permutation(N))
    assert "in another order than the counts" in said
    assert "do not look like" not in said


def test_few_peaks_are_not_judged(planted):
    var, n_open, path = planted
    found, said = look((var[:400], n_open[:400], path), shift=1_500)
    assert (found.n_judged, found.count_correlation, said) == (400, None, [])


@pytest.mark.parametrize(
    ("n_unknown", "words"), [(9, None), (10, "10 of 900"), (450, "450 of 900")]
)
def test_unknown_windows_are_said_above_one_percent(planted, n_unknown, words):
    var, n_open, path = planted
    masked = var.assign(chrom=["chrN"] * n_unknown + ["chr1"] * (N - n_unknown))
    found, said = look((masked, n_open, path))
    assert found.n_unknown == n_unknown
    assert [words in sentence for sentence in said] == ([True] if words else [])


def test_mostly_unknown_windows_are_refused_unless_allowed(planted):
    var, n_open, path = planted
    masked = (var.assign(chrom=["chrN"] * 451 + ["chr1"] * 449), n_open, path)
    with pytest.raises(UserInputError, match=r"451 of 900 .* --allow-unknown-windows"):
        look(masked)
    found, (said,) = look(masked, allow_unknown_windows=True)
    assert "451 of 900" in said
    assert dataclasses.asdict(found) == found.as_json()
