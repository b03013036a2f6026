from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atlasstore.errors import UserInputError
from atlasstore.genome.sequences import (
    check_window,
    codes_to_onehot,
    onehot_to_codes,
    window_starts,
)


def test_channels_are_a_c_g_t_and_unknown_is_none():
    onehot = codes_to_onehot(np.array([0, 1, 2, 3, 4], np.uint8))
    expected = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert onehot.dtype == np.bool_
    np.testing.assert_array_equal(onehot, np.array(expected, bool))


@given(hnp.arrays(np.uint8, hnp.array_shapes(max_dims=3, min_side=0), elements=st.integers(0, 4)))
def test_round_trip(codes):
    onehot = codes_to_onehot(codes)
    assert onehot.shape == (*codes.shape, 4)
    np.testing.assert_array_equal(onehot_to_codes(onehot), codes)


def test_sliced_onehot_is_read_right(rng):
    codes = rng.integers(0, 5, (6, 20), dtype=np.uint8)
    onehot = codes_to_onehot(codes)[::2, 3:17]
    np.testing.assert_array_equal(onehot_to_codes(onehot), codes[::2, 3:17])


def test_two_channels_at_once_are_no_base():
    onehot = np.zeros((2, 3, 4), bool)
    onehot[1, 2, [0, 3]] = True
    with pytest.raises(ValueError, match="more than one channel"):
        onehot_to_codes(onehot)


def test_windows_are_centred():
    starts = window_starts(
        np.array([1000, 1000, 10]), np.array([1300, 1301, 20]), window_bp=192, flank_bp=3
    )
    np.testing.assert_array_equal(starts, [1150 - 96 - 3, 1150 - 96 - 3, 15 - 99])


@pytest.mark.parametrize(("window_bp", "hint"), [(0, 192), (1000, 960), (1345, 1344), (-192, 192)])
def test_windows_that_do_not_pool_are_refused(window_bp, hint):
    with pytest.raises(UserInputError, match=f"multiple of 192 bp.*use for example {hint}"):
        check_window(window_bp, 3)


def test_negative_flank_is_refused():
    check_window(1344, 0)
    with pytest.raises(UserInputError, match="flank is -1 bp"):
        check_window(1344, -1)
