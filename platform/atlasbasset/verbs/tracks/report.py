"""What `tracks` has written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the report that `as_json` gave."""
        tuples = {name: tuple(values[name]) for name in ("groups", "kinds")}
        return cls(**{**values, **tuples})
