"""What `tracks` has written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["TracksReport"]


@dataclass(frozen=True, slots=True)
class TracksReport:
    """What was written."""

    out: str
    """URL of the folder; its page is ``index.html``."""
    groups: tuple[str, ...]
    kinds: tuple[str, ...]
    """What is shown of each group: denoised, observed, predicted."""
    n_peaks: int
    n_windows: int
    """Windows predicted along the genome."""
    n_files: int
    n_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "groups": list(self.groups), "kinds": list(self.kinds)}
