"""The split of the peaks into training, validation and test peaks.

By default a seeded random 90/5/5 split of the peaks. With `holdout` the peaks of whole chromosomes
are the test peaks, and the others are split into train and validation in the ratio of their two
fractions (90 : 5); the test fraction then does not apply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SPLITS", "check_fractions", "split_peaks"]

SPLITS = ("train", "valid", "test")


def check_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    """Return (train, valid, test) fractions, or raise UserInputError.

    They must be three numbers of 0 or more that sum to 1 (to 1e-6), with train above 0.
    """
    values = tuple(float(value) for value in fractions)
    if len(values) != 3 or min(values) < 0 or abs(sum(values) - 1) > 1e-6 or values[0] == 0:
        raise UserInputError(
            f"The split fractions are {values}, but they must be three numbers (train, validation, "
            "test) of 0 or more that sum to 1, with train above 0, for example 0.9, 0.05, 0.05."
        )
    return values[0], values[1], values[2]


def split_peaks(
    chrom: Sequence[str],
    *,
    fractions: Sequence[float] = (0.90, 0.05, 0.05),
    holdout: Sequence[str] = (),
    seed: int,
) -> pd.Categorical[str]:
    """Assign every peak to train, valid or test.

    Parameters
    ----------
    chrom
        Each peak's chromosome, length n_peaks.
    fractions
        Shares of train, valid and test peaks, summing to 1; the counts are rounded to the nearest
        peak, and train takes the remainder.
    holdout
        Chromosomes whose peaks are the test peaks.
    seed
        Seed of the random choice.

    Returns
    -------
    pandas.Categorical
        Length n_peaks, categories ("train", "valid", "test").

    Raises
    ------
    UserInputError
        For fractions that are no split, or a `holdout` chromosome without peaks.
    """
    train, valid, test = check_fractions(fractions)
    names = np.asarray(chrom, dtype=object)
    held = _held_out(names, holdout)
    codes = np.full(len(names), 2, np.int8)
    rest = np.flatnonzero(~held)
    whole = train + valid if held.any() else 1.0
    shuffled = np.random.default_rng(seed).permutation(rest)
    n_valid = round(len(rest) * valid / whole)
    n_test = 0 if held.any() else round(len(rest) * test)
    codes[shuffled] = 0
    codes[shuffled[:n_valid]] = 1
    codes[shuffled[n_valid : n_valid + n_test]] = 2
    return pd.Categorical.from_codes(codes, categories=pd.Index(SPLITS))


def _held_out(
    names: np.ndarray[tuple[int], np.dtype[np.object_]], holdout: Sequence[str]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    existing = sorted(set(names))
    unknown = [name for name in holdout if name not in existing]
    if unknown:
        raise UserInputError(
            f"No peak is on the held-out chromosome {', '.join(unknown)}; peaks are on "
            f"{', '.join(existing)}."
        )
    held: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.isin(names, list(holdout))
    if held.all():
        raise UserInputError(
            f"Holding out {', '.join(holdout)} leaves no peak to train on; hold out fewer of "
            f"{', '.join(existing)}."
        )
    return held
