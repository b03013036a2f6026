"""The split of the peaks into training, validation and test peaks.

Windows are longer than peaks and often share bases: a model that learned one has seen part of the
other. So by default windows that overlap are one group, and whole groups are dealt to train,
validation and test (90 : 5 : 5), seeded. "chromosome" deals whole chromosomes, "random" single
peaks, as the released scBasset code does. With `holdout` the peaks of whole chromosomes are the
test peaks, and the others are dealt to train and validation in the ratio of their two fractions
(90 : 5); the test fraction then does not apply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from atlasstore.errors import UserInputError
from atlasstore.genome.overlaps import overlap_groups, places_of_names, shares_base
from atlasstore.genome.sequences import window_starts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    Peaks = pd.DataFrame | Mapping[str, ArrayLike]

__all__ = [
    "SPLITS",
    "SplitMethod",
    "check_fractions",
    "check_method",
    "held_out_overlap",
    "overlaps_training",
    "split_peaks",
]

SPLITS = ("train", "valid", "test")

SplitMethod = Literal["grouped", "random", "chromosome"]
"""What is dealt whole: windows that overlap, single peaks, or chromosomes."""


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


def check_method(method: str) -> None:
    """Raise UserInputError unless `method` is a way to split."""
    if method not in get_args(SplitMethod):
        raise UserInputError(
            f"The split is {method!r}, but it must be one of {', '.join(get_args(SplitMethod))}."
        )


def split_peaks(
    chrom: Sequence[str],
    starts: NDArray[np.int64],
    *,
    length: int,
    method: SplitMethod = "grouped",
    fractions: Sequence[float] = (0.90, 0.05, 0.05),
    holdout: Sequence[str] = (),
    seed: int,
) -> pd.Categorical[str]:
    """Assign every peak to train, valid or test.

    Parameters
    ----------
    chrom
        Each peak's chromosome, length n_peaks.
    starts
        First base of each stored window, (n_peaks,).
    length
        Bases of every stored window, flanks included.
    method
        What is dealt whole.
    fractions
        Shares of train, valid and test peaks, summing to 1; the counts are rounded to the nearest
        peak and met as nearly as whole groups allow, and train takes the remainder. A split whose
        count is not 0 gets a group as long as there are enough of them.
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
        For fractions or a method that are none, or a `holdout` chromosome without peaks.
    """
    train, valid, test = check_fractions(fractions)
    import pandas as pd

    check_method(method)
    names = np.asarray(chrom, dtype=object)
    held = _held_out(names, holdout)
    rest = np.flatnonzero(~held)
    whole = train + valid if held.any() else 1.0
    wanted = round(len(rest) * valid / whole), 0 if held.any() else round(len(rest) * test)
    groups = _groups(names[rest], starts[rest], length, method)
    codes = np.full(len(names), 2, np.int8)
    codes[rest] = _deal(groups, wanted, np.random.default_rng(seed))
    return pd.Categorical.from_codes(codes, categories=pd.Index(SPLITS))


def overlaps_training(var: Peaks, *, window_bp: int, flank_bp: int) -> NDArray[np.bool_]:
    """Return which held-out windows share a base with a training window, bool (n_peaks,).

    Parameters
    ----------
    var
        An atlas's peaks: chrom, start, end, split; a table, or these columns of it.
    window_bp, flank_bp
        The atlas's; the flanks count.
    """
    starts = window_starts(
        np.asarray(var["start"], np.int64),
        np.asarray(var["end"], np.int64),
        window_bp=window_bp,
        flank_bp=flank_bp,
    )
    train = np.asarray(var["split"], object) == "train"
    chrom = [str(name) for name in np.asarray(var["chrom"], object)]
    shared = shares_base(chrom, starts, train, length=window_bp + 2 * flank_bp)
    return np.asarray(shared & ~train, bool)


def held_out_overlap(var: Peaks, *, window_bp: int, flank_bp: int) -> dict[str, float]:
    """Return held-out split -> share of its windows that overlap training ones, 0..1."""
    overlaps = overlaps_training(var, window_bp=window_bp, flank_bp=flank_bp)
    split = np.asarray(var["split"], object)
    of_split = {name: overlaps[split == name] for name in SPLITS[1:]}
    return {name: float(found.mean()) for name, found in of_split.items() if found.size}


def _groups(
    names: NDArray[np.object_], starts: NDArray[np.int64], length: int, method: SplitMethod
) -> NDArray[np.int64]:
    if method == "random":
        return np.arange(len(names))
    if method == "chromosome":
        return places_of_names(names.tolist())
    return overlap_groups(names.tolist(), starts, length=length)


def _deal(
    groups: NDArray[np.int64], wanted: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.int8]:
    """Return each peak's split, int8, with about `wanted` peaks of valid and of test."""
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes)).tolist()
    codes = np.zeros(len(sizes), np.int8)
    for code, n_wanted in enumerate(wanted, start=1):
        keep = 2 if code == 1 and wanted[1] else 1  # groups for those that are not served yet
        chosen = _fill(order, sizes.tolist(), n_wanted, keep=keep)
        codes[chosen] = code
        taken = set(chosen)
        order = [group for group in order if group not in taken]
    return codes[groups]


def _fill(order: list[int], sizes: list[int], wanted: int, *, keep: int) -> list[int]:
    """Return groups of about `wanted` peaks in all: the first that fit, then the best to end with.

    One more group is taken where that comes nearer, or where none fitted, if `keep` groups stay.
    """
    chosen: list[int] = []
    room = wanted
    for group in order:
        if room == 0:
            return chosen
        if sizes[group] <= room:
            chosen.append(group)
            room -= sizes[group]
    others = sorted(set(order) - set(chosen), key=sizes.__getitem__)
    if room and len(others) > keep and (not chosen or sizes[others[0]] < 2 * room):
        chosen.append(others[0])
    return chosen


def _held_out(names: NDArray[np.object_], holdout: Sequence[str]) -> NDArray[np.bool_]:
    existing = sorted(set(names))
    unknown = [name for name in holdout if name not in existing]
    if unknown:
        raise UserInputError(
            f"No peak is on the held-out chromosome {', '.join(unknown)}; peaks are on "
            f"{', '.join(existing)}."
        )
    held: NDArray[np.bool_] = np.isin(names, list(holdout))
    if held.all():
        raise UserInputError(
            f"Holding out {', '.join(holdout)} leaves no peak to train on; hold out fewer of "
            f"{', '.join(existing)}."
        )
    return held
