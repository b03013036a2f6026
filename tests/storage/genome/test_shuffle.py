from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from atlasstore.errors import UserInputError
from atlasstore.genome.sequences import UNKNOWN
from atlasstore.genome.shuffle import dinucleotide_shuffle

BASES = "ACGTN"


def codes(text: str) -> np.ndarray:
    return np.array([BASES.index(letter) for letter in text], np.uint8)


def text(found: np.ndarray) -> str:
    return "".join(BASES[code] for code in found)


def pairs(found: np.ndarray) -> Counter[tuple[int, int]]:
    return Counter(zip(found[:-1].tolist(), found[1:].tolist(), strict=True))


def all_shuffles(sequence: str) -> set[str]:
    """Every sequence with the same dinucleotides and first base, by trying all of them."""
    left = Counter(sequence[i : i + 2] for i in range(len(sequence) - 1))

    def walks(walk: str) -> set[str]:
        if len(walk) == len(sequence):
            return {walk}
        found = set()
        for base in "ACGT":
            edge = walk[-1] + base
            if left[edge]:
                left[edge] -= 1
                found |= walks(walk + base)
                left[edge] += 1
        return found

    return walks(sequence[0])


@settings(deadline=None)  # the first call compiles
@given(st.text(BASES, min_size=0, max_size=80), st.integers(0, 2**32))
def test_dinucleotides_ends_and_unknown_bases_stay(sequence, seed):
    before = codes(sequence)
    after = dinucleotide_shuffle(before, np.random.default_rng(seed))
    assert text(before) == sequence
    assert after.dtype == np.uint8
    assert pairs(after) == pairs(before)
    np.testing.assert_array_equal(after == UNKNOWN, before == UNKNOWN)
    np.testing.assert_array_equal(after[:1], before[:1])
    np.testing.assert_array_equal(after[-1:], before[-1:])


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text("ACGT", min_size=1, max_size=30), min_size=2, max_size=4))
def test_every_run_between_unknown_bases_is_shuffled_by_itself(runs):
    found = dinucleotide_shuffle(codes("N".join(runs)), np.random.default_rng(1))
    for before, after in zip(runs, text(found).split("N"), strict=True):
        assert pairs(codes(after)) == pairs(codes(before))
        assert (after[0], after[-1]) == (before[0], before[-1])


@pytest.mark.parametrize(
    ("sequence", "n_shuffles"),
    [
        ("ACAGATACGT", 24),
        ("AACCAGGATTAC", 48),
        ("ACGTACGTGCA", 8),
        ("AAAATAAAACAAAAG", 110),
        ("ACACACAGTGTGTC", 4),
        ("AGGGA", 1),
    ],
)
def test_every_shuffle_is_equally_likely(sequence, n_shuffles):
    possible = sorted(all_shuffles(sequence))
    assert len(possible) == n_shuffles
    rng = np.random.default_rng(7)
    drawn = Counter(
        text(dinucleotide_shuffle(codes(sequence), rng)) for _ in range(200 * n_shuffles)
    )
    assert set(drawn) <= set(possible)
    if n_shuffles > 1:
        assert chisquare([drawn[walk] for walk in possible]).pvalue > 0.01


def test_a_seed_gives_a_shuffle_and_another_another(rng):
    sequence = rng.integers(0, 4, 1344, dtype=np.uint8)
    first, again, other = (
        dinucleotide_shuffle(sequence, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    assert (first != sequence).mean() > 0.5


def test_long_stretches_of_few_bases():
    for sequence in ("A" * 700 + "C" + "G" * 642 + "T", "AC" * 600 + "GT" * 60, "T" * 1344):
        found = dinucleotide_shuffle(codes(sequence), np.random.default_rng(0))
        assert pairs(found) == pairs(codes(sequence))


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 5), np.uint8), np.zeros(5, np.int64), np.full(5, 5, np.uint8)]
)
def test_what_is_no_sequence_is_refused(wrong, rng):
    with pytest.raises(UserInputError, match="vector of uint8 codes 0 to 4"):
        dinucleotide_shuffle(wrong, rng)


def test_against_tangermeme(rng):
    ersatz = pytest.importorskip("tangermeme.ersatz", reason="tangermeme is not installed")
    import torch

    sequence = rng.integers(0, 4, 500, dtype=np.uint8)
    onehot = torch.from_numpy(np.eye(4, dtype=np.int8)[sequence].T.copy())[None]
    theirs = ersatz.dinucleotide_shuffle(onehot, n=50, random_state=0)[0].argmax(dim=1).numpy()
    ours = np.stack([dinucleotide_shuffle(sequence, rng) for _ in range(50)])
    for found in (theirs.astype(np.uint8), ours):
        assert all(pairs(row) == pairs(sequence) for row in found)
        assert len({row.tobytes() for row in found}) == 50
        assert (found == sequence).mean() < 0.4
    gap = abs(trinucleotides(ours) - trinucleotides(theirs))
    noise = np.sqrt((trinucleotides(ours) + trinucleotides(theirs) + 1) / 50)
    assert (gap < 5 * noise).all()


def trinucleotides(found: np.ndarray) -> np.ndarray:
    """Mean number of each of the 64 in a row."""
    numbers = found[:, :-2] * 16 + found[:, 1:-1] * 4 + found[:, 2:]
    return np.bincount(numbers.astype(np.int64).ravel(), minlength=64) / len(found)
