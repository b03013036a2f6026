"""Do peaks look like peaks of this genome? A few seconds, on a sample of them.

Open chromatin differs from its surroundings in its content of GC and CpG, and its sequence tells
something of how often it is open. Both are lost where coordinates of another assembly are read
from a genome; the second also where counts and peaks are not in the same order.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.genome.kmers import kmer_counts, ridge_predictions
from atlasstore.genome.overlaps import overlap_groups
from atlasstore.genome.sequences import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasstore.genome.fasta import Genome

__all__ = ["PeakCheck", "check_sample", "recorded_check", "what_is_wrong"]

_MOST_LOOKED_AT = 5_000
_MOST_JUDGED = 2_000
_LEAST_JUDGED = 500
"""With fewer peaks chance is too large."""
_CENTRE_BP = 512
"""Around the middle of a peak: further out is less of it."""
_SHIFT_BP = 10_000
_FOLDS = 3
_PENALTY = 300.0
_COMPOSITION = 0.53
_CORRELATION, _CERTAIN = 0.10, 0.20
"""Thresholds, chosen on real peaks put right and wrong: see docs/preprocess.md."""


@dataclass(frozen=True, slots=True)
class PeakCheck:
    """What a sample of the peaks looks like; None where there are too few to tell."""

    n_looked_at: int
    """Windows looked at for known bases, at most 5,000."""
    n_unknown: int
    """Of these, windows without any known base."""
    n_judged: int
    """Peaks that the figures below stand on, at most 2,000."""
    gc_auroc_shifted: float | None = None
    """Probability that a peak's 512 bp have more GC than 512 bp 10,000 bp away (0.5: no more)."""
    cpg_auroc_shifted: float | None = None
    """The same of CpG."""
    gc_auroc_random: float | None = None
    """Against random windows of the same chromosomes."""
    cpg_auroc_random: float | None = None
    """The same of CpG."""
    count_correlation: float | None = None
    """Pearson's r of log number of cells and what 6-mers of other, not overlapping peaks say."""

    @property
    def unknown_share(self) -> float:
        """Share of windows without any known base, 0..1."""
        return self.n_unknown / max(self.n_looked_at, 1)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return dataclasses.asdict(self)


