from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasstore.atlas.split import SPLITS, held_out_overlap, overlaps_training, split_peaks
from atlasstore.errors import UserInputError

LENGTH = 100
METHODS = ("grouped", "random", "chromosome")


def counts(split) -> dict[str, int]:
    return {name: int((split == name).sum()) for name in SPLITS}


def split_apart(chrom, **options):
    """Split windows that do not overlap."""
    return split_peaks(chrom, np.arange(len(chrom)) * LENGTH, length=LENGTH, **options)


split_singly = partial(split_apart, method="random")


@pytest.mark.parametrize("method", ["grouped", "random"])
def test_ninety_five_five(method):
    split = split_apart(["chrI"] * 2000, method=method, seed=0)
    assert counts(split) == {"train": 1800, "valid": 100, "test": 100}
    assert tuple(split.categories) == SPLITS


@pytest.mark.parametrize("method", METHODS)
def test_seed_decides_and_repeats(method):
    chrom = [f"chr{i // 25}" for i in range(500)]
    first, again, other = (split_apart(chrom, method=method, seed=seed) for seed in (1, 1, 2))
    assert list(first) == list(again) != list(other)


def test_a_random_split_is_that_of_earlier_versions():
    chrom, rng = ["chrI"] * 40 + ["chrII"] * 10, np.random.default_rng(3)
    expected = np.full(50, "test", object)
    shuffled = rng.permutation(40)
    expected[shuffled] = "train"
    expected[shuffled[:2]] = "valid"
    split = split_singly(chrom, holdout=("chrII",), seed=3)
    assert list(split) == list(expected)


@pytest.mark.parametrize("method", ["grouped", "random"])
def test_held_out_chromosomes_are_the_test_peaks(method):
    chrom = ["chrI"] * 950 + ["chrIV"] * 100 + ["chrX"] * 7
    split = np.asarray(split_apart(chrom, method=method, holdout=("chrIV", "chrX"), seed=0))
    assert set(split[950:]) == {"test"}
    assert counts(split[:950]) == {"train": 900, "valid": 50, "test": 0}


def test_unknown_holdout_names_those_that_exist():
    with pytest.raises(UserInputError, match="chromosome 4, chrY; peaks are on chrI, chrII"):
        split_apart(["chrI", "chrII"], holdout=("4", "chrI", "chrY"), seed=0)


def test_holding_out_everything_is_refused():
    with pytest.raises(UserInputError, match="leaves no peak to train on"):
        split_apart(["chrI", "chrII"], holdout=("chrI", "chrII"), seed=0)


@pytest.mark.parametrize(
    "fractions", [(0.9, 0.1), (0.9, 0.2, 0.1), (1.1, -0.1, 0.0), (0, 0.5, 0.5)]
)
def test_fractions_that_are_no_split_are_refused(fractions):
    with pytest.raises(UserInputError, match="must be three numbers"):
        split_apart(["chrI"], fractions=fractions, seed=0)


def test_another_method_is_refused():
    with pytest.raises(UserInputError, match=r"'groups', but .* grouped, random, chromosome"):
        split_apart(["chrI"], method="groups", seed=0)


@given(
    n_peaks=st.integers(1, 300),
    valid=st.floats(0, 0.45),
    test=st.floats(0, 0.45),
    seed=st.integers(0, 9),
)
def test_shares_are_within_a_peak_of_the_fractions(n_peaks, valid, test, seed):
    found = counts(
        split_singly(["c"] * n_peaks, fractions=(1 - valid - test, valid, test), seed=seed)
    )
    assert sum(found.values()) == n_peaks
    assert abs(found["valid"] - valid * n_peaks) <= 0.5
    assert abs(found["test"] - test * n_peaks) <= 0.5 + 1e-9


def group_sizes(chrom, starts) -> list[int]:
    """Sizes of the runs of overlapping windows, one window at a time."""
    sizes, last = [], None
    for place in sorted(zip(chrom, starts, strict=True)):
        if last is not None and place[0] == last[0] and place[1] - last[1] < LENGTH:
            sizes[-1] += 1
        else:
            sizes.append(1)
        last = place
    return sizes


@given(
    windows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(-50, 9_000)), min_size=1),
    valid=st.floats(0, 0.3),
    test=st.floats(0, 0.3),
    seed=st.integers(0, 9),
)
def test_no_two_splits_share_a_base(windows, valid, test, seed):
    chrom, starts = [c for c, _ in windows], np.array([s for _, s in windows])
    fractions = (1 - valid - test, valid, test)
    split = split_peaks(chrom, starts, length=LENGTH, fractions=fractions, seed=seed)
    names, where = np.asarray(split), np.array(chrom)
    near = (where[:, None] == where) & (np.abs(starts[:, None] - starts) < LENGTH)
    assert not (near & (names[:, None] != names)).any()
    largest, found = max(group_sizes(chrom, starts)), counts(split)
    for name, share in (("valid", valid), ("test", test)):
        assert abs(found[name] - share * len(windows)) <= largest + 0.5


def test_shares_of_groups_are_met_to_the_peak_where_single_windows_fill_up(rng):
    starts = np.concatenate(
        [
            np.arange(900) * 60,
            100_000 + np.arange(100) * 500,
            300_000 + np.sort(rng.integers(0, 900_000, 3000)),
        ]
    )
    split = split_peaks(["c"] * 4000, starts, length=LENGTH, seed=2)
    assert counts(split) == {"train": 3600, "valid": 200, "test": 200}


def test_chromosomes_are_never_cut_and_every_split_gets_one():
    chrom = np.repeat(["I", "II", "III", "IV"], [500, 300, 200, 40])
    split = np.asarray(split_apart(chrom.tolist(), method="chromosome", seed=1))
    assert all(len(set(split[chrom == name])) == 1 for name in set(chrom))
    assert set(split) == set(SPLITS)


def test_two_groups_go_to_train_and_test():
    starts = np.array([0, 10, 20, 500, 510])
    assert (
        counts(split_peaks(["c"] * 5, starts, length=LENGTH, fractions=(0.5, 0.2, 0.3), seed=0))[
            "valid"
        ]
        == 0
    )


def test_overlap_counts_flanks_and_keeps_to_the_chromosome():
    var = pd.DataFrame(
        {
            "chrom": ["a", "a", "a", "b", "a"],
            "start": [1000, 1197, 1396, 1000, 3000],
            "end": [1000, 1197, 1396, 1000, 3000],
            "split": ["train", "test", "test", "test", "valid"],
        }
    )
    found = overlaps_training(var, window_bp=192, flank_bp=3)
    assert found.tolist() == [False, True, False, False, False]
    assert not overlaps_training(var, window_bp=192, flank_bp=2).any()
    assert held_out_overlap(var, window_bp=192, flank_bp=3) == {"valid": 0.0, "test": 1 / 3}
