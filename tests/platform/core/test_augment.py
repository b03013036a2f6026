"""Shifts and reverse complements against strings."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlasbasset.core.augment import augmented_codes, central_codes, one_hot_input

LETTERS = "ACGTN"
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def text(codes):
    return "".join(LETTERS[int(c)] for c in codes)


@given(st.data())
def test_equals_string_operations(data):
    flank = data.draw(st.integers(0, 4))
    length = data.draw(st.integers(1, 12))
    n = data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    codes = rng.integers(0, 5, (n, length + 2 * flank), dtype=np.uint8)
    shift = rng.integers(-flank, flank, n, endpoint=True)
    reverse = rng.random(n) < 0.5
    found = augmented_codes(
        torch.from_numpy(codes),
        length,
        torch.from_numpy(shift),
        torch.from_numpy(reverse),
    )
    for i in range(n):
        start = flank + shift[i]
        expected = text(codes[i])[start : start + length]
        if reverse[i]:
            expected = expected.translate(COMPLEMENT)[::-1]
        assert text(found[i]) == expected


def test_no_shift_is_the_central_window():
    codes = torch.randint(0, 5, (3, 18), dtype=torch.uint8)
    none = torch.zeros(3, dtype=torch.long)
    assert torch.equal(augmented_codes(codes, 12, none, none.bool()), central_codes(codes, 12))


def test_unknown_bases_are_a_quarter_each():
    onehot = one_hot_input(torch.tensor([[0, 3, 4]], dtype=torch.uint8))
    assert onehot.tolist() == [[[1, 0, 0, 0], [0, 0, 0, 1], [0.25] * 4]]
