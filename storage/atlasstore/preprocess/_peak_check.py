"""What `preprocess` says, or refuses, when peaks do not look like peaks of the genome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.genome.peak_check import PeakCheck, check_sample, what_is_wrong

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from atlasstore.events import Subscriber
    from atlasstore.genome.fasta import Genome
    from atlasstore.preprocess._settings import Settings

__all__ = ["check_peak_sequences"]

_UNKNOWN_SAID, _UNKNOWN_REFUSED = 0.01, 0.5
"""Thresholds, chosen on real peaks put right and wrong: see docs/preprocess.md."""


def check_peak_sequences(
    var: pd.DataFrame,
    n_open: NDArray[np.int64],
    genome: Genome,
    settings: Settings,
    on_event: Subscriber,
) -> PeakCheck:
    """Look at a sample of the peaks' sequences; warn, or refuse.

    Raises
    ------
    UserInputError
        With `strict`, when peaks do not look like peaks; when more than half of the windows have
        no known base, unless they are allowed.
    """
    middles = (var["start"].to_numpy(np.int64) + var["end"].to_numpy(np.int64)) // 2
    found = check_sample(
        genome,
        var["chrom"].astype(str).tolist(),
        middles,
        n_open,
        window_bp=settings.window_bp,
        rng=np.random.default_rng(settings.seed),
    )
    _judge_unknown(found, settings, on_event)
    sentence = what_is_wrong(found)
    if sentence and settings.strict:
        raise UserInputError(f"{sentence} Mend that, or leave out --strict (strict=False).")
    if sentence:
        on_event(Notice(f"Warning: {sentence}"))
    return found


def _judge_unknown(found: PeakCheck, settings: Settings, on_event: Subscriber) -> None:
    share = found.unknown_share
    if share <= _UNKNOWN_SAID:
        return
    of_them = (
        f"{found.n_unknown:,} of {found.n_looked_at:,} windows looked at ({share:.0%}) have no "
        f"known base in {settings.genome}"
    )
    if share > _UNKNOWN_REFUSED and not settings.allow_unknown_windows:
        raise UserInputError(
            f"{of_them}, and nothing can be learned from those; give the whole genome, not masked "
            "by N, or ask for it with --allow-unknown-windows (allow_unknown_windows=True)."
        )
    on_event(Notice(f"Warning: {of_them}: nothing can be learned from those."))
