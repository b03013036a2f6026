from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from atlasbasset.metrics import SparseLabels, evaluate_scores
from atlasbasset.metrics.sequence_baseline import fit_kmer_ridge, kmer_counts

PARTNER = dict(zip("ACGT", "TGCA", strict=True))


def counted(sequence: str, k: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for i in range(len(sequence) - k + 1):
        word = sequence[i : i + k]
        if "N" not in word:
            other = "".join(PARTNER[base] for base in reversed(word))
            found[min(word, other)] = found.get(min(word, other), 0) + 1
    return found


@pytest.mark.parametrize(("k", "n_features"), [(2, 10), (3, 32), (6, 2080)])
def test_counts_are_those_of_text(rng, k, n_features):
    codes = rng.choice(5, (7, 90), p=[0.24] * 4 + [0.04]).astype(np.uint8)
    found = kmer_counts(codes, k=k)
    assert found.shape == (7, n_features)
    words = sorted({min(w, "".join(PARTNER[b] for b in reversed(w))) for w in all_words(k)})
    for row, sequence in zip(found, codes, strict=True):
        expected = counted("".join("ACGTN"[c] for c in sequence), k)
        assert row.tolist() == [expected.get(word, 0) for word in words]


def all_words(k: int) -> list[str]:
    words = [""]
    for _ in range(k):
        words = [word + base for word in words for base in "ACGT"]
    return words


def test_either_strand_counts_the_same(rng):
    codes = rng.integers(0, 4, (3, 50), dtype=np.uint8)
    np.testing.assert_array_equal(kmer_counts(codes), kmer_counts(3 - codes[:, ::-1]))


@pytest.mark.parametrize("n_features", [12, 300], ids=["more peaks", "more features"])
def test_coefficients_are_scikit_learns(rng, n_features):
    counts = rng.poisson(3, (200, n_features)).astype(np.float32)
    counts[:, 4] = 2  # does not vary
    labels = sp.csr_array(rng.random((200, 9)) < 0.3)
    found = fit_kmer_ridge(counts, labels, penalties=[30.0])
    expected = Ridge(30.0).fit(
        StandardScaler().fit_transform(counts.astype(float)), labels.toarray().astype(float)
    )
    np.testing.assert_allclose(found.coefficients, expected.coef_, atol=1e-6)
    np.testing.assert_allclose(found.intercept, expected.intercept_, atol=1e-6)


def test_words_that_open_peaks_are_learned(rng):
    """Two types of cells, each open where its word is: held-out peaks are told apart."""
    codes = rng.integers(0, 4, (900, 120), dtype=np.uint8)
    word = rng.integers(0, 3, 900)  # the third is none
    for w, letters in enumerate(([0, 1, 2, 0, 1, 1], [3, 3, 1, 0, 3, 1])):
        at = np.flatnonzero(word == w)
        for start in (20, 50, 90):
            codes[at[:, None], start + np.arange(6)] = letters
    types = rng.integers(0, 2, 60)
    labels = sp.csr_array(rng.random((900, 60)) < np.where(word[:, None] == types, 0.5, 0.05))
    counts = kmer_counts(codes, k=4)
    ridge = fit_kmer_ridge(counts[:700], sp.csr_array(labels[:700]))
    found = evaluate_scores(ridge.scores(counts[700:]), SparseLabels(labels[700:]))
    assert found.mean_auroc_per_cell > 0.75
    shuffled = sp.csr_array(labels[:700][rng.permutation(700)])
    control = fit_kmer_ridge(counts[:700], shuffled).scores(counts[700:])
    by_chance = evaluate_scores(control, SparseLabels(labels[700:])).mean_auroc_per_cell
    assert by_chance == pytest.approx(0.5, abs=0.06)