def check_sample(
    genome: Genome,
    chrom: Sequence[str],
    middles: NDArray[np.int64],
    n_open: NDArray[np.int64],
    *,
    window_bp: int,
    rng: np.random.Generator,
) -> PeakCheck:
    """Look at a sample of peaks.

    Parameters
    ----------
    genome
        The open FASTA.
    chrom
        Each peak's chromosome, length n_peaks.
    middles
        Each peak's middle, (n_peaks,).
    n_open
        In how many cells each peak is open, (n_peaks,).
    window_bp
        Length of a window.
    rng
        Draws the sample, the random windows and the folds.
    """
    names = np.asarray(chrom, dtype=object)
    looked_at = rng.permutation(len(names))[:_MOST_LOOKED_AT]
    width = max(window_bp, _CENTRE_BP)
    codes = genome.windows(names[looked_at].tolist(), middles[looked_at] - width // 2, width)
    edge = (width - window_bp) // 2
    known = (codes[:, edge : edge + window_bp] != UNKNOWN).any(1)
    centre = codes[:, (width - _CENTRE_BP) // 2 :][:, :_CENTRE_BP]
    usable = np.flatnonzero(_mostly_known(centre))[:_MOST_JUDGED]
    found = PeakCheck(len(looked_at), int((~known).sum()), len(usable))
    if len(usable) < _LEAST_JUDGED:
        return found
    rows = looked_at[usable]
    contents = _compositions(genome, names[rows], middles[rows], centre[usable], rng)
    return PeakCheck(
        found.n_looked_at,
        found.n_unknown,
        found.n_judged,
        **contents,
        count_correlation=_count_correlation(
            centre[usable],
            n_open[rows],
            overlap_groups(names[rows].tolist(), middles[rows], length=width),
            rng,
        ),
    )


def recorded_check(recorded: Any) -> PeakCheck | None:
    """Return the check that a store's provenance holds; None where it is none."""
    names = PeakCheck.__dataclass_fields__
    try:
        values = {name: value for name, value in dict(recorded).items() if name in names}
        found = PeakCheck(**values)
    except (TypeError, ValueError):
        return None
    counts = [value for name, value in values.items() if name.startswith("n_")]
    figures = [value for name, value in values.items() if not name.startswith("n_")]
    known = all(isinstance(value, int) for value in counts)
    known &= all(isinstance(value, int | float | None) for value in figures)
    return found if known else None


def what_is_wrong(found: PeakCheck) -> str | None:
    """Return a sentence when the sample does not look like peaks with their counts."""
    correlation, n = found.count_correlation, max(found.n_judged, 1)
    contents = [x for x in (found.gc_auroc_shifted, found.cpg_auroc_shifted) if x is not None]
    if not contents or correlation is None:
        return None
    looks_placed = max(contents) >= max(_COMPOSITION, 0.5 + 3 / np.sqrt(6 * n))
    looks_ordered = correlation >= max(_CORRELATION, 2 / np.sqrt(n))
    if not looks_placed and correlation < _CERTAIN:
        return (
            "the peaks do not look like peaks of this genome: their GC and CpG content is that of "
            f"sequence 10 kb away (auROC {contents[0]:.2f} and {contents[-1]:.2f}, 0.5 is none), "
            "and their sequences tell next to nothing of their counts "
            f"(r {correlation:.2f}). Likely causes: another assembly than the peaks were called "
            "on, coordinates of another kind (1-based, or summits), or peaks in another order "
            "than the counts."
        )
    if looks_placed and not looks_ordered:
        return (
            f"the peaks' sequences tell next to nothing of how often the peaks are open (r "
            f"{correlation:.2f}). Likely causes: peaks in another order than the counts, another "
            "assembly than the peaks were called on, or coordinates of another kind (1-based)."
        )
    return None


def _compositions(
    genome: Genome,
    chrom: NDArray[np.object_],
    middles: NDArray[np.int64],
    codes: NDArray[np.uint8],
    rng: np.random.Generator,
) -> dict[str, float | None]:
    lengths = np.array([genome.chrom_lengths[name] for name in chrom])
    places = {
        "shifted": middles + _SHIFT_BP * rng.choice([-1, 1], len(middles)),
        "random": rng.integers(0, lengths),
    }
    found: dict[str, float | None] = {}
    for name, middle in places.items():
        others = genome.windows(chrom.tolist(), middle - _CENTRE_BP // 2, _CENTRE_BP)
        others = others[_mostly_known(others)]
        found[f"gc_auroc_{name}"] = _auroc(_gc(codes), _gc(others))
        found[f"cpg_auroc_{name}"] = _auroc(_cpg(codes), _cpg(others))
    return found


def _count_correlation(
    codes: NDArray[np.uint8],
    n_open: NDArray[np.int64],
    groups: NDArray[np.int64],
    rng: np.random.Generator,
) -> float | None:
    values = np.log(n_open + 0.5)
    if np.ptp(values) == 0:
        return None
    folds = rng.integers(0, _FOLDS, int(groups.max()) + 1)[groups]
    if len(np.unique(folds)) < _FOLDS:
        return None
    features = np.sqrt(kmer_counts(codes))
    predicted = ridge_predictions(features, values, folds, penalty=_PENALTY)
    if np.ptp(predicted) == 0:
        return 0.0
    return _rounded(np.corrcoef(predicted, values)[0, 1])


def _mostly_known(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((codes != UNKNOWN).mean(1) > 0.5)


def _gc(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the share of C and G among the known bases."""
    return np.asarray(((codes == 1) | (codes == 2)).sum(1) / (codes != UNKNOWN).sum(1))


def _cpg(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    pairs = (codes[:, :-1] == 1) & (codes[:, 1:] == 2)
    return np.asarray(pairs.sum(1) / (codes != UNKNOWN).sum(1))


def _auroc(these: NDArray[np.float64], others: NDArray[np.float64]) -> float | None:
    """Return the probability that one of `these` is above one of `others`, ties half."""
    if len(others) < _LEAST_JUDGED // 2:
        return None
    ordered = np.sort(others)
    twice = np.searchsorted(ordered, these, "left") + np.searchsorted(ordered, these, "right")
    return _rounded(twice.sum() / (2 * len(these) * len(others)))


def _rounded(value: float) -> float:
    """Three digits: the same on every machine."""
    return round(float(value), 3)
