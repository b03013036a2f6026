from __future__ import annotations

import numpy as np
from sklearn.linear_model import Ridge

from atlasstore.genome.kmers import kmer_counts, ridge_predictions


def canonical(word: str) -> str:
    return min(word, word[::-1].translate(str.maketrans("ACGT", "TGCA")))


def test_counts_against_text(rng):
    codes = rng.integers(0, 5, (300, 40), dtype=np.uint8)  # more than are counted at once
    codes[::2] = codes[::2] % 4
    found = kmer_counts(codes, k=3)
    words = sorted({canonical(a + b + c) for a in "ACGT" for b in "ACGT" for c in "ACGT"})
    assert found.shape == (300, len(words)) == (300, 32)
    for row in (0, 1, 256, 299):
        text = "".join("ACGTN"[code] for code in codes[row])
        inside = [text[i : i + 3] for i in range(38)]
        expected = [sum("N" not in w and canonical(w) == word for w in inside) for word in words]
        assert found[row].tolist() == expected


def test_six_letters_make_2080_words(rng):
    codes = rng.integers(0, 4, (5, 60), dtype=np.uint8)
    found = kmer_counts(codes)
    assert found.shape == (5, 2080)
    assert found.sum(1).tolist() == [55] * 5
    np.testing.assert_array_equal(kmer_counts(3 - codes[:, ::-1]), found)


def test_ridge_against_scikit_learn(rng):
    features = rng.normal(size=(90, 200)).astype(np.float32)
    values, folds = rng.normal(size=90), np.arange(90) % 3
    found = ridge_predictions(features, values, folds, penalty=7.0)
    centred = features - features.mean(0)
    for fold in range(3):
        out = folds == fold
        # without an intercept of its own, as the features are centred over all windows
        fit = Ridge(alpha=7.0, fit_intercept=False).fit(
            centred[~out], values[~out] - values[~out].mean()
        )
        np.testing.assert_allclose(found[out], fit.predict(centred[out]), atol=1e-4)
