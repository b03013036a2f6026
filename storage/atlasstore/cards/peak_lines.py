"""What `preprocess` saw of an atlas's peaks, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasstore.genome.peak_check import recorded_check, what_is_wrong
from atlasstore.text_units import count

if TYPE_CHECKING:
    from atlasstore.genome.peak_check import PeakCheck
    from atlasstore.plans import Lines

__all__ = ["peak_lines"]


def peak_lines(recorded: Any, n_peaks: int) -> Lines:
    """Return lines for a card, each with what its figures mean.

    Parameters
    ----------
    recorded
        ``peak_check`` of the provenance, None where it has none.
    n_peaks
        Of the atlas.
    """
    found = recorded_check(recorded) if isinstance(recorded, dict) else None
    if found is None:
        return []
    lines = [("peaks and genome", _verdict(found))]
    for name, shifted, random in (
        ("GC of peaks", found.gc_auroc_shifted, found.gc_auroc_random),
        ("CpG of peaks", found.cpg_auroc_shifted, found.cpg_auroc_random),
    ):
        if shifted is not None:
            near = f"auROC {shifted:.2f} against sequence 10 kb away"
            far = "" if random is None else f", {random:.2f} against random windows"
            lines.append((name, f"{near}{far} (0.5: no difference)"))
    if found.count_correlation is not None:
        said = "between how often a peak is open and what its 6-mers predict (0: nothing)"
        lines.append(("sequence and counts", f"r {found.count_correlation:.2f} {said}"))
    return [*lines, *_unknown(recorded.get("n_unknown_windows"), n_peaks)]


def _verdict(found: PeakCheck) -> str:
    if found.gc_auroc_shifted is None or found.count_correlation is None:
        return f"too few peaks to tell whether they fit ({count(found.n_judged)} could be judged)"
    if (wrong := what_is_wrong(found)) is not None:
        return wrong
    return f"assembly, coordinates and order fit, as far as {count(found.n_judged)} peaks tell"


def _unknown(n_windows: Any, n_peaks: int) -> Lines:
    if not isinstance(n_windows, int):
        return []
    return [("windows without any known base", f"{count(n_windows)} of {count(n_peaks)}")]
