from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasstore.atlas.split import SPLITS, split_peaks
from atlasstore.errors import UserInputError


def counts(split) -> dict[str, int]:
    return {name: int((split == name).sum()) for name in SPLITS}


def test_ninety_five_five():
    split = split_peaks(["chrI"] * 2000, seed=0)
    assert counts(split) == {"train": 1800, "valid": 100, "test": 100}
    assert tuple(split.categories) == SPLITS


def test_seed_decides_and_repeats():
    first, again, other = (split_peaks(["chrI"] * 500, seed=seed) for seed in (1, 1, 2))
    assert list(first) == list(again) != list(other)


def test_held_out_chromosomes_are_the_test_peaks():
    chrom = ["chrI"] * 950 + ["chrIV"] * 100 + ["chrX"] * 7
    split = np.asarray(split_peaks(chrom, holdout=("chrIV", "chrX"), seed=0))
    assert set(split[950:]) == {"test"}
    assert counts(split[:950]) == {"train": 900, "valid": 50, "test": 0}


def test_unknown_holdout_names_those_that_exist():
    with pytest.raises(UserInputError, match="chromosome 4, chrY; peaks are on chrI, chrII"):
        split_peaks(["chrI", "chrII"], holdout=("4", "chrI", "chrY"), seed=0)


def test_holding_out_everything_is_refused():
    with pytest.raises(UserInputError, match="leaves no peak to train on"):
        split_peaks(["chrI", "chrII"], holdout=("chrI", "chrII"), seed=0)


@pytest.mark.parametrize(
    "fractions", [(0.9, 0.1), (0.9, 0.2, 0.1), (1.1, -0.1, 0.0), (0, 0.5, 0.5)]
)
def test_fractions_that_are_no_split_are_refused(fractions):
    with pytest.raises(UserInputError, match="must be three numbers"):
        split_peaks(["chrI"], fractions=fractions, seed=0)


@given(
    n_peaks=st.integers(1, 300),
    valid=st.floats(0, 0.45),
    test=st.floats(0, 0.45),
    seed=st.integers(0, 9),
)
def test_shares_are_within_a_peak_of_the_fractions(n_peaks, valid, test, seed):
    found = counts(
        split_peaks(["c"] * n_peaks, fractions=(1 - valid - test, valid, test), seed=seed)
    )
    assert sum(found.values()) == n_peaks
    assert abs(found["valid"] - valid * n_peaks) <= 0.5
    assert abs(found["test"] - test * n_peaks) <= 0.5 + 1e-9
